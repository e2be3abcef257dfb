# shellcheck shell=bash
# The storage class `local`: folders on each node's own disk, made beforehand
# and offered as volumes, so that a claim stays with the node that holds its data.

# USE COUNT USER for each node. Spares are for instances that are made anew
# while the claim of their predecessor still stands.
VOLUMES=("postgres 4 26" "kafka 2 65532" "chain 1 65532")
VOLUME_SIZE=20Gi # what a claim may ask for; nothing measures it

volume_path() { say "/var/lib/settlement/$1-$2"; } # volume_path USE NUMBER, on the node

storage() { # storage NAME: the class and every node's volumes, as manifests
  local n nodes=()
  for n in $(seq "$(cluster_nodes "$1")"); do nodes+=("$1-$n"); done
  volumes "${nodes[@]}"
}

volumes() { # volumes NODE...: the same for nodes of any cluster; --folders: what each of them has to have
  local node i use count user
  if [ "${1:-}" = --folders ]; then volume_folders; return; fi
  cat <<'YAML'
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
# Only once its pod is scheduled: else the claim would choose the pod's node.
volumeBindingMode: WaitForFirstConsumer
YAML
  for node in "$@"; do
    for use in "${VOLUMES[@]}"; do
      read -r use count user <<<"$use"
      for i in $(seq "$count"); do volume "$node" "$use" "$i"; done
    done
  done
}

volume() { # volume NODE USE NUMBER
  cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1-$2-$3, labels: {settlement.local/volume: $2}}
spec:
  storageClassName: local
  capacity: {storage: $VOLUME_SIZE}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: $(volume_path "$2" "$3"), type: Directory}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$1]}]}]}
YAML
}

# What a machine makes of them when it boots (lib/init.sh); a volume's own user alone may look into it.
volume_folders() { # PATH USER, a line each
  local use count user i
  for use in "${VOLUMES[@]}"; do
    read -r use count user <<<"$use"
    for i in $(seq "$count"); do say "$(volume_path "$use" "$i") $user"; done
  done
}

recycle() { # recycle NAME: a Released volume has data that nobody asks for
  local name=${1:-} volume node use number
  need_cluster "$name"
  for volume in $(k "$name" get persistentvolumes -l settlement.local/volume -o json |
    jq -r '.items[] | select(.status.phase == "Released") | .metadata.name'); do
    number=${volume##*-} use=${volume%-*}
    node=${use%-*} use=${use##*-}
    machine_pid_known "$name" "$node" || { note "$node is off: $volume stays as it is"; continue; }
    machine_enter "$name" "$node" find "$(volume_path "$use" "$number")" -mindepth 1 -delete
    k "$name" delete persistentvolume "$volume" >/dev/null
    volume "$node" "$use" "$number" | k "$name" apply -f - >/dev/null
    note "$volume is empty and offered again"
  done
}
