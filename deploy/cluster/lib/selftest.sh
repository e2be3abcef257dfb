# shellcheck shell=bash
# The `selftest` verb: two clusters of two nodes, one line for each check.

A=selfeast B=selfwest # the clusters; indexes 8 and 9 stay clear of a user's own
NS=selftest
passed=0 failed=0

CLUSTERS=("$A" "$B")

selftest() {
  local began=$SECONDS first second rc=0
  case ${1:-} in
    '') ;;
    --quick) CLUSTERS=("$A") ;;
    *) die "selftest takes --quick or nothing" ;;
  esac
  trap 'for cluster in "${CLUSTERS[@]}"; do down "$cluster"; done' EXIT # also after a failure or an interrupt
  check_interrupted_up
  if [ "${1:-}" = --quick ]; then
    "$0" up "$A" --nodes 2 --index 8 || rc=$?
  else
    "$0" up "$A" --nodes 2 --index 8 & first=$!
    "$0" up "$B" --nodes 2 --index 9 & second=$!
    wait "$first" || rc=$?
    wait "$second" || rc=$?
  fi
  check "${#CLUSTERS[@]} clusters of two nodes are up" [ "$rc" = 0 ]
  [ "$rc" = 0 ] || exit 1

  check_pods
  check_storage
  check_policies
  if [ "${1:-}" != --quick ]; then
    check_wan
    check_drain
    check_autoscaler
    check_lost_node
  fi
  check_down

  say "took $((SECONDS - began)) s"
  say "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}

# Stopped in the middle, `up` itself removes what it has started.
check_interrupted_up() {
  local log rc=0 up
  log=$(mktemp "${TMPDIR:-/tmp}/settlement-selftest-XXXXXX")
  setsid "$0" up "$A" --nodes 2 --index 8 >"$log" 2>&1 & up=$!
  wait_for 60 "a first machine" machine_pid_known "$A" "$A-1" || true
  kill -TERM -- "-$up" 2>/dev/null || true
  wait "$up" || rc=$?
  check "an interrupted up says so" grep interrupted "$log"
  check "... ends as interrupted (exit 130)" [ "$rc" = 130 ]
  check "... and leaves nothing" nothing_left
  rm -f "$log"
}

# check WHAT COMMAND...: prints one line; the command's own words only on failure.
check() {
  local what=$1 output began=$SECONDS
  shift
  if output=$("$@" 2>&1 || exit 1); then
    passed=$((passed + 1))
    say "pass: $what ($((SECONDS - began)) s)"
  else
    failed=$((failed + 1))
    say "FAIL: $what ($((SECONDS - began)) s)"
    printf '%s\n' "$output" | tail -5 | sed 's/^/      /'
  fi
}

not() { ! "$@"; }
# says TEXT COMMAND...: the command fails and its words contain the text.
says() {
  local text=$1 output
  shift
  if ! output=$("$@" 2>&1) && grep -q -- "$text" <<<"$output"; then return; fi
  say "$output"
  return 1
}
a() { k "$A" -n $NS "$@"; }
b() { k "$B" -n $NS "$@"; }
from() { a exec "$1" -- /probe "${@:2}"; } # from POD get URL
all_clusters() { local cluster; for cluster in "${CLUSTERS[@]}"; do "$@" "$cluster" || return 1; done; }

check_pods() {
  all_clusters make_namespace
  check "helm installs a chart" all_clusters helm_install
  a apply -f "$HERE/selftest/clients.yaml" >/dev/null
  a wait --for=condition=Ready pod/friend pod/stranger --timeout=60s >/dev/null
  check "nodes carry their region and zone" labelled
  check "a pod reaches pods on both nodes" reaches_both_nodes
  check "a Service's DNS name resolves" from friend lookup web.$NS.svc.cluster.local
  check "a Service answers by its DNS name" from friend get http://web/
  check "a pod reaches the API server's Service" from_api
  check "the host reaches a NodePort" curl -fsS -m 3 "http://$(node_ip 8 1):30080/"
  check "a privileged pod is refused" privileged_refused
}

