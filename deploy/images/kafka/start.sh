#!/bin/sh
# Starts one broker that is also a controller (KRaft). Writes only below KAFKA_DATA_DIR (a volume) and /tmp.
#
#   POD_NAME              settlement-kafka-2 becomes node 3; or KAFKA_NODE_ID (1, 2, ...)
#   KAFKA_VOTERS          all nodes as ID@HOST:9093, separated by commas; default: this node alone
#   KAFKA_ADVERTISED      HOST:PORT for clients; default: POD_NAME.KAFKA_SERVICE:9092, or localhost:9092
#   KAFKA_SERVICE         headless Service of the StatefulSet, for the default above
#   KAFKA_CLUSTER_ID      22 characters of base64 (16 bytes), the same on every node
#   KAFKA_HEAP_MB         default 512
#   KAFKA_DATA_DIR        default /var/lib/kafka/data; formatted when empty
#   KAFKA_REPLICATION     copies of internal topics and default for new ones; default: as many as there are nodes, at most 3
#   KAFKA_MIN_ISR         default: KAFKA_REPLICATION - 1, at least 1
#   KAFKA_TLS_DIR         folder with tls.crt, tls.key (PKCS#8) and ca.crt; makes the clients' listener TLS
#   KAFKA_TLS_CLIENT_AUTH none (default), requested or required
#   KAFKA_EXTRA           more lines of server.properties
set -eu
fail() { echo "kafka: $*" >&2; exit 2; }

ordinal=${POD_NAME:-}; ordinal=${ordinal##*-}
case ${KAFKA_NODE_ID:-} in
  '') case $ordinal in ''|*[!0-9]*) node=1 ;; *) node=$((ordinal + 1)) ;; esac ;;
  *[!0-9]*) fail "KAFKA_NODE_ID must be a number, not '$KAFKA_NODE_ID'" ;;
  *) node=$KAFKA_NODE_ID ;;
esac
data=${KAFKA_DATA_DIR:-/var/lib/kafka/data}
voters=${KAFKA_VOTERS:-$node@localhost:9093}
nodes=$(printf '%s' "$voters" | tr ',' '\n' | grep -c '@') || fail "KAFKA_VOTERS must be ID@HOST:PORT,..., not '$voters'"
case ",$voters" in *",$node@"*) ;; *) fail "node $node is not among KAFKA_VOTERS ($voters)" ;; esac
if [ -n "${KAFKA_ADVERTISED:-}" ]; then advertised=$KAFKA_ADVERTISED
elif [ -n "${POD_NAME:-}" ] && [ -n "${KAFKA_SERVICE:-}" ]; then advertised=$POD_NAME.$KAFKA_SERVICE:9092
else advertised=localhost:9092
fi
replication=${KAFKA_REPLICATION:-$([ "$nodes" -gt 3 ] && echo 3 || echo "$nodes")}
min_isr=${KAFKA_MIN_ISR:-$([ "$replication" -gt 1 ] && echo $((replication - 1)) || echo 1)}
heap=${KAFKA_HEAP_MB:-512}
protocol=PLAINTEXT
[ -z "${KAFKA_TLS_DIR:-}" ] || protocol=SSL

config=$(mktemp -d /tmp/kafka.XXXXXX)
properties=$config/server.properties
cat > "$properties" <<EOF
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=CLIENTS://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093
advertised.listeners=CLIENTS://$advertised
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:$protocol,CONTROLLER:PLAINTEXT
log.dirs=$data
auto.create.topics.enable=false
default.replication.factor=$replication
min.insync.replicas=$min_isr
offsets.topic.replication.factor=$replication
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=$min_isr
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=$replication
share.coordinator.state.topic.min.isr=$min_isr
unclean.leader.election.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A pod that comes back is let in only when its former session has run out.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
controlled.shutdown.enable=true
# Segments are allocated lazily; a dozen topics must not reserve gigabytes of a laptop.
log.index.size.max.bytes=1048576
num.network.threads=2
num.io.threads=4
metric.reporters=
EOF
if [ "$protocol" = SSL ]; then
  for file in tls.crt tls.key ca.crt; do [ -r "$KAFKA_TLS_DIR/$file" ] || fail "$KAFKA_TLS_DIR/$file cannot be read"; done
  # Key and chain in one file, as Kafka's PEM store wants them; they stay in memory-backed /tmp.
  cat "$KAFKA_TLS_DIR/tls.key" "$KAFKA_TLS_DIR/tls.crt" > "$config/keystore.pem"
  cat >> "$properties" <<EOF
ssl.keystore.type=PEM
ssl.keystore.location=$config/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=$KAFKA_TLS_DIR/ca.crt
ssl.client.auth=${KAFKA_TLS_CLIENT_AUTH:-none}
EOF
fi
[ -z "${KAFKA_EXTRA:-}" ] || printf '%s\n' "$KAFKA_EXTRA" >> "$properties"

java="java -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData -Djava.awt.headless=true -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp /opt/kafka/lib/*"
if [ ! -s "$data/meta.properties" ]; then
  mkdir -p "$data"
  set -f
  $java -Xmx128m kafka.tools.StorageTool format --cluster-id "${KAFKA_CLUSTER_ID:-c2V0dGxlbWVudC1sb2NhbA}" --config "$properties" > "$config/format.log" 2>&1 || { cat "$config/format.log" >&2; exit 1; }
fi
echo "kafka: node $node of $nodes, clients reach it at $advertised ($protocol), data in $data"
set -f
exec $java "-Xmx${heap}m" kafka.Kafka "$properties"
