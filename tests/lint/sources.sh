#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The form of files: licence line first, no tabs, no blanks at the end of lines, and the length of one subject.
. "$(dirname "$0")/lib.sh"

warn_lines=350
fail_lines=600

check_form() {
    awk '
        FNR == 1 { if (NR > 1 && !licence) print last ":1: no SPDX line"; licence = 0; last = FILENAME }
        FNR <= 2 && /SPDX-License-Identifier: Apache-2\.0/ { licence = 1 }
        /[ \t]+$/ { print FILENAME ":" FNR ": blanks at the end of the line" }
        /\t/ { print FILENAME ":" FNR ": tab" }
        END { if (NR > 0 && !licence) print last ":1: no SPDX line" }
    ' "$@"
}

mapfile -t files < <(tree_files_like '(\.(c|h|S|cpp|cmake|sh|awk|pml|lua|map|py)|CMakeLists\.txt|^scripts/[a-z-]+|^\.ci/[a-z-]+)$')
findings_from_input < <(check_form "${files[@]}")

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$fail_lines" ]; then
        finding "$file: $lines lines, more than one subject's worth ($fail_lines)"
    elif [ "$lines" -gt "$warn_lines" ]; then
        echo "$file: $lines lines: long"
    fi
done < <(tree_files_like '\.(c|h|S|cpp)$')
finish
