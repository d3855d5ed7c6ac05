#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# symbols.sh LIBWEFT.SO LIBWEFT.A: the names that leave the library, and how the shared one is linked.
shared=$(readlink -f "$1")
static=$(readlink -f "$2")
. "$(dirname "$0")/lib.sh"

# The functions (and the thread-local pointer) that the public headers declare for export, one a line.
declared=$(printf '#include <weft.h>\n' | "${CC:-cc}" -E -P -x c -Iinclude - | tr '\n' ' ' | tr ';{}' '\n\n\n' |
    grep -F 'visibility("default")' | sed -E 's/__attribute__ *\(\(([^()]|\([^()]*\))*\)\)//g' |
    sed -nE -e 's/^[^(]*[ *](weft_[a-z0-9_]+) *\(.*/\1/p' -e 's/^[^(]*__thread[^(]*[ *](weft_[a-z0-9_]+) *$/\1/p' | sort -u)
exported=$(nm -D --defined-only "$shared" | awk '$2 != "A" { print $3 }' | sort -u)
[ -n "$declared" ] && [ -n "$exported" ] || finding 'nothing declared, or nothing exported'

findings_from_input < <(
    grep -v '@@LIBWEFT_' <<<"$exported" | sed 's/$/: exported without a version/' || true
    comm -13 <(printf '%s\n' "$declared") <(sed 's/@@.*//' <<<"$exported") | sed 's/$/: exported, but in no public header/'
    comm -23 <(printf '%s\n' "$declared") <(sed 's/@@.*//' <<<"$exported") | sed 's/$/: declared, but not in the library/'
)

# Nothing of the static library can clash with a program's names (DW.ref is the compiler's, shared by all objects).
findings_from_input < <(nm -g --defined-only "$static" | awk 'NF == 3 && $3 !~ /^(weft_|DW\.ref\.)/ { print $3 ": global in the static library" }')

dynamic=$(readelf -dW "$shared")
grep -q 'SONAME.*\[libweft\.so\.[0-9]*\]' <<<"$dynamic" || finding 'no soname libweft.so.N'
grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic" || finding 'not linked with -z now: lazy binding needs much stack'
grep -q 'TEXTREL' <<<"$dynamic" && finding 'has text relocations'
readelf -lW "$shared" | grep -q 'GNU_STACK.*RWE' && finding 'asks for an executable stack'
finish
