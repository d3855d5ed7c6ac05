#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The page for those who come from asyncio is complete and true: each name in asyncio-names.txt has its row, each row is about
# such a name, and each name of weft's in the page is declared in a public header.
. "$(dirname "$0")/lib.sh"

page=docs/coming-from-asyncio.md
names=tests/lint/asyncio-names.txt

# "LINE NAME" for each name in a first cell of the tables that begin "| asyncio | weft |".
rows() {
    awk '
        !/^\|/ { table = 0; next }
        /^\| asyncio \| weft \| differences \|$/ { table = 1; next }
        !table || /^\| ---/ { next }
        {
            split($0, cell, "|")
            n = split(cell[2], part, "`")
            for (i = 2; i <= n; i += 2)
                print FNR, part[i]
        }
    ' "$page"
}

# "LINE NAME" for everything in the page that looks like a name of weft's: functions, constants, headers, options.
ours() {
    grep -noE '\b(weft_[a-z0-9_]*[a-z0-9]|WEFT_[A-Z0-9_]*[A-Z0-9]|weft/[a-z]+\.h)\b|\boption `[a-z_]+`' "$page" |
        sed -E 's/:(option )?/ /; s/`//g'
}

# The words of the public headers, without their comments, and the headers themselves.
declared=$({
    cat include/weft.h include/weft/*.h | sed -zE 's:/\*([^*]|\*+[^*/])*\*+/: :g' | grep -oE '\b[A-Za-z_][A-Za-z0-9_]*'
    printf '%s\n' include/weft/*.h | sed 's|^include/||'
} | sort -u)
listed=$(grep -v '^#' "$names" | sort -u)

findings_from_input < <(
    comm -23 <(printf '%s\n' "$listed") <(rows | cut -d ' ' -f 2- | sort -u) | sed "s|.*|$page:1: no row for &|"
    rows | while read -r line name; do
        grep -qxF -- "$name" <<<"$listed" || printf '%s:%s: a row for %s, which asyncio does not have\n' "$page" "$line" "$name"
    done
    rows | cut -d ' ' -f 2- | sort | uniq -d | sed "s|.*|$page:1: two rows for &|"
    ours | while read -r line name; do
        grep -qxF -- "$name" <<<"$declared" || printf '%s:%s: %s is declared nowhere\n' "$page" "$line" "$name"
    done
)
finish
