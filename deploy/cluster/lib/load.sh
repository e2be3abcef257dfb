# shellcheck shell=bash
# The `load` verb: images onto every node, as there is no registry.

LOADERS=${LOADERS:-3} # nodes that import at once; more only make two cores wait for one disk

load() { # load NAME IMAGE.tar...
  local name=${1:-} file n rc=0 began=$SECONDS
  need_cluster "$name"
  shift
  [ $# -gt 0 ] || die "load NAME IMAGE.tar..."
  for file in "$@"; do [ -f "$file" ] || die "no image file '$file'"; done
  for n in $(seq "$(cluster_nodes "$name")"); do
    while [ "$(jobs -rp | wc -l)" -ge "$LOADERS" ]; do wait -n || rc=1; done
    load_node "$name" "$name-$n" "$@" &
  done
  while [ -n "$(jobs -rp)" ]; do wait -n || rc=1; done
  [ "$rc" = 0 ] || die "not every node took every image; load it again"
  note "$name: $# images on $(cluster_nodes "$name") nodes after $((SECONDS - began)) s"
}

load_node() { # load_node NAME MACHINE IMAGE.tar...
  local name=$1 machine=$2 file known stamp
  shift 2
  machine_pid_known "$name" "$machine" || { note "$machine is off and takes no image"; return 1; }
  known=$(cluster_dir "$name")/$machine/lib/loaded
  mkdir -p "$known"
  for file in "$@"; do
    # The same file once more, as when an operator is installed again, costs nothing.
    stamp=$known/$(stat -c '%n %s %Y %i' "$file" | sha256sum | cut -c1-32)
    [ ! -e "$stamp" ] || continue
    # Not unpacked: the kubelet's runtime does that when the first container
    # asks, and most nodes never run most images.
    machine_enter "$name" "$machine" ctr -n k8s.io images import --no-unpack - <"$file" >/dev/null || { note "$machine refused $file"; return 1; }
    : >"$stamp"
  done
}
