#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# echo.sh WORKERS: 1 MiB comes back unchanged, on several connections at once; SIGTERM ends clients cleanly.
. "$(dirname "$0")/lib.sh"
serve weft-echo --workers "$1"
"$WEFT_BIN/weft-test-clients" echo "$PORT" 20 1048576 || fail "1 MiB, 20 times at once"
expect "a word" "$(timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; echo hello >&3; head -n1 <&3' "$PORT")" hello
# A client that waits sees the end, not a reset.
timeout 100 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; echo hello >&3; cat <&3; echo "end $?"' "$PORT" >"$SCRATCH/got" 2>&1 &
client=$!
await "the echo" grep -q hello "$SCRATCH/got"
finish
wait "$client"
expect "a client during the drain" "$(cat "$SCRATCH/got")" "hello"$'\n'"end 0"
done_testing
