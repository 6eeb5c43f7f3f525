#!/usr/bin/env bash
# Makes a machine ready, as far as it may: `prepare.sh packages` installs what the tests need and only root can
# install, `prepare.sh machines` what tests in a guest need too; `prepare.sh venv EXTRAS` makes .venv with this project
# and its extras. All do nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

say() { echo "prepare: $*" >&2; }
fail() { say "$@"; exit 1; }

# What the tests look for, and the Debian package that has it: a command, or a file (of any version) if it has a slash.
needs=(
    sqlite3=sqlite3
    strace=strace
    gcc=gcc
    go=golang-go
    gofail=golang-github-etcd-io-gofail
    /usr/share/gocode/src/go.etcd.io/gofail/runtime/runtime.go=golang-github-etcd-io-gofail-dev
    /usr/include/stdio.h=libc6-dev
    eu-stack=elfutils
    mosh-server=mosh
    busybox=busybox-static
    chromium=chromium
    /usr/share/man/man2/write.2.gz=manpages-dev
    node=nodejs
    npm=npm
    openssl=openssl
    mosquitto=mosquitto
    redis-server=redis-server
    redis-cli=redis-tools
    nginx=nginx-light
    curl=curl
    ip=iproute2
    ping=iputils-ping
    etcd=etcd-server
    etcdctl=etcd-client
    docker-compose=docker-compose
    "/usr/lib/postgresql/*/bin/initdb=postgresql"
)

# What the tests in a guest need besides.
machine_needs=(
    qemu-system-x86_64=qemu-system-x86
    mkfs.ext4=e2fsprogs
    mkfs.xfs=xfsprogs
    mkfs.btrfs=btrfs-progs
    cpio=cpio
    busybox=busybox-static
)

is_there() {
    case $1 in
        */*) compgen -G "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing_packages() {
    local need
    for need in "${needs[@]}"; do
        is_there "${need%%=*}" || echo "${need##*=}"
    done
}

install_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends "$@"
}

packages() {
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "not installed, and only root may install: $missing"
        say "the tests that need them are skipped, each with its reason"
    elif ! command -v apt-get >/dev/null; then
        say "not installed, and this machine has no apt-get: $missing"
    else
        # shellcheck disable=SC2086  # a list of words
        install_packages $missing >&2 || say "apt-get failed; the tests that need $missing are skipped"
    fi
}

# The first interpreter that is new enough; PYTHON names one.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later was found; name one: make PYTHON=/path/to/python3 ..."
}

# Debian splits ensurepip off into python3-venv. Root installs it; others may have a pip that can serve a bare .venv.
make_venv() {
    local python=$1 log=.venv.log
    rm -rf .venv
    if "$python" -m venv .venv >"$log" 2>&1; then rm -f "$log"; return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "$python has no ensurepip; installing python3-venv"
        install_packages python3-venv >&2 || true
        rm -rf .venv
        if "$python" -m venv .venv >"$log" 2>&1; then rm -f "$log"; return; fi
    fi
    rm -rf .venv
    if "$python" -m venv --without-pip .venv >>"$log" 2>&1 &&
        "$python" -m pip --python .venv/bin/python install -q pip >>"$log" 2>&1; then
        rm -f "$log"
        return
    fi
    rm -rf .venv
    cat "$log" >&2
    rm -f "$log"
    fail "no virtual environment could be made; ask an administrator for: apt-get install python3-venv"
}

venv() {
    local extras=$1 python stamp wanted
    [ -w . ] || fail "$PWD cannot be written by $(id -un); make a clone of your own"
    python=$(find_python)
    # Made anew when the interpreter moved away; installed anew when the requirements changed or more is asked for.
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then make_venv "$python"; fi
    stamp=".venv/prepared-${extras//,/-}"
    wanted="$(.venv/bin/python -V) $(cksum <pyproject.toml) $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "installing blackstart[$extras] into .venv"
        .venv/bin/python -m pip install -q -e ".[$extras]" || fail "pip could not install blackstart[$extras]; see above"
        echo "$wanted" >"$stamp"
    fi
}

case ${1:-} in
    packages) packages ;;
    machines) needs+=("${machine_needs[@]}") && packages ;;
    venv) venv "${2:?extras, such as test,yaml}" ;;
    *) fail "usage: tools/prepare.sh packages | machines | venv EXTRAS" ;;
esac
