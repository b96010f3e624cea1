"""Builds the state of every user from vcc.users with stock libraries, and prints it as one JSON object a line.

    pip install -r requirements.txt
    python users.py --bootstrap localhost:9092 [--registry http://localhost:8081] [--topic vcc.users]

Values in Confluent framing are read by confluent-kafka's AvroDeserializer, with the schema that the registry has. Values in
Avro's single-object encoding are read by fastavro, with the schema file. One topic may hold both.
"""

import argparse
import io
import json
import pathlib

import fastavro
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

SCHEMAS = pathlib.Path(__file__).resolve().parents[3] / "schemas"
SINGLE_OBJECT = b"\xc3\x01"


def single_object_schemas():
    """Returns the released schemas by the fingerprint that values carry."""
    schemas = {}
    for file in SCHEMAS.glob("user-event.v*.avsc"):
        schema = json.loads(file.read_text())
        form = fastavro.schema.to_parsing_canonical_form(schema)
        # fastavro prints the bytes in the order in which the encoding has them.
        fingerprint = bytes.fromhex(fastavro.schema.fingerprint(form, "CRC-64-AVRO"))
        schemas[fingerprint] = fastavro.parse_schema(schema)
    return schemas


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bootstrap", required=True)
    arguments.add_argument("--registry")
    arguments.add_argument("--topic", default="vcc.users")
    arguments = arguments.parse_args()

    schemas = single_object_schemas()
    registry = arguments.registry and AvroDeserializer(SchemaRegistryClient({"url": arguments.registry}))

    def event(value):
        if value.startswith(SINGLE_OBJECT):
            return fastavro.schemaless_reader(io.BytesIO(value[10:]), schemas[value[2:10]])
        return registry(value, SerializationContext(arguments.topic, MessageField.VALUE))

    consumer = Consumer({
        "bootstrap.servers": arguments.bootstrap,
        "group.id": "example-python",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    })
    partitions = consumer.list_topics(arguments.topic, timeout=10).topics[arguments.topic].partitions
    ends = {partition: consumer.get_watermark_offsets(TopicPartition(arguments.topic, partition))[1]
            for partition in partitions}
    consumer.assign([TopicPartition(arguments.topic, partition, 0) for partition in partitions])

    users = {}
    while any(consumer.position([TopicPartition(arguments.topic, partition)])[0].offset < end
              for partition, end in ends.items() if end > 0):
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        key = message.key().decode()
        if message.value() is None:
            users.pop(key, None)
        else:
            users[key] = event(message.value())["new"]
    consumer.close()
    for _, user in sorted(users.items(), key=lambda entry: int(entry[0])):
        print(json.dumps(user))


if __name__ == "__main__":
    main()
