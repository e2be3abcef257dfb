# shellcheck shell=bash
# CloudNativePG: Postgres clusters with synchronous quorum and failover.

VERSION=1.27.0
CNPG=github.com/cloudnative-pg/cloudnative-pg

operator_programs() {
  LDFLAGS="-X $CNPG/pkg/versions.buildVersion=$VERSION" programs $CNPG/cmd/manager
  # Instances fetch the second path for themselves, by the name of their processor's architecture.
  image cloudnative-pg 65532:65532 /manager "$OUT/bin/manager:/manager" "$OUT/bin/manager:/operator/manager_$(architecture)"
}

# The image's name stands twice: as the operator's own, and as what it starts in each instance.
operator_manifests() {
  sed -E "s#ghcr.io/cloudnative-pg/cloudnative-pg:$VERSION#localhost/cloudnative-pg:$VERSION#; s#imagePullPolicy: Always#imagePullPolicy: IfNotPresent#" \
    "$(module_folder $CNPG)/releases/cnpg-$VERSION.yaml" >"$OUT/manifests/operator.yaml"
}

operator_apply() {
  apply "$1" "$OUT/manifests/operator.yaml"
  rolled_out "$1" cnpg-system cnpg-controller-manager
  wait_for 60 "CloudNativePG's webhook" accepts "$1" '{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: probe, namespace: default}, spec: {instances: 1, storage: {size: 1Gi}}}'
}
