# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the checks: the tree, its files, and a way to report. A check names every finding as file:line: text.
set -euo pipefail
export LC_ALL=C

root=${WEFT_LINT_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
cd "$root"
findings=0

finding() {
    printf '%s\n' "$*"
    findings=$((findings + 1))
}

# Count every line of standard input as a finding.
findings_from_input() {
    local line
    while IFS= read -r line; do finding "$line"; done
}

# All text files of the project, one a line: what git knows or would take; without git, everything but builds.
tree_files() {
    if [ -z "${WEFT_LINT_ROOT:-}" ] && git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard | while IFS= read -r f; do [ -f "$f" ] && printf '%s\n' "$f"; done
    else
        find . -type f -not -path './build/*' -not -path './.git/*' | sed 's|^\./||'
    fi | sort -u
}

# Those of them that match an extended regular expression.
tree_files_like() {
    tree_files | grep -E -- "$1" || true
}

finish() {
    if [ "$findings" -ne 0 ]; then
        printf '%s: %d finding(s)\n' "$(basename "$0")" "$findings"
        exit 1
    fi
    printf '%s: clean\n' "$(basename "$0")"
}
