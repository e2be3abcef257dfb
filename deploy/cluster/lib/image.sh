# shellcheck shell=bash
# Images in the format of `docker save`, written by hand: a few files in one
# layer need no image builder.

# make_image NAME TAG USER CONFIG OUT FILE:PATH...: CONFIG is a JSON object with
# Entrypoint and Cmd. The same files give the same bytes.
make_image() {
  local name=$1 tag=$2 user=$3 config=$4 out=$5 folder digest pair target
  shift 5
  folder=$(mktemp -d "${TMPDIR:-/tmp}/settlement-image-XXXXXX")
  mkdir "$folder/root"
  for pair in "$@"; do
    target=$folder/root${pair#*:}
    mkdir -p "$(dirname "$target")"
    # A link costs no copy; across file systems there are no links.
    ln "${pair%%:*}" "$target" 2>/dev/null || cp "${pair%%:*}" "$target"
  done
  # Certificates and scratch files go here; a pod mounts over it when its root is read-only.
  mkdir -p "$folder/root/tmp" && chmod 1777 "$folder/root/tmp"
  tar --sort=name --mtime=@0 --owner=0 --group=0 -C "$folder/root" -cf "$folder/layer.tar" .
  digest=$(sha256sum "$folder/layer.tar" | cut -d' ' -f1)
  jq -nc --arg user "$user" --arg digest "sha256:$digest" --arg architecture "$(architecture)" --argjson config "$config" \
    '{architecture: $architecture, os: "linux", config: ($config + {User: $user}), rootfs: {type: "layers", diff_ids: [$digest]}}' \
    >"$folder/config.json"
  jq -nc --arg tag "localhost/$name:$tag" '[{Config: "config.json", RepoTags: [$tag], Layers: ["layer.tar"]}]' >"$folder/manifest.json"
  tar --mtime=@0 --owner=0 --group=0 -C "$folder" -cf "$out.part" manifest.json config.json layer.tar
  mv "$out.part" "$out"
  rm -rf "$folder"
}

architecture() { case $(uname -m) in x86_64) say amd64 ;; aarch64) say arm64 ;; *) uname -m ;; esac; }

# entrypoint PROGRAM [ARGUMENT...]: what the CONFIG above looks like.
entrypoint() {
  local program=$1
  shift
  jq -nc --arg program "$program" '{Entrypoint: [$program], Cmd: $ARGS.positional}' --args -- "$@"
}
