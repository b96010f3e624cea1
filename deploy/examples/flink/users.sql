-- The current users per group, from vcc.users in Confluent framing. Flink's formats read no single-object encoding: let
-- ingest write with a registry ([registry] url), or read the flat topic vcc.users.state.
--
-- upsert-kafka takes the last record of a key as its row, and a null value as its deletion.
CREATE TABLE users (
  id STRING,
  `new` ROW<userId BIGINT, name STRING, username STRING, email STRING, state STRING, privGroup BIGINT, isAgent BOOLEAN> NOT NULL,
  occurredAt TIMESTAMP(3) NOT NULL,
  eventId STRING NOT NULL,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'vcc.users',
  'properties.bootstrap.servers' = '${bootstrap}',
  'properties.isolation.level' = 'read_committed',
  'scan.bounded.mode' = 'latest-offset',
  'key.format' = 'raw',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = '${registry}',
  'value.fields-include' = 'EXCEPT_KEY'
);

SELECT id, `new`.name, `new`.username, `new`.state, `new`.privGroup FROM users;