make_namespace() {
  k "$1" create namespace $NS >/dev/null
  k "$1" label namespace $NS pod-security.kubernetes.io/enforce=restricted >/dev/null
}

helm_install() {
  "$BIN/helm" --kubeconfig "$(cluster_dir "$1")/kubeconfig" -n $NS install web "$HERE/selftest/chart" --wait --timeout 90s
}

labelled() {
  [ "$(a get node "$A-2" -o jsonpath='{.metadata.labels.topology\.kubernetes\.io/region} {.metadata.labels.topology\.kubernetes\.io/zone}')" = "$A $A-b" ]
}

reaches_both_nodes() {
  local address nodes
  nodes=$(a get pods -l app=web -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)
  [ "$nodes" = 2 ] || { say "the chart's pods are on $nodes node"; return 1; }
  for address in $(a get pods -l app=web -o jsonpath='{.items[*].status.podIP}'); do
    from friend get "http://$address:8080/" || return 1
  done
}

# The probe does not know the cluster's authority: that it complains about the
# certificate is the proof that the API server answered.
from_api() { says certificate from friend get https://kubernetes.default.svc/; }

privileged_refused() {
  says 'violates PodSecurity "restricted' a run bad --image=localhost/probe:1 --privileged
}

check_storage() {
  a apply -f "$HERE/selftest/claim.yaml" >/dev/null
  check "a claim gets a volume of its use, on the node of its pod" a wait --for=condition=Ready pod/keeper --timeout=60s
  check "... that its user alone may enter" volume_owned
  a delete -f "$HERE/selftest/claim.yaml" --wait >/dev/null
  check "a volume whose claim is gone is kept" wait_for 20 "the release" volumes_in Released 1
  recycle "$A" 2>/dev/null
  check "... until it is recycled, and is then offered again" wait_for 20 "the volume" volumes_in Available 14
}

volume_owned() {
  local volume
  volume=$(a get persistentvolumeclaim keeper -o jsonpath='{.spec.volumeName}')
  case $volume in "$A"-*-kafka-*) ;; *) say "the claim got $volume"; return 1 ;; esac
  [ "$(machine_enter "$A" "${volume%-kafka-*}" stat -c '%u %a' "$(volume_path kafka "${volume##*-}")")" = "65532 700" ]
}

# volumes_in PHASE COUNT: seven a node.
volumes_in() { [ "$(k "$A" get persistentvolumes -o json | jq --arg phase "$1" '[.items[] | select(.status.phase == $phase)] | length')" = "$2" ]; }

check_policies() {
  a apply -f "$HERE/selftest/deny-all.yaml" >/dev/null
  check "a deny-all NetworkPolicy blocks the Service" wait_for 10 "the block" not from friend get http://web/
  check "... and the pod's own address" not from friend get "http://$(a get pods -l app=web -o jsonpath='{.items[0].status.podIP}'):8080/"
  check "... and DNS" not from friend lookup web.$NS.svc.cluster.local
  check "... but not the kubelet's probes" a wait --for=condition=Ready pod -l app=web --timeout=5s
  a apply -f "$HERE/selftest/allow-friend.yaml" >/dev/null
  check "a policy lets the named flow pass" wait_for 10 "the flow" from friend get http://web/
  check "... and not another one's" not from stranger get "http://$(a get pods -l app=web -o jsonpath='{.items[0].status.podIP}'):8080/"
  check "... nor the friend to another region" not from friend get "http://$(node_ip 9 1):30080/"
  a delete networkpolicy --all >/dev/null
  check "without policies all passes again" wait_for 10 "traffic" from stranger get http://web/
}

check_wan() {
  local far
  far="http://$(node_ip 9 2):30080/"
  check "a pod reaches a NodePort of the other region" from friend get "$far"
  cut_line "$A" "$B"
  check "cut: the other region is out of reach" not from friend get "$far"
  check "cut: the host still reaches both API servers" all_clusters api_ready
  heal_line "$A" "$B"
  check "heal: the other region is back" wait_for 10 "the line" from friend get "$far"
}

