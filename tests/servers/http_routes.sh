#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every route of weft-http, as curl asks for it.
. "$(dirname "$0")/lib.sh"
needs curl
serve weft-http --workers "${1:-2}"
url=http://127.0.0.1:$PORT
get() { curl -sS --max-time 60 "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$@"; }

expect "/" "$(get "$url/")" "Hello, World!"
expect "/plaintext" "$(get "$url/plaintext")" "Hello, World!"
before=$(date +%s)
head=$(get -i "$url/" | tr -d '\r')
matches "status line" "$head" "HTTP/1.1 200 OK"$'\n'"*"
matches "content type" "$head" "*"$'\n'"Content-Type: text/plain"$'\n'"*"
matches "content length" "$head" "*"$'\n'"Content-Length: 13"$'\n'"*"
matches "server" "$head" "*"$'\n'"Server: weft"$'\n'"*"
date=$(sed -n 's/^Date: //p' <<<"$head")
told=$(date -d "$date" +%s)
[ "$told" -ge $((before - 2)) ] && [ "$told" -le $(($(date +%s) + 1)) ] || fail "Date: $date is not now"
matches "HEAD" "$(get -I "$url/" | tr -d '\r')" "HTTP/1.1 200 OK"$'\n'"*Content-Length: 13*"

expect "/echo" "$(get --data-binary 'some words' "$url/echo")" "some words"
expect "/echo of nothing" "$(code -X POST -H 'Content-Length: 0' "$url/echo")" 200
expect "/echo, chunked" "$(get -H 'Transfer-Encoding: chunked' --data-binary 'in pieces' "$url/echo")" "in pieces"
head -c 1048576 /dev/urandom >"$SCRATCH/body"
get --data-binary "@$SCRATCH/body" "$url/echo" >"$SCRATCH/back"
cmp -s "$SCRATCH/body" "$SCRATCH/back" || fail "/echo of 1 MiB differs"
get -H 'Transfer-Encoding: chunked' --data-binary "@$SCRATCH/body" "$url/echo" >"$SCRATCH/back"
cmp -s "$SCRATCH/body" "$SCRATCH/back" || fail "/echo of 1 MiB, chunked, differs"
get -H 'Expect: 100-continue' --data-binary "@$SCRATCH/body" "$url/echo" >"$SCRATCH/back"
cmp -s "$SCRATCH/body" "$SCRATCH/back" || fail "/echo of 1 MiB after 100 Continue differs"
head -c 1048577 /dev/urandom >"$SCRATCH/body"
expect "too long" "$(code --data-binary "@$SCRATCH/body" "$url/echo")" 413
expect "too long, chunked" "$(code -H 'Transfer-Encoding: chunked' --data-binary "@$SCRATCH/body" "$url/echo")" 413

before=$(date +%s%N)
expect "/sleep" "$(get "$url/sleep?ms=300")" slept
[ $(($(date +%s%N) - before)) -ge 300000000 ] || fail "/sleep?ms=300 took less"
expect "/cpu" "$(get "$url/cpu?us=1000")" computed
for query in '' '?' '?ms' '?ms=' '?ms=x' '?ms=-1' '?ms=60001' '?ms=99999999999999999999' '?us=1' '?ms=1&b=2'; do
    expect "/sleep$query" "$(code "$url/sleep$query")" 400
done
expect "no such path" "$(code "$url/nothing")" 404
expect "no such path" "$(code "$url/echo/")" 404
expect "method" "$(code -X DELETE "$url/")" 405
expect "method" "$(code "$url/echo")" 405
matches "Allow" "$(get -i "$url/echo" | tr -d '\r')" *$'\n'"Allow: POST"
expect "unknown method" "$(code -X BREW "$url/")" 501
expect "HTTP/1.0" "$(get --http1.0 "$url/")" "Hello, World!"

metrics=$(get "$url/metrics")
matches "/metrics" "$metrics" "*# TYPE weft_tasks_created_total counter*"
for name in weft_tasks_created_total 'weft_worker_parks_total{worker="0"}' 'weft_steals_total{distance="far"}' \
    weft_stacks_live weft_workers http_connections; do
    matches "/metrics $name" "$metrics" "*"$'\n'"$name "[0-9]*
done
created=$(sed -n 's/^weft_tasks_created_total //p' <<<"$metrics")
[ "$created" -gt 20 ] || fail "/metrics: only $created tasks"
expect "/metrics: lines that are neither comment nor sample" \
    "$(grep -Evc '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9]+)$' <<<"$metrics")" 0

# A second server on the same port, and a command line that makes no sense.
"$WEFT_BIN/weft-http" --port "$PORT" >"$SCRATCH/second" 2>&1
expect "port taken: status" $? 1
matches "port taken: said so" "$(cat "$SCRATCH/second")" "weft-http: 127.0.0.1:$PORT: *"
for bad in --nonsense '--port' '--workers x' '--workers -1' stray; do
    # shellcheck disable=SC2086 # two words, on purpose
    "$WEFT_BIN/weft-http" $bad >"$SCRATCH/second" 2>&1
    expect "$bad: status" $? 2
    matches "$bad: named, and usage" "$(cat "$SCRATCH/second")" "weft-http: *${bad%% *}*usage: weft-http *"
done
matches "--help" "$("$WEFT_BIN/weft-http" --help)" "usage: weft-http *--header-ms*"
done_testing
