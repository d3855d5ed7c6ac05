#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every atomic operation of the library goes through executor/atomic.h and says with whom it pairs:
#   - no direct use of the compiler's atomics but in atomic.h and guard.[ch]; no stand-alone fence, no volatile;
#   - an operation stronger than relaxed has a comment "pairs: LABEL[, LABEL...]", a relaxed one "relaxed: why": on its own
#     line, in its statement, or in the three lines above it (a comment there covers the unbroken run of operations that
#     follows it, but a comment at the end of an operation's line is that operation's alone);
#   - each label stands at an operation that can release and at one that can acquire; a single read-modify-write that pairs
#     with itself in another thread (the drop of a reference) says "pairs: LABEL (itself)", or the field tells it;
#   - a label told in some comment stands at an operation.
. "$(dirname "$0")/lib.sh"

mapfile -t files < <(tree_files_like '^(executor|io)/.*\.[ch]$' | grep -vE '^executor/(atomic\.h|guard\.[ch])$' || true)
if [ ${#files[@]} -ne 0 ]; then
    findings_from_input < <(awk -f "$(dirname "${BASH_SOURCE[0]}")/atomics.awk" "${files[@]}")
fi
finish