api_ready() { k "$1" get --raw /readyz; }

# The budget wants one of two pods at all times. While no node takes new pods
# the first eviction is within it and the second must wait.
check_drain() {
  a cordon "$A-1" >/dev/null
  check "a drain evicts what the disruption budget can spare" drain "$A-2" 30s
  check "... and the next drain waits" not drain "$A-1" 10s
  check "... and leaves a pod running" one_ready
  a uncordon "$A-2" >/dev/null
  check "with room on another node it completes" drain "$A-1" 60s
  a uncordon "$A-1" >/dev/null
  check "... and the deployment is complete again" a rollout status deployment/web --timeout=60s
}

drain() { a drain "$1" --pod-selector app=web --ignore-daemonsets --delete-emptydir-data --force --timeout="$2"; }
one_ready() { [ "$(a get deployment web -o jsonpath='{.status.readyReplicas}')" -ge 1 ]; }

check_autoscaler() {
  check "metrics-server measures pods" wait_for 60 "metrics" a top pods
  a apply -f "$HERE/selftest/autoscaled.yaml" >/dev/null
  # Load in a bounded loop, through the NodePort of this cluster's own node.
  (for _ in $(seq 60); do curl -s -m 3 "http://$(node_ip 8 1):30080/burn?ms=400" >/dev/null || true; sleep 0.5; done) &
  local load=$!
  check "an autoscaler adds replicas under load" wait_for 90 "replicas" scaled_out
  kill "$load" 2>/dev/null || true
  a delete hpa web >/dev/null
  a scale deployment web --replicas 2 >/dev/null
  a rollout status deployment/web --timeout=60s >/dev/null
}

scaled_out() { [ "$(a get deployment web -o jsonpath='{.status.readyReplicas}')" -ge 3 ]; }

check_lost_node() {
  local lost=$A-2
  kill_node "$A" "$lost"
  check "a killed node leaves no process" no_process "$A/$lost"
  check "... is NotReady" a wait --for=condition=Ready=Unknown "node/$lost" --timeout=40s
  check "... and its pods run elsewhere" wait_for 60 "new pods" all_on_node "$A-1"
  check "... and the Service answers" wait_for 10 "the Service" curl -fsS -m 3 "http://$(node_ip 8 1):30080/"
  start_node "$A" "$lost"
  check "started again, it is Ready" a wait --for=condition=Ready "node/$lost" --timeout=60s
  check "... and its NodePort answers" wait_for 30 "the NodePort" curl -fsS -m 3 "http://$(node_ip 8 2):30080/"
}

no_process() { [ -z "$(processes_in "/sys/fs/cgroup/memory/$CGROUP/$1")" ]; }

# Two ready replicas, both on that node (a pod of a lost node is not ready).
all_on_node() {
  [ "$(a get pods -l app=web -o json | jq --arg node "$1" \
    '[.items[] | select(.spec.nodeName == $node and .metadata.deletionTimestamp == null)
      | .status.conditions[]? | select(.type == "Ready" and .status == "True")] | length')" = 2 ]
}

check_down() {
  check "down removes the clusters" all_clusters down
  check "... and leaves no process, cgroup, link, route, mount or folder" nothing_left
}

nothing_left() {
  local what
  for what in "${CLUSTERS[@]}"; do
    [ ! -e "$(cluster_dir "$what")" ] || { say "folder of $what"; return 1; }
    [ -z "$(find /sys/fs/cgroup -maxdepth 3 -path "*$CGROUP/$what")" ] || { say "cgroups of $what"; return 1; }
    ! grep -q "$(cluster_dir "$what")" /proc/self/mountinfo || { say "mounts of $what"; return 1; }
    ! ip route | grep "^$(node_net 8)\|^$(node_net 9)" || { say "routes"; return 1; }
  done
  [ -n "$(clusters)" ] && return
  ! ip link show stl-host 2>/dev/null && ! ip netns list | grep -w "$WAN" && [ ! -e "$STATE" ]
}
