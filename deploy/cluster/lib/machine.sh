# shellcheck shell=bash
# A machine is a set of namespaces (processes, mounts, network, host name)
# around one init process. That makes it easy to lose: when init is killed the
# kernel kills the rest, and their mounts and network go with them.
#
# Every process is in the machine's cgroups from birth, so `down` finds all of
# them whatever state an interrupted `up` left behind.

controllers() { find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d; }

machine_cgroup() { say "$CGROUP/$1/$2"; }

machine_start() { # machine_start NAME MACHINE
  local name=$1 machine=$2 dir number address controller descriptor
  dir=$(cluster_dir "$name")/$machine number=$(machine_number "$name" "$machine")
  [ -z "$(machine_pid "$name" "$machine")" ] || die "$machine is already running"
  mkdir -p "$dir"/{lib,log}
  write_machine_environment "$name" "$machine" >"$dir/environment"
  if [ "$number" = 0 ]; then : >"$dir/volumes"; else volume_folders >"$dir/volumes"; fi
  for controller in $(controllers); do mkdir -p "$controller/$(machine_cgroup "$name" "$machine")/system"; done
  share_processor "$name" "$machine"
  # All pods of all clusters are one group beside the machine's own processes, each of which weighs 1024: at its default
  # weight the group would get one process's share, and forty pods would starve beside a compiler.
  echo 16384 >"/sys/fs/cgroup/cpu/$CGROUP/cpu.shares"

  (
    # The machine's own daemons are counted apart from its pods (kubepods).
    for controller in cpu cpuacct memory pids; do
      echo "$BASHPID" >"/sys/fs/cgroup/$controller/$(machine_cgroup "$name" "$machine")/system/cgroup.procs"
    done
    # Nothing of the caller's goes along: a lock or a pipe that a daemon holds open would never be let go.
    for descriptor in /proc/self/fd/*; do
      descriptor=${descriptor##*/}
      [ "$descriptor" -le 2 ] || eval "exec $descriptor>&-"
    done
    exec setsid unshare --pid --fork --mount --net --uts --ipc --propagation private \
      bash "$HERE/lib/init.sh" "$dir/environment" </dev/null >>"$dir/log/init.log" 2>&1
  ) &
  disown # or bash would remark on its death
  wait_for 10 "$machine to start" machine_pid_known "$name" "$machine"

  if [ "$number" = 0 ]; then address=$(control_ip "$(cluster_index "$name")"); else address=$(node_ip "$(cluster_index "$name")" "$number"); fi
  plug "$name" "$number" "$(machine_pid "$name" "$machine")" "$address"
}

# All pods of all clusters are one control group beside this machine's other
# sessions, each of which weighs 1024: at that weight a busy machine leaves a
# cluster so little that nodes miss their leases and lose their pods. The
# daemons come first inside, since nothing runs without them.
share_processor() { # share_processor NAME MACHINE
  local cpu=/sys/fs/cgroup/cpu machine
  machine=$cpu/$(machine_cgroup "$1" "$2")
  say "$CPU_SHARES" >"$cpu/$CGROUP/cpu.shares"
  [ "$2" != control-plane ] || say 4096 >"$machine/cpu.shares"
  say 4096 >"$machine/system/cpu.shares" # a node's pods weigh 1024 for each core
}

write_machine_environment() { # write_machine_environment NAME MACHINE
  local name=$1 index number
  index=$(cluster_index "$name") number=$(machine_number "$name" "$2")
  cat <<SH
CLUSTER=$name MACHINE=$2 NUMBER=$number DIR="$(cluster_dir "$name")/$2" PKI="$(cluster_dir "$name")/pki"
BIN="$BIN" IMAGES="$IMAGES" CGROUP_ROOT=/$(machine_cgroup "$name" "$2") NODE_MEMORY_MI=$NODE_MEMORY_MI
CONTROL_IP=$(control_ip "$index") NODE_IP=$(node_ip "$index" "$number") NODE_NET=$(node_net "$index").0/24
POD_CIDR=$(pod_cidr "$index") NODE_POD_CIDR=$(node_pod_cidr "$index" "$number")
SERVICE_CIDR=$(service_cidr "$index") DNS_IP=$(service_ip "$index" 10)
ZONE=$name-$(cut -c$(((number + 2) % 3 + 1)) <<<abc)
SH
}

# The init process is the one that is number 1 in its own process namespace.
machine_pid() { # machine_pid NAME MACHINE
  local pid
  for pid in $(cat "/sys/fs/cgroup/memory/$(machine_cgroup "$1" "$2")/system/cgroup.procs" 2>/dev/null); do
    if awk '/^NSpid:/ { exit !(NF == 3 && $3 == 1) }' "/proc/$pid/status" 2>/dev/null; then say "$pid"; return; fi
  done
}
machine_pid_known() { [ -n "$(machine_pid "$1" "$2")" ]; }

# Everything in the cgroup tree, pods included, at once and without warning.
machine_kill() { # machine_kill NAME [MACHINE]: without MACHINE the whole cluster
  local tree=/sys/fs/cgroup/memory/$CGROUP/$1${2:+/$2}
  local deadline=$((SECONDS + 20)) pids
  while pids=$(processes_in "$tree"); [ -n "$pids" ]; do
    # shellcheck disable=SC2086 # a list of numbers
    kill -KILL $pids 2>/dev/null || true
    [ "$SECONDS" -lt "$deadline" ] || die "these processes do not die: $pids"
    sleep 0.1
  done
}

processes_in() { # processes_in CGROUP-FOLDER
  [ ! -d "$1" ] || find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null | tr '\n' ' '
}

remove_cgroups() { # remove_cgroups [NAME [MACHINE]]
  local controller tree
  for controller in $(controllers); do
    tree=$controller/$CGROUP${1:+/$1}${2:+/$2}
    [ ! -d "$tree" ] || find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

machine_enter() { # machine_enter NAME MACHINE COMMAND...
  local pid
  pid=$(machine_pid "$1" "$2")
  [ -n "$pid" ] || die "$2 is not running"
  shift 2
  nsenter -t "$pid" -p -m -n -u -i -- "$@"
}
