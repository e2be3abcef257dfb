# shellcheck shell=bash
# The verbs that make, fill and remove clusters.

up() { # up NAME --nodes N --index I
  local name=${1:-} nodes=2 index='' began=$SECONDS
  shift || true
  while [ $# -gt 0 ]; do
    case $1 in
      --nodes) nodes=${2:-}; shift 2 || die "--nodes takes 1 to 9" ;;
      --index) index=${2:-}; shift 2 || die "--index takes 1 to 9" ;;
      *) die "up does not know $1" ;;
    esac
  done
  check_up_arguments "$name" "$nodes" "$index"
  need_machine_and_build
  # Whoever stops it before the end must not find daemons running hours later.
  # A failure leaves them, for their logs say why, and says so.
  trap 'trap - INT TERM HUP EXIT; note "interrupted; removing what there is of $UP_NAME"; down "$UP_NAME"; exit 130' INT TERM HUP
  trap 'note "error: $UP_NAME is not up; its logs are below $(cluster_dir "$UP_NAME")/*/log, and \"$0 down $UP_NAME\" removes what runs"' EXIT
  UP_NAME=$name

  # The first write is the index: from it on, `down` finds all the rest.
  mkdir -p "$(cluster_dir "$name")"
  say "$nodes" >"$(cluster_dir "$name")/nodes"
  say "$index" >"$(cluster_dir "$name")/index"
  make_certs "$name"
  # Two `up`s may run side by side; the first one makes the WAN.
  (flock 9; wan_up) 9>"$STATE/.lock"
  switch_up "$name"

  machine_start "$name" control-plane
  local n
  for n in $(seq "$nodes"); do machine_start "$name" "$name-$n"; done
  note "$name: $((nodes + 1)) machines started after $((SECONDS - began)) s"
  wait_for 120 "the API server of $name" k "$name" get --raw /readyz
  note "$name: API server answers after $((SECONDS - began)) s"
  { add_ons "$name"; storage "$name"; } | k "$name" apply -f - >/dev/null
  for n in $(seq "$nodes"); do
    wait_for 120 "node $name-$n to register" k "$name" get node "$name-$n"
    k "$name" patch node "$name-$n" -p "{\"spec\": {\"podCIDR\": \"$(node_pod_cidr "$index" "$n")\", \"podCIDRs\": [\"$(node_pod_cidr "$index" "$n")\"]}}" >/dev/null
  done
  k "$name" wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
  note "$name: $nodes nodes Ready after $((SECONDS - began)) s"
  k "$name" -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null
  note "$name: DNS ready after $((SECONDS - began)) s"
  trap - INT TERM HUP EXIT
  say "export KUBECONFIG=$(cluster_dir "$name")/kubeconfig"
}

check_up_arguments() { # check_up_arguments NAME NODES INDEX
  local other
  [[ $1 =~ ^[a-z][a-z0-9]{0,9}$ ]] || die "a cluster's name is at most 10 lower-case letters and digits"
  [[ $2 =~ ^[1-9]$ ]] || die "--nodes takes 1 to 9"
  [[ $3 =~ ^[1-9]$ ]] || die "--index takes 1 to 9, another one for each cluster"
  [ ! -e "$(cluster_dir "$1")" ] || die "$1 exists; '$0 down $1' removes it"
  for other in $(clusters); do
    [ "$(cluster_index "$other")" != "$3" ] || die "--index $3 is $other's"
  done
}

add_ons() { # add_ons NAME
  sed "s/DNS_IP/$(service_ip "$(cluster_index "$1")" 10)/" "$HERE"/manifests/*.yaml
}

down() { # down NAME | --all
  local name
  case ${1:-} in
    '') die "down NAME, or down --all" ;;
    --all)
      # Also what has processes but no folder any more, or the other way round.
      for name in $(find "$STATE" "/sys/fs/cgroup/memory/$CGROUP" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | sort -u); do
        cluster_down "$name"
      done
      ;;
    *) cluster_down "$1" ;;
  esac
  # The last one takes the network between clusters along.
  if [ -z "$(clusters)" ]; then
    wan_down
    remove_cgroups
    rm -rf "$STATE"
    rmdir "$(dirname "$STATE")" 2>/dev/null || true # when nothing else of ours is in it
  fi
}

cluster_down() { # cluster_down NAME
  [[ $1 =~ ^[a-z][a-z0-9]{0,9}$ ]] || die "no such cluster: $1"
  machine_kill "$1"
  remove_cgroups "$1"
  switch_down "$1"
  rm -rf --one-file-system "$(cluster_dir "$1")"
}

kill_node() { # kill_node NAME MACHINE
  need_machine "$1" "${2:-}"
  # The cable first: a killed process's kernel would still say goodbye on its
  # open connections, and a machine without power does not.
  unplug "$1" "$(machine_number "$1" "$2")"
  machine_kill "$1" "$2"
  remove_cgroups "$1" "$2"
}

start_node() { # start_node NAME MACHINE
  need_machine "$1" "${2:-}"
  machine_start "$1" "$2"
}

status() { # status [--json]
  local name machine
  if [ "${1:-}" = --json ]; then status_json; return; fi
  for name in $(clusters); do
    say "$name: index $(cluster_index "$name"), $(cluster_nodes "$name") nodes, kubeconfig $(cluster_dir "$name")/kubeconfig"
    for machine in $(machines "$name"); do
      say "  $machine: $(power "$name" "$machine"), $(usage "$name/$machine")"
    done
    say "  all: $(usage "$name")"
  done
}

# {clusters: [{name, index, kubeconfig, bin, machines: [{name, address, running, residentMiB, processorSeconds}]}]}
status_json() {
  local name machine number address resident seconds
  for name in $(clusters); do
    for machine in $(machines "$name"); do
      number=$(machine_number "$name" "$machine")
      if [ "$number" = 0 ]; then address=$(control_ip "$(cluster_index "$name")"); else address=$(node_ip "$(cluster_index "$name")" "$number"); fi
      read -r resident seconds < <(usage_numbers "$name/$machine")
      jq -nc --arg name "$machine" --arg address "$address" --arg power "$(power "$name" "$machine")" --argjson resident "$resident" --argjson seconds "$seconds" \
        '{name: $name, address: $address, running: ($power == "running"), residentMiB: $resident, processorSeconds: $seconds}'
    done | jq -sc --arg name "$name" --argjson index "$(cluster_index "$name")" --arg kubeconfig "$(cluster_dir "$name")/kubeconfig" --arg bin "$BIN" \
      '{name: $name, index: $index, kubeconfig: $kubeconfig, bin: $bin, machines: .}'
  done | jq -s '{clusters: .}'
}

power() { machine_pid_known "$1" "$2" && say running || say off; }

# usage PATH: resident memory and processor time so far of a cgroup tree.
usage() {
  local resident seconds
  read -r resident seconds < <(usage_numbers "$1")
  say "$resident MiB resident, $seconds s of processor time"
}

usage_numbers() {
  local memory=/sys/fs/cgroup/memory/$CGROUP/$1 cpu=/sys/fs/cgroup/cpuacct/$CGROUP/$1
  [ -d "$memory" ] || { say "0 0"; return; }
  say "$(awk '$1 == "total_rss" { printf "%d", $2 / 1048576 }' "$memory/memory.stat") $(awk '{ printf "%.1f", $1 / 1e9 }' "$cpu/cpuacct.usage")"
}
