import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * What others take to make a table of the topic of users, by key and without reading the values: a GlobalKTable and a
 * KTable of Kafka Streams, and a consumer that writes to PostgreSQL. Prints a row of a table; `run` starts it.
 */
public final class Peers {
  private static final int ROWS_PER_BATCH = 1_000;

  public static void main(String[] args) throws Exception {
    String peer = args[0], bootstrap = args[1], topic = args[2];
    long records = read(bootstrap, topic, false, record -> {});
    var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    long began = System.nanoTime(), used = system.getProcessCpuTime();
    switch (peer) {
      case "GlobalKTable" -> global(bootstrap, topic);
      case "KTable" -> table(bootstrap, topic, records);
      case "PostgreSQL" -> postgres(bootstrap, topic, args[3]);
      default -> throw new IllegalArgumentException(peer);
    }
    double seconds = (System.nanoTime() - began) / 1e9;
    double cpu = (system.getProcessCpuTime() - used) / 1e9;
    System.out.printf(
        "| %s | %,.0f | %.2f | %.2f | %,d |%n", peer, records / seconds, seconds, cpu, mostMemoryMib());
    System.exit(0);
  }

  /** The store is filled before the instance runs. */
  private static void global(String bootstrap, String topic) throws Exception {
    var builder = new StreamsBuilder();
    builder.globalTable(topic, consumed(), stored());
    run(builder, bootstrap, new CountDownLatch(0));
  }

  private static void table(String bootstrap, String topic, long records) throws Exception {
    var builder = new StreamsBuilder();
    var left = new CountDownLatch(1);
    var count = new AtomicLong();
    builder.table(topic, consumed(), stored()).toStream().foreach((key, value) -> {
      if (count.incrementAndGet() == records) left.countDown();
    });
    run(builder, bootstrap, left);
  }

  private static Consumed<byte[], byte[]> consumed() {
    return Consumed.with(Serdes.ByteArray(), Serdes.ByteArray());
  }

  private static Materialized<byte[], byte[], KeyValueStore<Bytes, byte[]>> stored() {
    return Materialized.<byte[], byte[], KeyValueStore<Bytes, byte[]>>as("users").withCachingDisabled();
  }

  /** Runs until the instance is running and everything is there. */
  private static void run(StreamsBuilder builder, String bootstrap, CountDownLatch left) throws Exception {
    var settings = new Properties();
    settings.put("application.id", "peers-" + ProcessHandle.current().pid());
    settings.put("bootstrap.servers", bootstrap);
    settings.put("auto.offset.reset", "earliest");
    settings.put("num.stream.threads", Runtime.getRuntime().availableProcessors());
    // The topic itself is the log of the table: nothing is written to another one.
    settings.put("topology.optimization", "all");
    settings.put("state.dir", Files.createTempDirectory(Path.of(""), "state").toAbsolutePath().toString());
    var running = new CountDownLatch(1);
    var streams = new KafkaStreams(builder.build(settings), settings);
    streams.setStateListener((now, before) -> {
      if (now == KafkaStreams.State.RUNNING) running.countDown();
    });
    streams.start();
    running.await();
    left.await();
  }

  private static void postgres(String bootstrap, String topic, String url) throws Exception {
    try (Connection database = DriverManager.getConnection(url)) {
      database.createStatement().execute("CREATE TABLE users (user_id bigint PRIMARY KEY, event bytea)");
      database.setAutoCommit(false);
      // A statement cannot write to a row twice.
      Map<Long, byte[]> batch = new HashMap<>();
      read(bootstrap, topic, true, record -> {
        batch.put(Long.parseLong(new String(record.key())), record.value());
        if (batch.size() == ROWS_PER_BATCH) write(database, batch);
      });
      write(database, batch);
    }
  }

  private static void write(Connection database, Map<Long, byte[]> batch) {
    String sql = "INSERT INTO users VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET event = excluded.event";
    try (var statement = database.prepareStatement(sql)) {
      for (var row : batch.entrySet()) {
        statement.setLong(1, row.getKey());
        statement.setBytes(2, row.getValue());
        statement.addBatch();
      }
      statement.executeBatch();
      database.commit();
      batch.clear();
    } catch (SQLException error) {
      throw new IllegalStateException(error);
    }
  }

  private interface Each {
    void take(ConsumerRecord<byte[], byte[]> record);
  }

  /** Returns how many records the topic has, and passes each of them on where that is asked for. */
  private static long read(String bootstrap, String topic, boolean passesOn, Each each) {
    var bytes = new ByteArrayDeserializer();
    try (var consumer = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", bootstrap), bytes, bytes)) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic).stream().map(found -> new TopicPartition(topic, found.partition())).toList();
      var ends = consumer.endOffsets(partitions);
      var begins = consumer.beginningOffsets(partitions);
      long records = partitions.stream().mapToLong(one -> ends.get(one) - begins.get(one)).sum();
      if (!passesOn) return records;
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
        consumer.poll(Duration.ofMillis(100)).forEach(each::take);
      }
      return records;
    }
  }

  private static long mostMemoryMib() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", "")) / 1024;
    }
    return 0;
  }
}
