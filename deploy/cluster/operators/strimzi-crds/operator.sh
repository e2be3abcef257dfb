# shellcheck shell=bash
# Strimzi's definitions without its operator, which no registry of packages has:
# the API server then admits or refuses Kafka, KafkaTopic and the others as it
# would with it. The definitions are generated from the operator's own classes.

VERSION=0.45.0

# The two files that say what a Kafka is; what they merely use is Maven's to check.
JARS="7112a02ebf29d38b2eb2ad8da90353d2a3922aea2fe2bddc2abe4e5956fdfe9a  api-0.45.0.jar
f03aab1b83d29bbd340ce484a4bb651faac7685c685865a30351a636da6008ea  crd-generator-0.45.0.jar"

MODEL=io.strimzi.api.kafka.model
KINDS="Kafka=$MODEL.kafka.Kafka KafkaNodePool=$MODEL.nodepool.KafkaNodePool KafkaTopic=$MODEL.topic.KafkaTopic KafkaUser=$MODEL.user.KafkaUser"

operator_programs() {
  command -v mvn java >/dev/null || die "Strimzi's definitions come from Maven: install maven and a JDK of 17 or later"
  mvn -q -B -f "$FOLDER/pom.xml" dependency:copy-dependencies -DoutputDirectory="$OUT/lib" -DincludeScope=runtime >&2
  (cd "$OUT/lib" && sha256sum --quiet -c - <<<"$JARS") || die "Maven delivered other files than those whose digests are committed here"
}

operator_manifests() {
  local kind arguments=()
  for kind in $KINDS; do arguments+=("${kind#*=}=crd/${kind%%=*}.yaml"); done
  (cd "$OUT" && rm -rf crd && mkdir crd && java -cp 'lib/*' io.strimzi.crdgenerator.CrdGenerator --yaml "${arguments[@]}" >crd.log 2>&1) ||
    die "the generator failed: $(tail -2 "$OUT/crd.log" | xargs)"
  cp "$OUT"/crd/*.yaml "$OUT/manifests/"
}

operator_apply() {
  apply "$1" "$OUT"/manifests/*.yaml
  wait_for 60 "Strimzi's definitions" accepts "$1" '{apiVersion: kafka.strimzi.io/v1beta2, kind: KafkaTopic, metadata: {name: probe, namespace: default}, spec: {partitions: 1, replicas: 1}}'
}
