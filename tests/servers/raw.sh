#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weft-raw, the server for comparisons, answers.
. "$(dirname "$0")/lib.sh"
needs curl
[ -x "$WEFT_BIN/weft-raw" ] || { echo "skipped: weft-raw was not built"; exit 77; }
for kind in http echo; do
    : >"$SCRATCH/out" # before the server starts, or the port found is that of the one before
    "$WEFT_BIN/weft-raw" "$kind" 0 2 >"$SCRATCH/out" 2>"$SCRATCH/err" &
    SERVER=$!
    for ((i = 0; i < 1200; i++)); do
        PORT=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$SCRATCH/out")
        [ -z "$PORT" ] || break
        sleep 0.05
    done
    if [ "$kind" = http ]; then
        expect "/plaintext" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/plaintext")" "Hello, World!"
        expect "404" "$(curl -sS --max-time 60 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/x")" 404
        "$WEFT_BIN/weft-test-clients" pipeline "$PORT" 40 || fail "40 requests in one write"
    else
        "$WEFT_BIN/weft-test-clients" echo "$PORT" 5 100000 || fail "echo"
    fi
    kill -KILL "$SERVER"
    wait "$SERVER" 2>/dev/null
    SERVER=
done
done_testing
