#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tsan.sh WORKERS: the servers, built with thread sanitizer, under clients at once; then they are told to end, and drain. It halts at the first
# race.
. "$(dirname "$0")/lib.sh"
needs curl

serve weft-echo --workers "$1"
"$WEFT_BIN/weft-test-clients" echo "$PORT" 20 100000 || fail "echo of 100,000 bytes, 20 times at once"
finish

serve weft-chat --workers "$1" --waiting 1000
"$WEFT_BIN/weft-test-chat" talk "$PORT" 8 20 || fail "8 talk at once"
"$WEFT_BIN/weft-test-chat" slow "$PORT" || fail "one who does not read"
finish

serve weft-http --workers "$1"
url=http://127.0.0.1:$PORT
clients=()
for i in {1..8}; do
    curl -sS --max-time 60 "$url/?[1-50]" -o /dev/null "$url/sleep?ms=[1-10]" -o /dev/null &
    clients+=($!)
    curl -sS --max-time 60 --data-binary "@$0" "$url/echo" -o /dev/null "$url/metrics" -o /dev/null &
    clients+=($!)
done
for client in "${clients[@]}"; do
    wait "$client" || fail "a client of weft-http ended with status $?"
done
"$WEFT_BIN/weft-test-clients" reset "$PORT" 50 || fail "resets"
finish

serve weft-kv --workers "$1"
clients=()
for i in {1..8}; do
    got="$SCRATCH/got.$i"
    ask "$(printf 'INCR n\\r\\nSET k v PX 50\\r\\nGET k\\r\\n%.0s' {1..100})QUIT\r\n" >"$got" &
    clients+=($!)
done
wait "${clients[@]}"
expect "INCR from all" "$(ask 'GET n\r\nQUIT\r\n' | tr -d '\r' | tr '\n' ' ')" '$3 800 +OK '
finish
done_testing
