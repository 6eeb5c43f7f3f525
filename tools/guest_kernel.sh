#!/bin/sh
# Debian's cloud kernel, unpacked into the directory $1 for tests in a guest; nothing is installed.
set -eu
place=$1
[ -d "$place/boot" ] && exit 0
mkdir -p "$place"
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq "$package")
dpkg -x "$work"/*.deb "$place"
