#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# readme.sh README.md INCLUDE-FOLDER LIBWEFT.A CC: the README's first C block is a whole program that compiles without a
# warning in strict C17, and prints exactly the block marked "text" that follows it.
set -euo pipefail
readme=$1 include=$2 library=$3 cc=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The first block with the given mark.
block() {
    awk -v mark="\`\`\`$1" '$0 == mark && !done { inside = 1; next } /^```$/ && inside { inside = 0; done = 1 } inside' "$readme"
}
block c >"$scratch/example.c"
block text >"$scratch/expected"
[ -s "$scratch/example.c" ] && [ -s "$scratch/expected" ] || {
    echo 'the README has no example, or does not say what it prints'
    exit 1
}
"$cc" -std=c17 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I "$include" "$scratch/example.c" "$library" \
    -lck -lhwloc -pthread -o "$scratch/example"
"$scratch/example" >"$scratch/printed"
diff -u "$scratch/expected" "$scratch/printed"
echo 'readme.sh: the example does what the README says'
