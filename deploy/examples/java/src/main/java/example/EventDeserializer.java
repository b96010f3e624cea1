package example;

import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.SchemaStore;
import org.apache.kafka.common.serialization.Deserializer;

/**
 * Reads values in Avro's single-object encoding, with the schema files alone, and in Confluent framing, with a registry. One
 * topic may hold both. Settings: "schemas", the folder of the released schemas; "registry", the address of a registry with
 * Confluent's API, or absent.
 */
public final class EventDeserializer implements Deserializer<GenericRecord> {
    private BinaryMessageDecoder<GenericRecord> singleObject;
    private AvroKafkaDeserializer<GenericRecord> confluent;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        SchemaStore.Cache released = new SchemaStore.Cache();
        Schema newest = null;
        try (var files = Files.newDirectoryStream(Path.of((String) settings.get("schemas")), "user-event.v*.avsc")) {
            for (Path file : files) {
                newest = new Schema.Parser().parse(Files.readString(file));
                released.addSchema(newest);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        singleObject = new BinaryMessageDecoder<>(new GenericData(), newest, released);
        if (settings.get("registry") instanceof String registry) {
            confluent = new AvroKafkaDeserializer<>();
            Map<String, Object> apicurio = new HashMap<>();
            apicurio.put("apicurio.registry.url", registry);
            apicurio.put("apicurio.registry.as-confluent", true);
            apicurio.put("apicurio.registry.use-id", "contentId");
            apicurio.put("apicurio.registry.headers.enabled", false);
            confluent.configure(apicurio, isKey);
        }
    }

    @Override
    public GenericRecord deserialize(String topic, byte[] value) {
        if (value == null) {
            return null;
        }
        if (value.length > 1 && value[0] == (byte) 0xC3 && value[1] == 0x01) {
            try {
                return singleObject.decode(value, null);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
        return confluent.deserialize(topic, value);
    }
}
