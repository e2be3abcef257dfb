# shellcheck shell=bash
# Chaos Mesh's controller: its webhooks admit or refuse chaos manifests, and it
# kills pods. Its daemon, which disturbs networks and clocks, is not built: its
# module lacks the programs that it puts into the kernel.

VERSION=2.8.4
CHAOS_MESH=github.com/chaos-mesh/chaos-mesh

operator_programs() {
  programs $CHAOS_MESH/cmd/chaos-controller-manager
  image chaos-mesh 65532:65532 /usr/local/bin/chaos-controller-manager "$OUT/bin/chaos-controller-manager:/usr/local/bin/chaos-controller-manager"
}

# The controller's webhook sets partitionBehavior, which the chart's definitions
# do not know: strict decoding would refuse every update of a network chaos.
operator_manifests() {
  local file
  cp -r "$(module_folder $CHAOS_MESH)/helm/chaos-mesh" "$OUT/manifests/chart"
  chmod -R u+w "$OUT/manifests"
  for file in "$OUT"/manifests/chart/crds/*_{networkchaos,podnetworkchaos,schedules,workflows,workflownodes}.yaml; do
    grep -q partitionBehavior "$file" || sed -i -E 's/^( *)direction:$/\1partitionBehavior:\n\1  type: string\n\1direction:/' "$file"
  done
  # Apart from the chart: helm would not upgrade them, and the client's side cannot hold them.
  mkdir "$OUT/manifests/crds"
  mv "$OUT"/manifests/chart/crds/*.yaml "$OUT/manifests/crds/"
}

operator_apply() {
  apply "$1" "$OUT"/manifests/crds/*.yaml
  "$BIN/helm" --kubeconfig "$(kubeconfig_of "$1")" upgrade --install chaos-mesh "$OUT/manifests/chart" \
    --namespace chaos-mesh --create-namespace -f "$FOLDER/values.yaml" >/dev/null
  rolled_out "$1" chaos-mesh chaos-controller-manager
  wait_for 90 "Chaos Mesh's webhook" accepts "$1" '{apiVersion: chaos-mesh.org/v1alpha1, kind: PodChaos, metadata: {name: probe, namespace: default}, spec: {action: pod-kill, mode: one, selector: {namespaces: [default]}}}'
}
