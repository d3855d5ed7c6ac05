#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# alone.sh SOURCES: the library alone, as the README has it: each preset whose compiler is here configures, and CMake warns of nothing.
set -euo pipefail
sources=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$sources"
count=0
for preset in $(cmake --list-presets=configure | sed -n 's/^ *"\([a-z]*\)".*/\1/p'); do
    cc=gcc
    [[ $preset != clang && $preset != tsan ]] || cc=clang
    command -v "$cc" >/dev/null || continue
    cmake --preset "$preset" -B "$scratch/$preset" -DWEFT_BUILD_{TESTS,EXAMPLES,BENCH,STRESS,TESTING}=OFF >"$scratch/said" 2>&1 &&
        ! grep -qi warning "$scratch/said" || { echo "$preset:" && cat "$scratch/said" && exit 1; }
    count=$((count + 1))
done
[ "$count" -gt 0 ] || { echo 'no preset was tried' && exit 1; }
echo "alone.sh: $count presets configure without a warning"
