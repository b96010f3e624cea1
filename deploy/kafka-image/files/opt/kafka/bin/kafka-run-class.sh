#!/usr/bin/env bash
# Runs a class of Kafka's with the options that Kafka's own script of this name takes from the environment.
set -euo pipefail

: "${KAFKA_HEAP_OPTS:=-Xmx256M}"
: "${KAFKA_LOG4J_OPTS:=-Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml}"
: "${KAFKA_JVM_PERFORMANCE_OPTS:=-XX:+UseG1GC -Djava.awt.headless=true}"

# Each of these variables is a list of options, so they are split on purpose.
# shellcheck disable=SC2086
exec java $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS $KAFKA_LOG4J_OPTS ${KAFKA_JMX_OPTS-} ${KAFKA_OPTS-} \
  -cp '/opt/kafka/libs/*' "$@"
