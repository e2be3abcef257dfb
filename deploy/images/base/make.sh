#!/usr/bin/env bash
# File systems for base images where no image registry answers: Debian 12 by debootstrap, from the mirrors that this machine's apt
# uses, with today's security updates. Usage: make.sh OUT NODE NPM_TARBALL
#   OUT/debian   minimal Debian with ca-certificates; for Postgres and Kafka
#   OUT/builder  the same with Node and npm; only builds, never ships
#   OUT/runtime  what distroless has: C and C++ libraries, certificates, user names, Node; no shell, no package manager
# Needs root (chroot), debootstrap. Everything is below OUT. Run it in a mount namespace of its own (unshare --mount), so that nothing
# stays mounted when it is killed.
set -euo pipefail
out=$1 node=$2 npm=$3
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
umask 022

mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | awk '$2 == "bookworm" { print $1; exit }')
[ -n "$mirror" ] || { echo "apt on this machine knows no mirror of Debian bookworm (apt-get indextargets)" >&2; exit 3; }

mkdir -p "$out"
debian=$out/debian
debootstrap --variant=minbase --include=ca-certificates bookworm "$debian" "$mirror" > "$out/debootstrap.log" 2>&1 || { tail -5 "$out/debootstrap.log" >&2; exit 1; }

# Security updates by this machine's apt configuration, which does not stay in the image.
mkdir -p "$out/kept"
cp -a "$debian/etc/apt" "$out/kept/apt"
cp -aL /etc/apt/. "$debian/etc/apt/"
cp -aL /usr/share/keyrings/. "$debian/usr/share/keyrings/"
cp -L /etc/resolv.conf "$debian/etc/resolv.conf"
if [ -n "${SETTLEMENT_CA_FILE:-}" ]; then cp -L "$SETTLEMENT_CA_FILE" "$debian/tmp/ca.crt"; fi
chroot "$debian" sh -c 'apt-get update -qq && apt-get -y -qq upgrade' > "$out/upgrade.log" 2>&1 || { tail -5 "$out/upgrade.log" >&2; exit 1; }
rm -rf "$debian/etc/apt" && mv "$out/kept/apt" "$debian/etc/apt" && rmdir "$out/kept"

for mount in proc sys dev; do if mountpoint -q "$debian/$mount"; then umount -l "$debian/$mount"; fi; done

# What differs from machine to machine or from run to run.
rm -rf --one-file-system "$debian"/var/lib/apt/lists/* "$debian"/var/cache/apt "$debian"/var/cache/debconf "$debian"/var/cache/ldconfig/aux-cache "$debian"/var/log/* "$debian"/tmp/* \
  "$debian"/etc/machine-id "$debian"/etc/passwd- "$debian"/etc/group- "$debian"/etc/shadow- "$debian"/etc/gshadow- "$debian"/dev "$debian"/proc "$debian"/sys \
  "$debian"/debootstrap "$debian"/var/lib/dpkg/*-old
mkdir -p "$debian"/dev "$debian"/proc "$debian"/sys "$debian"/var/cache/apt/archives/partial
: > "$debian/etc/resolv.conf"; : > "$debian/etc/hostname"
# debootstrap dates the password file with the day of the build.
sed -i -E 's/^([^:]*:[^:]*:)[0-9]+:/\119000:/' "$debian/etc/shadow"

# ---- runtime: files of a few packages, and their control paragraphs where scanners look for them (as distroless has them)
runtime=$out/runtime
packages='base-files netbase tzdata libc6 libgcc-s1 libstdc++6 gcc-12-base ca-certificates'
mkdir -p "$runtime"/{etc/ssl/certs,usr/bin,usr/sbin,usr/lib,usr/lib64,var/lib/dpkg/status.d,nodejs/bin,tmp,home/nonroot,root,proc,sys,dev}
for link in bin sbin lib lib64; do ln -s "usr/$link" "$runtime/$link"; done
for package in $packages; do
  # tzdata and others may be absent from a base; what is there is copied.
  control=$(dpkg-query --admindir="$debian/var/lib/dpkg" -s "$package" 2>/dev/null) || continue
  printf '%s\n' "$control" | grep -v '^Status:' > "$runtime/var/lib/dpkg/status.d/$package"
  list=$debian/var/lib/dpkg/info/$package.list
  [ -f "$list" ] || list=$(echo "$debian/var/lib/dpkg/info/$package":*.list)
  # Libraries, certificates and time zones; no programs, no documents but the licences.
  awk '/\/(bin|sbin)\// || /\/gconv\// || /^\/usr\/share\/(man|lintian|bug|base-files)\// || /^\/etc\/(default|update-motd.d)\// || /^\/var\// { next }
       /^\/usr\/share\/doc\// && !/\/copyright$/ { next } { print }' "$list" >> "$out/files"
done
# Folders come with the files in them; a link is a file of its own.
while read -r path; do if [ -L "$debian$path" ] || [ -f "$debian$path" ]; then echo ".$path"; fi; done < "$out/files" | sort -u > "$out/wanted"
tar -C "$debian" --files-from "$out/wanted" -cf - | tar -C "$runtime" --keep-directory-symlink -xf -
rm -f "$out/files" "$out/wanted"
cp -aL "$debian/etc/ssl/certs/ca-certificates.crt" "$runtime/etc/ssl/certs/ca-certificates.crt"
cp -a "$debian/etc/os-release" "$runtime/etc/os-release"
printf 'hosts: files dns\n' > "$runtime/etc/nsswitch.conf"
printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > "$runtime/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n' > "$runtime/etc/group"
install -m 0755 "$node" "$runtime/nodejs/bin/node"
chmod 1777 "$runtime/tmp"; chmod 0700 "$runtime/root" "$runtime/home/nonroot"; chown 65532:65532 "$runtime/home/nonroot"

# ---- builder
cp -a "$debian" "$out/builder"
install -m 0755 "$node" "$out/builder/usr/local/bin/node"
mkdir -p "$out/builder/usr/local/lib/node_modules/npm"
tar -xzf "$npm" -C "$out/builder/usr/local/lib/node_modules/npm" --strip-components=1 --no-same-owner
chmod 0755 "$out"/builder/usr/local/lib/node_modules/npm/bin/*
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$out/builder/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$out/builder/usr/local/bin/npx"
rm -f "$out"/*.log
