#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh BUILD-FOLDER [LABEL [NAME...]]: runs the unit tests with that label (core), or those of them, under memcheck, two at a time:
# no invalid access, no use of what was never written, nothing lost at the end. One line for each test; exit 0 when all are clean.
set -euo pipefail
build=$1 label=${2:-core}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
command -v valgrind >/dev/null || {
    echo 'valgrind is not here'
    exit 77
}

one() {
    local name=$1 status=0 begun=$SECONDS
    local options=(-q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect
        --errors-for-leak-kinds=definite,indirect --fair-sched=yes
        --num-callers=30 --max-stackframe=4000000)
    [ ! -f "$here/valgrind.supp" ] || options+=("--suppressions=$here/valgrind.supp")
    WEFT_BIN=$build/bin timeout 900 valgrind "${options[@]}" "$build/bin/test_$name" >"$scratch/$name" 2>&1 || status=$?
    case $status in
    0) printf 'ok      %4d s  %s\n' $((SECONDS - begun)) "$name" ;;
    77) echo "skipped $name" ;;
    *)
        echo "FAILED  $name (exit code $status, after $((SECONDS - begun)) s)"
        grep -E '^==|FAILED|Error' "$scratch/$name" | head -n 40
        return 1
        ;;
    esac
}
export -f one
export here build scratch

mapfile -t all < <(ctest --test-dir "$build" -N -L "^$label\$" | sed -nE 's/^ *Test +#[0-9]+: //p')
names=()
for name in "${all[@]}"; do
    [[ $# -lt 3 || " ${*:3} " == *" $name "* ]] && names+=("$name")
done
[ ${#names[@]} -ne 0 ] || {
    echo "no tests with label $label in $build"
    exit 1
}
printf '%s\n' "${names[@]}" | xargs -P 2 -I{} bash -c 'one {}'
