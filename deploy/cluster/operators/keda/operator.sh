# shellcheck shell=bash
# KEDA: scaling on what Kafka has not been read yet.

VERSION=2.20.2
KEDA=github.com/kedacore/keda/v2

operator_programs() {
  LDFLAGS="-X $KEDA/version.Version=$VERSION" programs $KEDA/cmd/{operator,adapter,webhooks}
  image keda 1000:1000 /keda "$OUT/bin/operator:/keda"
  image keda-metrics-apiserver 1000:1000 /keda-adapter "$OUT/bin/adapter:/keda-adapter"
  image keda-admission-webhooks 1000:1000 /keda-admission-webhooks "$OUT/bin/webhooks:/keda-admission-webhooks"
}

operator_manifests() {
  "$BIN/kubectl" kustomize "$(module_folder $KEDA)/config/default" |
    sed -E "s#ghcr.io/kedacore/(keda[a-z-]*):[a-z]+#localhost/\1:$VERSION#; s#imagePullPolicy: Always#imagePullPolicy: IfNotPresent#" >"$OUT/manifests/keda.yaml"
}

operator_apply() {
  apply "$1" "$OUT/manifests/keda.yaml"
  rolled_out "$1" keda keda-operator keda-metrics-apiserver keda-admission
  wait_for 90 "KEDA's webhook" accepts "$1" '{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: probe, namespace: kube-system}, spec: {scaleTargetRef: {name: coredns}, triggers: [{type: cron, metadata: {timezone: UTC, start: 0 1 * * *, end: 0 2 * * *, desiredReplicas: "3"}}]}}'
  wait_for 60 "KEDA's metrics" k "$1" wait --for=condition=Available apiservice/v1beta1.external.metrics.k8s.io --timeout=1s
}
