# shellcheck shell=bash
# Names, addresses and small helpers that every verb shares.

KUBERNETES_VERSION=1.34.1

CACHE_ROOT=${XDG_CACHE_HOME:-$HOME/.cache}/settlement/kubernetes
CACHE=$CACHE_ROOT/$KUBERNETES_VERSION
STATE=${XDG_STATE_HOME:-$HOME/.local/state}/settlement/kubernetes
BIN=$CACHE/bin
IMAGES=$CACHE/images

# What the scheduler may give out on one node. A node sees the whole machine,
# so without this several nodes would each offer all of its memory.
NODE_MEMORY_MI=${NODE_MEMORY_MI:-4096}

# What all clusters weigh against one other session of this machine (1024).
CPU_SHARES=${CPU_SHARES:-16384}

# One namespace holds the clusters' switches and the lines between them.
WAN=settlement-wan
CGROUP=settlement-kubernetes

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Address plan. A cluster's index is the only thing that it is computed from,
# so nothing has to be looked up or handed around.
node_net()      { say "10.$((10 + $1)).0"; }          # /24: switch .1, control plane .2, node n .(10+n)
pod_cidr()      { say "10.$((20 + $1)).0.0/16"; }
node_pod_cidr() { say "10.$((20 + $1)).$2.0/24"; }
service_cidr()  { say "10.$((30 + $1)).0.0/16"; }
service_ip()    { say "10.$((30 + $1)).0.$2"; }       # .1 is the API server, .10 is DNS
node_ip()       { say "$(node_net "$1").$((10 + $2))"; }
control_ip()    { say "$(node_net "$1").2"; }
HOST_IP=10.10.0.1 # this machine's end of its line into the WAN namespace
WAN_IP=10.10.0.2

# What `up` wrote down about a cluster.
cluster_dir()   { say "$STATE/$1"; }
cluster_index() { cat "$(cluster_dir "$1")/index"; }
cluster_nodes() { cat "$(cluster_dir "$1")/nodes"; }
clusters()      { [ ! -d "$STATE" ] || find "$STATE" -mindepth 2 -maxdepth 2 -name index -printf '%h\n' | xargs -r -n1 basename | sort; }
machines()      { say control-plane; for n in $(seq "$(cluster_nodes "$1")"); do say "$1-$n"; done; }

need_cluster() {
  [ -n "${1:-}" ] || die "which cluster?"
  [ -f "$(cluster_dir "$1")/index" ] || die "no cluster named $1 (there are: $(clusters | xargs))"
}

need_machine() {
  need_cluster "$1"
  # Not grep -q: it would stop reading early, and pipefail call that a failure.
  machines "$1" | grep -x -- "${2:-}" >/dev/null || die "cluster $1 has no machine '${2:-}' (it has: $(machines "$1" | xargs))"
}

# The number of a machine in its cluster: 0 is the control plane.
machine_number() { if [ "$2" = control-plane ]; then say 0; else say "${2##*-}"; fi; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { printf 'error: gave up waiting for %s\n' "$what" >&2; return 1; }
    sleep 0.3
  done
}

k() { # k CLUSTER ARGUMENTS...: kubectl on that cluster
  local name=$1
  shift
  "$BIN/kubectl" --kubeconfig "$(kubeconfig_of "$name")" "$@"
}

# A cluster is named, or it is somebody else's and a path to its kubeconfig.
kubeconfig_of() { case $1 in */*) say "$1" ;; *) say "$(cluster_dir "$1")/kubeconfig" ;; esac; }

# fingerprint FILE...: one digest over what the files hold, in the order given.
fingerprint() { cat -- "$@" | sha256sum | cut -d' ' -f1; }
