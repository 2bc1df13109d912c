#!/usr/bin/env bash
# Build envs/Containerfile with podman or docker: envs/image.sh [TAG], by default veloshard:latest.
# Where no registry can be reached, podman makes the base image from Debian's packages, with debootstrap.
set -euo pipefail
cd "$(dirname "$0")"
tag=${1:-veloshard:latest}
base=debian:bookworm-slim

for engine in podman docker none; do
    command -v "$engine" >/dev/null && break
done
if [ "$engine" = none ]; then
    echo "envs/image.sh needs podman or docker" >&2
    exit 1
fi

# pip's own settings here: certificates, local wheels, mirrors
settings=()
for variable in PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL http_proxy https_proxy no_proxy; do
    [ -n "${!variable:-}" ] && settings+=(--build-arg "$variable=${!variable}")
done

if [ "$engine" = podman ]; then
    mount() { [ -e "$1" ] && settings+=(--volume "$1:${2:-$1}:ro") || true; }
    # not over the image's own certificates: Debian's package could not be installed then
    if [ -n "${PIP_CERT:-}" ]; then
        mount "$PIP_CERT" /run/host-certificates.crt
        settings+=(--build-arg PIP_CERT=/run/host-certificates.crt)
    fi
    for place in /etc/pip.conf ${PIP_FIND_LINKS:-}; do
        mount "$place"
    done
    if ! podman image exists "$base" && ! timeout 120 podman pull --quiet "$base"; then
        command -v debootstrap >/dev/null || { echo "no $base to be had, and no debootstrap to make one" >&2; exit 1; }
        root=$(mktemp -d)
        trap 'rm -rf "$root"' EXIT
        debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >/dev/null
        tar -C "$root" -c . | podman import --quiet - "$base"
    fi
    # Debian's packages from where this machine has them
    for place in sources.list.d auth.conf.d apt.conf.d; do
        [ -f /etc/debian_version ] && mount "/etc/apt/$place"
    done
    mount /usr/share/keyrings
    # without a runtime of its own: that wants cgroups and limits which not every host gives
    settings+=(--isolation chroot --network host --pull=never)
fi

"$engine" build "${settings[@]}" --tag "$tag" --file Containerfile .
