#!/usr/bin/env bash
# Process number 1 of a machine: sets up what it sees of the file system and
# runs its daemons, each started again when it ends, as a service manager does.
set -eu
set -a; . "$1"; set +a

main() {
  private_file_system
  hostname "$MACHINE"
  wait_for_cable
  if [ "$NUMBER" = 0 ]; then control_plane; else node; fi
  # Stay, and reap what the daemons leave behind.
  while :; do wait -n 2>/dev/null || sleep 1; done
}

# /var/lib and /var/log are the machine's own disk and survive a power loss;
# /run does not. All other folders are those of the host.
private_file_system() {
  # Let go of other namespaces' handles that came along with the mounts, or
  # they could not be deleted while this machine runs.
  findmnt -rn -t nsfs -o TARGET | xargs -r -n1 umount -l
  mount -t proc proc /proc
  mount --bind "$DIR/log" /var/log
  mount --bind "$DIR/lib" /var/lib
  mount -t tmpfs tmpfs /run
  local path user
  while read -r path user; do
    [ -d "$path" ] || install -d -m 700 -o "$user" -g "$user" "$path"
  done <"$DIR/volumes"
  mount --make-rshared / # the kubelet hands mounts on to pods
}

wait_for_cable() { until ip route | grep -q ^default; do sleep 0.05; done; }

# daemon NAME COMMAND...
daemon() {
  local name=$1
  shift
  while :; do "$@" >>"/var/log/$name.log" 2>&1 || true; sleep 1; done &
}

control_plane() {
  daemon etcd etcd --data-dir /var/lib/etcd --unsafe-no-fsync --logger zap --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
  until curl -fs http://127.0.0.1:2379/health >/dev/null; do sleep 0.1; done

  # Pods leave a lost node after 10 s instead of 5 min, and aggregated APIs and
  # webhooks are called at their pods' addresses, for there is no kube-proxy here.
  daemon kube-apiserver "$BIN/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
    --advertise-address "$CONTROL_IP" --secure-port 6443 --service-cluster-ip-range "$SERVICE_CIDR" \
    --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" --client-ca-file "$PKI/ca.crt" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$PKI/service-account.key" --service-account-signing-key-file "$PKI/service-account.key" \
    --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP \
    --kubelet-client-certificate "$PKI/apiserver-to-kubelet.crt" --kubelet-client-key "$PKI/apiserver-to-kubelet.key" \
    --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --requestheader-allowed-names front-proxy \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key" \
    --enable-aggregator-routing \
    --default-not-ready-toleration-seconds 10 --default-unreachable-toleration-seconds 10
  until curl -fs --cacert "$PKI/ca.crt" https://127.0.0.1:6443/readyz >/dev/null; do sleep 0.2; done

  # A node counts as lost after 12 s instead of 50; the autoscaler looks and
  # shrinks sooner than it would, so that a test can see it do both.
  daemon kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig "$PKI/controller-manager.kubeconfig" \
    --leader-elect=false --use-service-account-credentials --cluster-cidr "$POD_CIDR" --allocate-node-cidrs=false \
    --service-account-private-key-file "$PKI/service-account.key" --root-ca-file "$PKI/ca.crt" \
    --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key" \
    --node-monitor-period 2s --node-monitor-grace-period 12s \
    --horizontal-pod-autoscaler-sync-period 5s --horizontal-pod-autoscaler-initial-readiness-delay 5s \
    --horizontal-pod-autoscaler-cpu-initialization-period 10s --horizontal-pod-autoscaler-downscale-stabilization 30s
  daemon kube-scheduler "$BIN/kube-scheduler" --kubeconfig "$PKI/scheduler.kubeconfig" --leader-elect=false
}

node() {
  write_containerd_config
  write_pod_network
  write_kubelet_config
  masquerade
  daemon containerd containerd --config /run/containerd.toml
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  import_images
  daemon kubelet "$BIN/kubelet" --config /run/kubelet.yaml --kubeconfig "$PKI/$MACHINE.kubeconfig" \
    --root-dir /var/lib/kubelet --hostname-override "$MACHINE" --node-ip "$NODE_IP" \
    --node-labels "topology.kubernetes.io/region=$CLUSTER,topology.kubernetes.io/zone=$ZONE"
  # The zeros: connection tracking limits belong to the whole machine and
  # cannot be written from inside a namespace.
  daemon kube-proxy "$BIN/kube-proxy" --kubeconfig "$PKI/kube-proxy.kubeconfig" --hostname-override "$MACHINE" \
    --proxy-mode nftables --cluster-cidr "$POD_CIDR" --conntrack-max-per-core 0 \
    --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
  daemon netpol "$BIN/netpol" --kubeconfig "$PKI/netpol.kubeconfig" --node "$MACHINE"
}

import_images() {
  local image
  for image in pause coredns metrics-server probe; do
    ctr -n k8s.io images ls -q | grep -qx "localhost/$image:1" || ctr -n k8s.io images import "$IMAGES/$image.tar" >/dev/null
  done
}

write_containerd_config() {
  cat >/run/containerd.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/run/cni/net.d"
TOML
}

# Every pod hangs on a cable of its own (ptp) and all its traffic is routed:
# so one forward hook sees all of it and the policy enforcer needs no more.
write_pod_network() {
  mkdir -p /run/cni/net.d
  cat >/run/cni/net.d/10-pods.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "/run/cni/addresses",
            "ranges": [[{"subnet": "$NODE_POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

# Pod addresses are known inside the cluster only; outside it (another region,
# the host) a pod speaks with its node's address.
masquerade() {
  nft -f - <<NFT
table ip outside {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr $POD_CIDR ip daddr != { $POD_CIDR, $NODE_NET } masquerade
  }
}
NFT
}

write_kubelet_config() {
  : >/run/resolv.conf # there is no DNS server outside the cluster
  local memory
  memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
  cat >/run/kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/$MACHINE.crt
tlsPrivateKeyFile: $PKI/$MACHINE.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: $CGROUP_ROOT
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
systemReserved: {memory: "$((memory > NODE_MEMORY_MI ? memory - NODE_MEMORY_MI : 0))Mi"}
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
# Images cannot be fetched again, so none may be removed because the disk is
# full: neither by use nor by age, nor under pressure (evictionHard above is as
# low as it goes).
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: 12
clusterDNS: ["$DNS_IP"]
clusterDomain: cluster.local
resolvConf: /run/resolv.conf
YAML
}

main
