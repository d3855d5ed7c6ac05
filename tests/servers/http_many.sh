#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# http_many.sh CONNECTIONS LIMIT: so many idle connections at once (fewer when descriptors are short, which is told),
# each answered twice, at no more than LIMIT bytes of the server's memory for each (0: not checked; nor with fewer, who share what is
# there once). Then a server that runs out of descriptors: it waits, serves whom it has, and goes on when some leave.
. "$(dirname "$0")/lib.sh"
needs curl
ulimit -n "$(ulimit -Hn)"
limit=$2
[ "$(ulimit -n)" -ge $(($1 + 100)) ] || limit=0
serve weft-http --workers 2 --idle-ms 0
"$WEFT_BIN/weft-test-clients" many "$PORT" "$1" "$SERVER" "$limit" || fail "$1 connections"
expect "afterwards" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/")" "Hello, World!"
finish

: >"$SCRATCH/out"
(
    ulimit -n 64
    exec "$WEFT_BIN/weft-http" --port 0 --workers 2
) >"$SCRATCH/out" 2>"$SCRATCH/err" &
SERVER=$!
for ((i = 0; i < 1200; i++)); do
    PORT=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$SCRATCH/out")
    [ -z "$PORT" ] || break
    sleep 0.05
done
[ -n "$PORT" ] || { cat "$SCRATCH/err"; fail "a server with 64 descriptors did not start"; }
"$WEFT_BIN/weft-test-clients" crowd "$PORT" 150 "$SERVER" || fail "a crowd at a server with 64 descriptors"
expect "after the crowd" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/")" "Hello, World!"
done_testing
