# shellcheck shell=bash
# Switches, cables and the lines between regions. All of it lives in the WAN
# namespace; this machine itself gets one cable into it and nothing else.
#
#   machine -- stl-host === [ WAN: br-east  br-west ... ] === eth0 of each node

in_wan() { ip netns exec "$WAN" "$@"; }

wan_up() {
  [ ! -e "/run/netns/$WAN" ] || return 0
  ip netns add "$WAN"
  in_wan sysctl -qw net.ipv4.ip_forward=1
  # Bridged frames are the region's own business; only routed ones can be cut.
  in_wan sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
  ip link add stl-host type veth peer name host netns "$WAN"
  ip addr add "$HOST_IP/30" dev stl-host
  ip link set stl-host up
  ip -n "$WAN" addr add "$WAN_IP/30" dev host
  ip -n "$WAN" link set host up
  in_wan nft -f - <<'NFT'
table inet wan {
  # Pairs of switches between which nothing passes. Packets are dropped, not
  # refused: a cut line does not answer, and open connections hang.
  set cut { type ifname . ifname; }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname . oifname @cut counter drop
  }
}
NFT
}

wan_down() {
  ip link del stl-host 2>/dev/null || true
  ip netns del "$WAN" 2>/dev/null || true
}

switch_up() { # switch_up NAME
  local net
  net=$(node_net "$(cluster_index "$1")")
  ip -n "$WAN" link add "br-$1" type bridge
  ip -n "$WAN" addr add "$net.1/24" dev "br-$1"
  ip -n "$WAN" link set "br-$1" up
  ip route replace "$net.0/24" via "$WAN_IP"
}

switch_down() { # switch_down NAME
  ip -n "$WAN" link del "br-$1" 2>/dev/null || true
  [ ! -f "$(cluster_dir "$1")/index" ] || ip route del "$(node_net "$(cluster_index "$1")").0/24" 2>/dev/null || true
}

# plug NAME NUMBER PID ADDRESS: a cable from the switch to eth0 of the network
# namespace of that process. The hardware address is fixed, so that neighbours
# find a machine again when it comes back from a power loss.
plug() {
  local name=$1 number=$2 pid=$3 address=$4 index cable mac
  index=$(cluster_index "$name")
  cable=v$index-$number
  mac=$(printf '02:00:00:00:%02x:%02x' "$index" "$number")
  unplug "$name" "$number"
  ip -n "$WAN" link add "$cable" type veth peer name eth0 address "$mac" netns "$pid"
  ip -n "$WAN" link set "$cable" master "br-$name" up
  nsenter -t "$pid" -n sh -e <<SH
ip link set lo up
ip link set eth0 up
ip addr add $address/24 dev eth0
ip route add default via $(node_net "$index").1
sysctl -qw net.ipv4.ip_forward=1
$(pod_routes "$name" "$number")
SH
}

unplug() { # unplug NAME NUMBER
  ip -n "$WAN" link del "v$(cluster_index "$1")-$2" 2>/dev/null || true
}

# Each node's pods are behind that node. The control plane needs the routes
# too: it calls admission webhooks and aggregated APIs in pods.
pod_routes() { # pod_routes NAME NUMBER
  local index n
  index=$(cluster_index "$1")
  for n in $(seq "$(cluster_nodes "$1")"); do
    [ "$n" = "$2" ] || say "ip route add $(node_pod_cidr "$index" "$n") via $(node_ip "$index" "$n")"
  done
}

cut_line() { # cut_line A B
  need_cluster "$1"; need_cluster "$2"
  in_wan nft add element inet wan cut "{ br-$1 . br-$2, br-$2 . br-$1 }"
}

heal_line() { # heal_line A B
  need_cluster "$1"; need_cluster "$2"
  in_wan nft delete element inet wan cut "{ br-$1 . br-$2, br-$2 . br-$1 }" 2>/dev/null || true
}
