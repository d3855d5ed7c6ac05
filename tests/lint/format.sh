#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-format 14 would change nothing. Other versions differ in details, so without that one the check is skipped.
# "format.sh --fix" formats.
. "$(dirname "$0")/lib.sh"

tool=
for candidate in clang-format-14 clang-format; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" --version | grep -q 'version 14\.'; then
        tool=$candidate
        break
    fi
done
if [ -z "$tool" ]; then
    echo 'clang-format 14 is not here: skipped'
    exit 77
fi
mapfile -t files < <(tree_files_like '\.(c|h|cpp)$')
if [ "${1:-}" = --fix ]; then
    "$tool" -i "${files[@]}"
    exit
fi
# All of them in one go; one by one, to name them, only when that finds something.
if ! "$tool" --dry-run -Werror "${files[@]}" >/dev/null 2>&1; then
    for file in "${files[@]}"; do
        "$tool" --dry-run -Werror "$file" >/dev/null 2>&1 || finding "$file: run tests/lint/format.sh --fix"
    done
fi
finish
