# shellcheck shell=bash
# The `check` verb: what a machine must offer, tried rather than guessed. It
# prints one line, and on a machine that cannot also what to do about it.

check_machine() { # check_machine: exit 0 if clusters run here (after `build`), 1 if not
  local reason
  if reason=$(why_not); then
    say "this machine can: $reason"
  else
    say "this machine cannot: $reason"
    return 1
  fi
}

# why_not: the first obstacle and its next step, and fails; or what is left to do, and succeeds.
why_not() {
  local free memory missing found
  [ "$(uname -s)" = Linux ] || { say "clusters are made of Linux namespaces, and this is $(uname -s); use kind with Docker"; return 1; }
  [ "$(id -u)" = 0 ] || { say "namespaces and mounts need root, and this is $(id -un); run it with sudo, or use kind with Docker"; return 1; }
  [ -d /sys/fs/cgroup/memory ] || { say "it is written for cgroup v1, and /sys/fs/cgroup/memory is not there; boot with systemd.unified_cgroup_hierarchy=0, or use kind with Docker"; return 1; }
  for found in cpu cpuacct cpuset memory pids devices; do
    [ -w "/sys/fs/cgroup/$found" ] || { say "cgroup controller $found is missing or read-only (a container?); run it on the machine itself"; return 1; }
  done
  unshare --pid --fork --mount --net --uts --ipc true 2>/dev/null || { say "namespaces are refused (a container without CAP_SYS_ADMIN?); run it on the machine itself"; return 1; }
  can_network || { say "the kernel makes no veth pairs or bridges in a network namespace; load the modules veth and bridge"; return 1; }
  can_overlay || { say "the kernel has no overlay file systems, or not on $(existing_parent "$STATE"); load the module overlay, or set XDG_STATE_HOME to a disk of ext4 or xfs"; return 1; }
  free=$(df --output=avail -m "$(existing_parent "$STATE")" | tail -1)
  [ "$free" -ge 6144 ] || { say "$(existing_parent "$STATE") has $free MiB free, and a cluster with its images takes 6144; free some, or set XDG_STATE_HOME"; return 1; }
  memory=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
  [ "$memory" -ge 4096 ] || { say "$memory MiB of memory are free, and a cluster with its services takes 4096"; return 1; }
  missing=$(missing_packages 2>/dev/null | xargs)
  [ -z "$missing" ] || command -v apt-get >/dev/null || { say "programs are missing ($missing, as Debian calls them) and there is no apt-get to install them"; return 1; }
  if is_built; then say "all is built, $memory MiB of memory and $free MiB of disk are free"; return; fi
  # need_go ends the shell that it finds wanting.
  found=$(need_go 2>&1) || { say "${found#error: }"; return 1; }
  command -v npm >/dev/null || { say "kubectl and helm come from an npm package, and there is no npm"; return 1; }
  free=$(df --output=avail -m "$(existing_parent "$CACHE_ROOT")" | tail -1)
  [ "$free" -ge 12288 ] || { say "$(existing_parent "$CACHE_ROOT") has $free MiB free, and building takes 12288 with Go's own caches"; return 1; }
  say "after '$0 build' (16 minutes once, on two cores)"
}

is_built() { [ -x "$BIN/kubelet" ] && [ -x "$BIN/kubectl" ] && [ -f "$IMAGES/probe.tar" ] && [ -z "$(missing_packages 2>/dev/null)" ]; }

existing_parent() {
  local folder=$1
  until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
  say "$folder"
}

# In namespaces that end with the command, so nothing is left behind.
can_network() {
  unshare --net sh -ec 'ip link add one type veth peer name two && ip link add three type bridge' 2>/dev/null
}

can_overlay() {
  local folder rc=0
  folder=$(mktemp -d "$(existing_parent "$STATE")/settlement-overlay-XXXXXX") || return 1
  mkdir "$folder"/{lower,upper,work,merged}
  unshare --mount sh -ec "mount -t overlay overlay -o lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work $folder/merged" 2>/dev/null || rc=1
  rm -rf "$folder"
  return $rc
}

# What `up` insists on.
need_machine_and_build() {
  local reason
  reason=$(why_not) || die "this machine cannot: $reason"
  is_built || die "the programs are not built; '$0 build' builds them"
  # Every kubelet and containerd watches many files; Debian's 128 is for one.
  [ "$(sysctl -n fs.inotify.max_user_instances)" -ge 2048 ] || sysctl -qw fs.inotify.max_user_instances=2048
}
