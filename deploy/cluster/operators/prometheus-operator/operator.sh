# shellcheck shell=bash
# prometheus-operator: ServiceMonitor, PodMonitor and PrometheusRule for real.

VERSION=0.85.0
PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator

operator_programs() {
  LDFLAGS="-X github.com/prometheus/common/version.Version=$VERSION" programs $PROMETHEUS_OPERATOR/cmd/{operator,prometheus-config-reloader}
  image prometheus-operator 65534:65534 /bin/operator "$OUT/bin/operator:/bin/operator"
  image prometheus-config-reloader 65534:65534 /bin/prometheus-config-reloader "$OUT/bin/prometheus-config-reloader:/bin/prometheus-config-reloader"
}

# Upstream's bundle installs into the namespace `default`.
operator_manifests() {
  sed -E "s#quay.io/prometheus-operator/(prometheus[a-z-]*):v$VERSION#localhost/\1:$VERSION#; s#^( *namespace:) default\$#\1 prometheus-operator#" \
    "$(module_folder $PROMETHEUS_OPERATOR)/bundle.yaml" >"$OUT/manifests/bundle.yaml"
}

# It has no webhook of its own here: its definitions check what they are given.
operator_apply() {
  apply_text "$1" '{apiVersion: v1, kind: Namespace, metadata: {name: prometheus-operator}}'
  apply "$1" "$OUT/manifests/bundle.yaml"
  rolled_out "$1" prometheus-operator prometheus-operator
  wait_for 60 "prometheus-operator's definitions" accepts "$1" '{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: probe, namespace: default}, spec: {selector: {}, endpoints: [{port: ops}]}}'
}
