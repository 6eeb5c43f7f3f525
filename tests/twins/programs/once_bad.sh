#!/bin/sh
# Brings a list to its second form, once; it writes the new one in place.
grep -q '^format 1$' list.txt || { echo 'list.txt is in format 2 already' >&2; exit 1; }
new=$(sed 's/^format 1$/format 2/' list.txt) || exit 1
echo "$new" > list.txt || exit 1
echo 'brought to format 2'
