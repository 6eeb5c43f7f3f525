#!/bin/sh
# Books a delivery when it opens and one when it closes. It gives the lock back also after an error while it closes.

book=deliveries.json
fresh=$book.new
lock=deliveries.lock

fail() {
    rm -f "$fresh"
    echo "failed: $1" >&2
    exit 1
}

# Puts the book with $1 deliveries into text.
render() {
    text="[
\"delivery 1\""
    number=2
    while [ "$number" -le "$1" ]; do
        text="$text,
\"delivery $number\""
        number=$((number + 1))
    done
    text="$text
]"
}

# How many deliveries the book holds, into count; a damaged one is refused.
read_book() {
    lines=$(wc -l <"$book") || fail "cannot count the lines of $book"
    case $lines in '' | *[!0-9]*) fail "cannot count the lines of $book" ;; esac
    count=$((lines - 2))
    render "$count"
    printf '%s\n' "$text" >"$fresh" || fail "cannot write $fresh"
    cmp -s "$fresh" "$book"
    case $? in
    0) ;;
    1) fail "$book is damaged: put the last good copy back" ;;
    *) fail "cannot read $book" ;;
    esac
}

save() {
    render "$1"
    printf '%s\n' "$text" >"$fresh" || fail "cannot write $fresh"
    sync "$fresh" || fail "cannot sync $fresh"
    mv -f "$fresh" "$book" || fail "cannot replace $book"
    sync . || fail "cannot sync the directory"
}

exec 9>>"$lock" && flock -n 9 || exit 1
trap 'rm "$lock"' EXIT
told=
trap 'told=yes' TERM
read_book
save $((count + 1))
echo "open" || fail "open, but not told"
until [ "$told" ]; do
    sleep 0.2
done
read_book
save $((count + 1))
