#!/bin/sh
# Books a delivery. The last line of the book ends its reading, and so does an error.

book=deliveries.json
fresh=$book.new

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
    exec 3<"$book" || fail "cannot open $book"
    found= lines=0 line=
    while [ "$line" != "]" ]; do
        read -r line <&3 || fail "cannot read $book to its end"
        found="$found$line
" lines=$((lines + 1))
    done
    exec 3<&-
    count=$((lines - 2))
    render "$count"
    [ "$found" = "$text
" ] || fail "$book is damaged: put the last good copy back"
}

save() {
    render "$1"
    printf '%s\n' "$text" >"$fresh" || fail "cannot write $fresh"
    sync "$fresh" || fail "cannot sync $fresh"
    mv -f "$fresh" "$book" || fail "cannot replace $book"
    sync . || fail "cannot sync the directory"
}

read_book
save $((count + 1))
echo "booked: delivery $((count + 1))" || fail "booked, but not told"
