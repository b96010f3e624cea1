// Builds the state of every user from vcc.users with stock libraries, and prints it as one JSON object a line.
//
//   npm install
//   node users.js --bootstrap localhost:9092 --registry http://localhost:8081 [--client kafkajs|confluent] [--topic vcc.users]
//
// Values in Confluent framing are read by @kafkajs/confluent-schema-registry, or with --client confluent by Confluent's own
// @confluentinc/schemaregistry. Values in Avro's single-object encoding are read by avsc, with the schema file. One topic may
// hold both.

import { readFileSync, readdirSync } from "node:fs";
import { parseArgs } from "node:util";
import confluent from "@confluentinc/schemaregistry";
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import avsc from "avsc";
import { Kafka, logLevel } from "kafkajs";

const { values: options } = parseArgs({
  options: {
    bootstrap: { type: "string" },
    registry: { type: "string" },
    client: { type: "string", default: "kafkajs" },
    topic: { type: "string", default: "vcc.users" },
  },
});

// A long is a number here: every integer of the schema is within 2^53 - 1.
const schemas = new URL("../../../schemas/", import.meta.url);
const types = readdirSync(schemas)
  .filter((name) => /^user-event\.v\d+\.avsc$/.test(name))
  .map((name) => avsc.Type.forSchema(JSON.parse(readFileSync(new URL(name, schemas), "utf8"))));
const byFingerprint = new Map(types.map((type) => [rabin(type), type]));

// avsc knows MD5 only: CRC-64-AVRO of the Parsing Canonical Form, as the Avro specification has it.
function rabin(type) {
  const EMPTY = 0xc15d213aa4d7a795n;
  let fingerprint = EMPTY;
  for (const byte of Buffer.from(JSON.stringify(type.schema()))) {
    let index = (fingerprint ^ BigInt(byte)) & 0xffn;
    for (let bit = 0; bit < 8; bit += 1) index = (index >> 1n) ^ (EMPTY & -(index & 1n) & 0xffffffffffffffffn);
    fingerprint = (fingerprint >> 8n) ^ index;
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(fingerprint);
  return bytes.toString("hex");
}

function deserializer() {
  if (options.registry === undefined) return () => { throw new Error("Confluent framing needs --registry"); };
  if (options.client === "confluent") {
    const { AvroDeserializer, SchemaRegistryClient, SerdeType } = confluent;
    const client = new SchemaRegistryClient({ baseURLs: [options.registry] });
    const avro = new AvroDeserializer(client, SerdeType.VALUE, {});
    return (value) => avro.deserialize(options.topic, value);
  }
  const registry = new SchemaRegistry({ host: options.registry });
  return (value) => registry.decode(value);
}

const framed = deserializer();
async function event(value) {
  if (value[0] !== 0xc3 || value[1] !== 0x01) return framed(value);
  return byFingerprint.get(value.subarray(2, 10).toString("hex")).fromBuffer(value.subarray(10));
}

const kafka = new Kafka({ brokers: [options.bootstrap], logLevel: logLevel.ERROR });
const admin = kafka.admin();
await admin.connect();
const ends = await admin.fetchTopicOffsets(options.topic);
await admin.disconnect();

const users = new Map();
const left = new Map(ends.filter(({ high, low }) => high !== low).map(({ partition, high }) => [partition, BigInt(high)]));
const consumer = kafka.consumer({ groupId: `example-node-${process.pid}`, readUncommitted: false });
await consumer.connect();
await consumer.subscribe({ topic: options.topic, fromBeginning: true });
await new Promise((resolve, reject) => {
  if (left.size === 0) resolve();
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
    if (BigInt(payload.lastOffset) + 1n >= (left.get(payload.partition) ?? 0n)) left.delete(payload.partition);
    if (left.size === 0) resolve();
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
  consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const key = message.key.toString();
      if (message.value === null) users.delete(key);
      else users.set(key, (await event(message.value)).new);
    },
  });
});
await consumer.disconnect();
for (const key of [...users.keys()].sort((a, b) => a - b)) console.log(JSON.stringify(users.get(key)));
