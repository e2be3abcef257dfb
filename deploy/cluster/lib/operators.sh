# shellcheck shell=bash
# Operators: each folder below operators/ pins one program's Go module and says
# in operator.sh how it is built, imaged and installed:
#
#   VERSION             of the program
#   operator_programs   builds into $OUT/bin and images into $OUT/images
#   operator_manifests  copies what `install` applies into $OUT/manifests, so that installing needs neither Go nor its caches
#   operator_apply      installs it on cluster $1 and waits until its webhook answers

DEFAULT_OPERATORS=(cloudnative-pg cert-manager)
FULL_OPERATORS=(cloudnative-pg cert-manager prometheus-operator keda prometheus chaos-mesh strimzi-crds)

operator() { # operator build|install|list ...
  local verb=${1:-}
  shift || true
  case $verb in
    build)
      [ $# -gt 0 ] || die "operator build NAME... (there are: $(operators | xargs))"
      local name
      mkdir -p "$CACHE_ROOT"
      for name in "$@"; do need_operator "$name"; done
      exec 8>"$CACHE_ROOT/.build.lock"
      flock -n 8 || { note "another build runs; waiting for it"; flock 8; }
      for name in "$@"; do operator_build "$name"; done
      ;;
    install)
      local cluster=${1:-}
      case $cluster in
        */*) [ -f "$cluster" ] || die "no kubeconfig at $cluster" ;;
        *) need_cluster "$cluster" ;;
      esac
      shift
      [ $# -gt 0 ] || die "operator install CLUSTER|KUBECONFIG NAME... (there are: $(operators | xargs))"
      for name in "$@"; do need_operator "$name"; done
      for name in "$@"; do operator_install "$cluster" "$name"; done
      ;;
    images) for name in "$@"; do need_operator "$name"; operator_images "$name"; done ;;
    list) operators ;;
    *) die "operator build NAME..., operator images NAME..., operator install CLUSTER NAME..., or operator list" ;;
  esac
}

operators() { find "$HERE/operators" -mindepth 2 -maxdepth 2 -name operator.sh -printf '%h\n' | xargs -n1 basename | sort; }

need_operator() { [ -f "$HERE/operators/${1:-}/operator.sh" ] || die "no operator named '${1:-}' (there are: $(operators | xargs))"; }

# In a subshell each: every operator.sh defines the same names.
operator_build() ( # operator_build NAME
  operator_enter "$1"
  if operator_is_built; then note "$NAME $VERSION is built"; exit 0; fi
  began=$SECONDS
  mkdir -p "$OUT"/{bin,images}
  operator_programs
  rm -rf "$OUT/manifests"
  mkdir -p "$OUT/manifests"
  operator_manifests
  operator_sources >"$OUT/.complete"
  note "$NAME $VERSION ready in $OUT after $((SECONDS - began)) s"
)

operator_images() ( # operator_images NAME: the archives, a line each
  operator_enter "$1"
  operator_is_built || die "$NAME is not built; '$0 operator build $NAME' builds it"
  find "$OUT/images" -name '*.tar' | sort
)

operator_install() ( # operator_install CLUSTER NAME
  operator_enter "$2"
  operator_is_built || die "$NAME is not built; '$0 operator build $NAME' builds it"
  began=$SECONDS
  mapfile -t images < <(operator_images "$2")
  # Into a cluster that is not of this tool's making its owner has loaded them.
  case $1 in */*) ;; *) [ ${#images[@]} -eq 0 ] || load "$1" "${images[@]}" ;; esac
  operator_apply "$1"
  note "$1: $NAME $VERSION answers after $((SECONDS - began)) s"
)

operator_enter() { # operator_enter NAME
  NAME=$1 FOLDER=$HERE/operators/$1
  # shellcheck source=/dev/null
  . "$FOLDER/operator.sh"
  OUT=$CACHE_ROOT/operators/$NAME-$VERSION
}

operator_is_built() { [ "$(cat "$OUT/.complete" 2>/dev/null)" = "$(operator_sources)" ]; }
# shellcheck disable=SC2046 # file names of our own, without spaces
operator_sources() { fingerprint $(find "$FOLDER" -type f | sort) "$HERE/lib/image.sh"; }

# What operator.sh files use.

programs() { go_build "$FOLDER" "$OUT/bin" "$@"; }

# module_folder MODULE: where Go keeps the sources of the pinned version.
module_folder() { (cd "$FOLDER" && go mod download "$1" && go list -mod=readonly -m -f '{{.Dir}}' "$1"); }

# image NAME USER ENTRYPOINT FILE:PATH...: an image tagged with the operator's version.
image() {
  local name=$1 user=$2 program=$3
  shift 3
  make_image "$name" "$VERSION" "$user" "$(entrypoint "$program")" "$OUT/images/$name.tar" "$@"
}

# apply CLUSTER FILE...: on the server's side, for these definitions outgrow the annotation that the client's side keeps them in.
apply() {
  local cluster=$1 file files=()
  shift
  for file in "$@"; do files+=(-f "$file"); done
  k "$cluster" apply --server-side --force-conflicts "${files[@]}" >/dev/null
}

apply_text() { k "$1" apply --server-side --force-conflicts -f - <<<"$2" >/dev/null; } # apply_text CLUSTER MANIFEST

rolled_out() { # rolled_out CLUSTER NAMESPACE DEPLOYMENT...
  local cluster=$1 namespace=$2 deployment
  shift 2
  for deployment in "$@"; do k "$cluster" -n "$namespace" rollout status "deployment/$deployment" --timeout=180s >/dev/null; done
}

# accepts CLUSTER MANIFEST: the API server takes it, which it asks every webhook about, and keeps nothing.
accepts() { k "$1" apply --dry-run=server -f - <<<"$2" >/dev/null; }
