# shellcheck shell=bash
# Prometheus itself, for prometheus-operator to start: its API without its pages,
# which are not in the module.

VERSION=3.5.0
PROMETHEUS=github.com/prometheus/prometheus # 3.5.0 is the module's 0.305.0

operator_programs() {
  LDFLAGS="-X github.com/prometheus/common/version.Version=$VERSION" programs $PROMETHEUS/cmd/prometheus
  image prometheus 65534:65534 /bin/prometheus "$OUT/bin/prometheus:/bin/prometheus"
}

operator_manifests() { cp "$FOLDER/prometheus.yaml" "$OUT/manifests/"; }

operator_apply() {
  apply "$1" "$OUT/manifests/prometheus.yaml"
  wait_for 120 "Prometheus" k "$1" -n monitoring wait --for=condition=Available prometheus/prometheus --timeout=1s
}
