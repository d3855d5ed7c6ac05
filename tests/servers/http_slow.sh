#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Clients that are slow, stop in the middle, say nothing or vanish: time limits, and a server that goes on.
. "$(dirname "$0")/lib.sh"
needs curl
serve weft-http --workers 2 --header-ms 600 --body-ms 600 --idle-ms 1600

# talk SECONDS: a bash program that speaks on descriptor 3; prints all that comes until the server closes.
talk() {
    timeout "$1" bash -c 'exec 3<>"/dev/tcp/127.0.0.1/'"$PORT"'"; cat <&3 & '"$2"'; wait' 2>/dev/null
}
ms() { echo $((($(date +%s%N) - $1) / 1000000)); }
within() { [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || fail "$1 took $2 ms, not $3 to $4"; }

start=$(date +%s%N)
matches "half a request line" "$(ask 'GET /')" 'HTTP/1.1 408 *'
within "half a request line" "$(ms "$start")" 500 20000
start=$(date +%s%N)
matches "half a header" "$(ask 'GET / HTTP/1.1\r\nHost: x\r\nA')" 'HTTP/1.1 408 *'
within "half a header" "$(ms "$start")" 500 20000
start=$(date +%s%N)
matches "half a body" "$(ask 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc')" 'HTTP/1.1 408 *'
within "half a body" "$(ms "$start")" 500 20000
matches "half a chunk" "$(ask 'POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc')" 'HTTP/1.1 408 *'

# A slow loris sends a byte now and then: the limit is for the whole head, not for each byte.
start=$(date +%s%N)
got=$(talk 60 'printf "GET / HTTP/1.1\r\n" >&3; for i in {1..40}; do sleep 0.1; printf a >&3 || exit; done')
matches "slow loris" "$got" 'HTTP/1.1 408 *'
start=$(date +%s%N)
expect "silence" "$(talk 60 true)" ""
within "silence" "$(ms "$start")" 1200 20000
got=$(talk 60 'printf "GET / HTTP/1.1\r\nHost: x\r\n\r\n" >&3')
expect "silence after a request" "$(grep -ac '^HTTP/1.1 200' <<<"$got")" 1

# Many of them at once leave the server answering others.
for i in {1..50}; do
    (ask 'GET / HTTP/1.1\r\nHost: x\r\nA' >/dev/null) &
    lorises+=($!)
done
for i in {1..5}; do
    expect "beside slow clients" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/")" "Hello, World!"
done
wait "${lorises[@]}"

"$WEFT_BIN/weft-test-clients" trickle "$PORT" || fail "one byte at a time"
"$WEFT_BIN/weft-test-clients" reset "$PORT" 200 || fail "resets"
"$WEFT_BIN/weft-test-clients" deaf "$PORT" || fail "a client that does not read"
expect "afterwards" "$(curl -sS --max-time 60 "http://127.0.0.1:$PORT/")" "Hello, World!"
done_testing
