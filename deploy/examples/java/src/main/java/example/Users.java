package example;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Builds the state of every user from vcc.users with a plain consumer, and prints it as one JSON object a line. */
public final class Users {
    /** Arguments: the cluster, the folder of the schemas, and the address of the registry where there is one. */
    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("schemas", arguments[1]);
        if (arguments.length > 2) {
            settings.put("registry", arguments[2]);
        }
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", EventDeserializer.class.getName());
        settings.put("isolation.level", "read_committed");

        Map<Long, GenericRecord> users = new TreeMap<>();
        try (KafkaConsumer<String, GenericRecord> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> partitions = consumer.partitionsFor("vcc.users").stream()
                .map(partition -> new TopicPartition(partition.topic(), partition.partition()))
                .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                consumer.poll(Duration.ofSeconds(1)).forEach(record -> {
                    long id = Long.parseLong(record.key());
                    if (record.value() == null) {
                        users.remove(id);
                    } else {
                        users.put(id, (GenericRecord) record.value().get("new"));
                    }
                });
            }
        }
        users.values().forEach(System.out::println);
    }
}
