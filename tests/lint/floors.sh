#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may include whom. Each floor is blind to the one above it, each library is known to one module, and programs see only
# what a user sees.
. "$(dirname "$0")/lib.sh"

# Every include of the tree as "file:line:target", target with its < or " in front.
all=$(tree_files_like '\.(c|h|cpp)$' | xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]' /dev/null |
    sed -E 's/^([^:]*):([0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*)[>"].*/\1:\2:\3/')

# forbid FILES-REGEX TARGET-REGEX WHY [EXCEPT-FILES-REGEX]
forbid() {
    printf '%s\n' "$all" | files=$1 bad=$2 why=$3 except=${4:-^$} awk -F: '
        $1 ~ ENVIRON["files"] && $1 !~ ENVIRON["except"] && $3 ~ ENVIRON["bad"] {
            print $1 ":" $2 ": includes " substr($3, 2) ": " ENVIRON["why"]
        }'
}

# Programs: what they include in quotes lies in their own top folder (beside them, or named from that folder).
own_folder_only() {
    local file line target name top found place
    { printf '%s\n' "$all" | grep -E '^(examples|bench|stress)/[^:]*:[0-9]+:"' || true; } |
        while IFS=: read -r file line target; do
            name=${target#\"} top=${file%%/*} found=
            for place in "$(dirname "$file")/$name" "$top/$name"; do
                [ -f "$place" ] && [[ $(realpath "$place") == "$(realpath "$top")"/* ]] && found=1
            done
            [ -n "$found" ] ||
                echo "$file:$line: includes $name: programs see the public headers and their own folder"
        done
}

findings_from_input < <(
    forbid '^executor/' '^[<"](\.\./)*io/' 'the executor knows nothing of io/'
    forbid '^(executor|io)/' '^[<"](\.\./|tests/|bench/|stress/|examples/|testing/|weft/testing|cmocka)' 'the library knows only itself'
    forbid '^include/' '^("|<(executor|io|ck_|hwloc|stdatomic))' 'a public header includes public and system headers'
    forbid '^(executor|io|include)/' '^[<"]hwloc' 'hwloc is known to one module' '^executor/(machine|topology)\.c$'
    forbid '^(executor|io|include)/' '^[<"]ck_' 'ck is known to one module for each of its structures' \
        '^executor/parker\.[ch]$'
    forbid '^(examples|bench|stress)/' '^<(executor|io|ck_)' 'programs see the public headers'
    forbid '^(examples|bench|stress)/' '^"weft' 'write <weft...>, as a user would'
    own_folder_only
)
finish
