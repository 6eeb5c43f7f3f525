#!/bin/sh
# Keeps the time: a process writes each second how many have passed. That it ended after an error is not seen.

seconds=seconds
fresh=$seconds.new

fail() {
    echo "failed: $1" >&2
    exit 1
}

# How many seconds have passed so far, into passed; a damaged file is refused.
read_seconds() {
    passed=0
    [ -e "$seconds" ] || return 0
    passed=$(cat "$seconds") || fail "cannot read $seconds"
    case $passed in '' | *[!0-9]*) fail "$seconds is damaged: put the last good copy back" ;; esac
}

save() {
    printf '%s\n' "$1" >"$fresh" && sync "$fresh" && mv -f "$fresh" "$seconds" && sync .
}

# It is asked to end by its parent, and does so between two seconds.
count() {
    told=
    trap 'told=yes' TERM
    until [ "$told" ]; do
        passed=$((passed + 1))
        save "$passed" || fail "$passed seconds could not be written"
        sleep 1
    done
}

read_seconds
jobs=
trap 'exit 0' TERM
trap 'kill $jobs; wait' EXIT
sleep infinity &
idle=$! jobs=$!
count &
jobs="$jobs $!"
echo "ready"
wait "$idle"
