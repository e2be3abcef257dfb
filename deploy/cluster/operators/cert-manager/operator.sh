# shellcheck shell=bash
# cert-manager: certificates for mutual TLS. 1.11.5 is the last version whose
# root module holds all of its programs.

VERSION=1.11.5
CERT_MANAGER=github.com/cert-manager/cert-manager

operator_programs() {
  local program
  LDFLAGS="-X $CERT_MANAGER/pkg/util.AppVersion=v$VERSION" programs $CERT_MANAGER/cmd/{controller,webhook,cainjector}
  for program in controller webhook cainjector; do
    image "cert-manager-$program" 1000:1000 "/app/cmd/$program/$program" "$OUT/bin/$program:/app/cmd/$program/$program"
  done
}

operator_manifests() {
  local module
  module=$(module_folder $CERT_MANAGER)
  # Upstream's release fills these templates in: the labels' values and the chart's version.
  sed -E "s#'\{\{.*\}\}'#cert-manager#; s#^apiVersion: apiext#---\n&#" "$module"/deploy/crds/crd-*.yaml >"$OUT/manifests/crds.yaml"
  cp -r "$module/deploy/charts/cert-manager" "$OUT/manifests/chart"
  chmod -R u+w "$OUT/manifests"
  sed -E "s/^(version|appVersion):.*/\1: v$VERSION/" "$OUT/manifests/chart/Chart.template.yaml" >"$OUT/manifests/chart/Chart.yaml"
}

operator_apply() {
  apply "$1" "$OUT/manifests/crds.yaml"
  "$BIN/helm" --kubeconfig "$(kubeconfig_of "$1")" upgrade --install cert-manager "$OUT/manifests/chart" \
    --namespace cert-manager --create-namespace -f "$FOLDER/values.yaml" >/dev/null
  rolled_out "$1" cert-manager cert-manager cert-manager-webhook cert-manager-cainjector
  wait_for 60 "cert-manager's webhook" accepts "$1" '{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: probe, namespace: default}, spec: {selfSigned: {}}}'
}
