#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# page.sh PAGE.md INCLUDE-FOLDER LIBWEFT.A CC [MORE-TO-LINK...]: all blocks of C in the page compile without a warning in strict C17. One with a
# main is a whole program, and prints exactly the next block marked "text"; so does the last block of Python before it, where
# there is a Python 3.13 or later ($PYTHON, if it is set). One without is the inside of a file: it is compiled together with those before it.
set -euo pipefail
page=$1 include=$2 library=$3 cc=$4
shift 4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags=(-std=c17 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I "$include")

# One file for each block, named by its number in the page and its mark: 03.c, 04.text.
awk -v folder="$scratch" '
    /^```$/ && file { close(file); file = ""; next }
    /^```[a-z]+$/ && !file { file = sprintf("%s/%02d.%s", folder, ++n, substr($0, 4)); printf "" >file; next }
    file { print >file }
' "$page"

python=
for candidate in ${PYTHON:-python3 python3.13 python3.14}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done

programs=0 fragments=0 latest_python=
printf '#include <errno.h>\n#include <signal.h>\n#include <stdatomic.h>\n#include <stdio.h>\n#include <weft.h>\n' >"$scratch/fragments.c"
for block in "$scratch"/[0-9]*; do
    case "$block" in
    *.python) latest_python=$block ;;
    *.c)
        if grep -q '^int main(' "$block"; then
            "$cc" "${flags[@]}" "$block" "$@" "$library" -lck -lhwloc -pthread -o "$scratch/program"
            "$scratch/program" >"$scratch/printed"
            programs=$((programs + 1))
        else
            cat "$block" >>"$scratch/fragments.c"
            fragments=$((fragments + 1))
        fi
        ;;
    *.text)
        diff -u "$block" "$scratch/printed"
        [ -z "$python" ] || [ -z "$latest_python" ] || "$python" "$latest_python" | diff -u "$block" -
        rm "$scratch/printed"
        ;;
    esac
done
"$cc" "${flags[@]}" -Wno-unused-function -c "$scratch/fragments.c" -o "$scratch/fragments.o"
[ "$programs" -gt 0 ] && [ "$fragments" -gt 0 ] && [ ! -e "$scratch/printed" ] || {
    echo "$page: $programs programs, $fragments fragments; each program is followed by what it prints"
    exit 1
}
echo "page.sh: $programs programs do what the page says (${python:-without Python}); $fragments fragments compile"
