#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_raid.sh: lets spin search all interleavings of docs/models/raid.pml: the protocols as they are, where no run may go wrong, and the same with
# one thing done wrong, where spin must find a run that does. One line each; exit 0 when all came out as they must, 77 without
# spin or a C compiler.
set -euo pipefail
cc=${CC:-cc}
for tool in spin "$cc"; do
    command -v "$tool" >/dev/null || {
        echo "$tool is not here"
        exit 77
    }
done
model=$(cd "$(dirname "$0")/../../docs/models" && pwd)/raid.pml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
passed=0 failed=0

# search DEFINES...: prints "clean", "found" (a run that goes wrong) or what hindered it
search() {
    rm -f pan pan.* ./*.trail
    spin -a "$@" "$model" >spin.out 2>&1 || {
        tail -n 3 spin.out
        return
    }
    "$cc" -O1 -w -DSAFETY -DVECTORSZ=512 -DCOLLAPSE -DMEMLIM="${WEFT_MODEL_MB:-2000}" pan.c -o pan
    ./pan -E -m200000 >pan.out 2>&1 || true # -E: the buffer and idle thieves may be left standing
    if grep -Eq 'invalid array index|out of memory|aborted|VECTORSZ' pan.out; then
        grep -E 'invalid array index|out of memory|aborted|VECTORSZ' pan.out | head -n 1
    elif grep -Eq 'errors: [1-9]' pan.out; then
        echo found
    elif grep -q 'max search depth too small' pan.out; then
        echo 'too deep'
    elif grep -q 'errors: 0' pan.out; then
        echo clean
    else
        echo 'no result'
    fi
}

check() {
    local wanted=$1 name=$2 result
    shift 2
    result=$(search "$@")
    if [ "$result" = "$wanted" ]; then
        passed=$((passed + 1))
        echo "ok      $name: $result"
    else
        failed=$((failed + 1))
        echo "FAILED  $name: $result where '$wanted' is right"
    fi
}

good() { check clean "$@"; }
mutant() { check found "$@"; }

good 'joins: five children, one thief' -DPUSHES=5
good 'joins: three children, two thieves' -DPUSHES=3 -DRAIDERS=2
good 'ready: one thief' -DREADY
good 'ready: two thieves' -DREADY -DRAIDERS=2

mutant 'joins: a raid without the barrier' -DPUSHES=3 -DNO_BARRIER
mutant 'joins: the slow way does not wait for a raid' -DPUSHES=3 -DNO_GUARD
mutant 'joins: the end is shown before bottom is looked at again' -DPUSHES=2 -DRAIDERS=2 -DEND_EARLY
mutant 'joins: bottom is not looked at again' -DPUSHES=3 -DOLD_BOTTOM
mutant 'joins: the owner reads floor before it writes bottom' -DPUSHES=3 -DREAD_FIRST
mutant 'joins: half is taken back without a look at top' -DPUSHES=4 -DBACK_UNCHECKED
mutant 'ready: a raid without the barrier' -DREADY -DNO_BARRIER
mutant 'ready: the owner looks before it says that it is inside' -DREADY -DREAD_FIRST
mutant 'ready: who has waited does not look again' -DREADY -DRAIDERS=2 -DNO_RETRY

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
