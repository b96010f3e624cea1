package example;

import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams: joins the topic "calls" (key: the user's id as decimal text) with the table of users, and writes
 * "calls.with-users". Both topics need as many partitions as vcc.users, and the default partitioner.
 */
public final class CallsWithUsers {
    /** Arguments: the cluster, the folder of the schemas, and the address of the registry where there is one. */
    public static void main(String[] arguments) {
        Map<String, String> reading = new HashMap<>();
        reading.put("schemas", arguments[1]);
        if (arguments.length > 2) {
            reading.put("registry", arguments[2]);
        }
        Deserializer<GenericRecord> events = new EventDeserializer();
        events.configure(reading, false);

        StreamsBuilder builder = new StreamsBuilder();
        // The table keeps the text that the join needs, not the whole event: a store needs no serializer for events then.
        // toTable takes null for a deletion, so a forgotten user leaves the table.
        KTable<String, String> names = builder
            .stream("vcc.users", Consumed.with(Serdes.String(), reader(events)))
            .mapValues(event -> event == null ? null : String.valueOf(((GenericRecord) event.get("new")).get("name")))
            .toTable(Materialized.with(Serdes.String(), Serdes.String()));
        builder.stream("calls", Consumed.with(Serdes.String(), Serdes.String()))
            .leftJoin(names, (call, name) -> call + " by " + (name == null ? "nobody on the roll" : name),
                Joined.with(Serdes.String(), Serdes.String(), Serdes.String()))
            .to("calls.with-users", Produced.with(Serdes.String(), Serdes.String()));

        Properties settings = new Properties();
        settings.put("application.id", "example-calls-with-users");
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("auto.offset.reset", "earliest");
        settings.put("commit.interval.ms", 100);
        // Waits for the table's records before it joins a call.
        settings.put("max.task.idle.ms", 1_000);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    /** Nothing writes events here. */
    private static Serde<GenericRecord> reader(Deserializer<GenericRecord> events) {
        return Serdes.serdeFrom((topic, event) -> {
            throw new UnsupportedOperationException();
        }, events);
    }
}
