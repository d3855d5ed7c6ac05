#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Words that do not belong into the project: what is unfinished by its own words, paths of somebody's machine, and the
# story of how a text came about (a text stands by itself; history is in the version control).
. "$(dirname "$0")/lib.sh"

self='^tests/lint/(words|selftest)\.sh$'
mapfile -t all < <(tree_files_like . | grep -vE "$self|^LICENSE$" | while IFS= read -r f; do grep -Iq . "$f" && echo "$f"; done)
mapfile -t sources < <(printf '%s\n' "${all[@]}" | grep -E '^(executor|io|include|stress|bench|examples)/' || true)

# forbid WHY REGEX FILES...
forbid() {
    local why=$1 regex=$2
    shift 2
    [ $# -eq 0 ] || grep -nHIiP -- "$regex" "$@" | sed -E "s|^([^:]*:[0-9]+):(.*)|\1: $why: \2|" || true
}

findings_from_input < <(
    forbid 'unfinished by its own words' '\b(TODO|FIXME|XXX|stubs?|(?<!501 )not (yet )?implemented|placeholder)\b' "${sources[@]}"
    forbid "a path of somebody's machine" '(^|[\s"'"'"'(=:])/(home|root|Users|mnt|work|workspace)/' "${all[@]}"
    forbid 'a folder that is not in this tree' '(^|[^\w/.$}-])(\.\./)*shared/' "${all[@]}"
    forbid 'a text stands by itself' '\b(this|next|last|previous|earlier|later|other) (session|issue)s?\b' "${all[@]}"
    forbid 'a text stands by itself' '\bissues? #?[0-9]+\b|\b(sub|other )agents?\b|\bthe (lead|brief)\b' "${all[@]}"
)
# The folder this very tree lies in, unless it is too common a word.
case "$root" in
/*/*/*) findings_from_input < <(forbid 'the path of this tree' "$(printf '%s' "$root" | sed 's/[][\.*^$(){}?+|]/\\&/g')\\b" "${all[@]}") ;;
esac
finish
