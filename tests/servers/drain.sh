#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# drain.sh WORKERS: how a server ends that was told to. Who is between two requests, or in the middle of one that does not go on, has a
# moment left; whoever is still there at the drain limit is cut off, which is said; the status is 0 in any case.
. "$(dirname "$0")/lib.sh"

# client BYTES WANTED: sends them, and reads to the end into $SCRATCH/got. It returns when WANTED has come.
client() {
    : >"$SCRATCH/got"
    # shellcheck disable=SC2059 # a format, on purpose
    timeout 100 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "$1" >&3; cat <&3; echo "end $?"' "$PORT" "$1" >"$SCRATCH/got" 2>&1 &
    client=$!
    await "$2" grep -q "$2" "$SCRATCH/got"
}
# The server is told, and ends with status 0; said: what it says then.
told() {
    kill -TERM "$SERVER" || fail "the server had ended before"
    await_server
    expect "exit status" "$STATUS" 0
    said=$(complaints)
    [ -z "$client" ] || wait "$client"
}
cut_off="ended with clients still connected: "

# A request that takes a minute. (The answer before it is sent when this one begins.)
serve weft-http --workers "$1" --drain-ms 300
client 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /sleep?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n' Hello
told
matches "a request that takes too long" "$said" "weft-http: $cut_off*"
expect "its answer" "$(grep -c slept "$SCRATCH/got")" 0

# No time at all.
serve weft-echo --workers "$1" --drain-ms 0
client 'hello\n' hello
told
matches "no time to leave" "$said" "weft-echo: $cut_off*"

# Half a command, and half a word: nothing more comes, and nobody waits for the drain limit.
serve weft-kv --workers "$1" --drain-ms 60000
client 'PING\r\nGET a' PONG
told
expect "half a command" "$said" ""
serve weft-echo --workers "$1" --drain-ms 60000
client 'hello\nwo' hello
told
expect "between two words" "$said" ""
expect "its end" "$(tail -n1 "$SCRATCH/got" | grep -o 'end 0$')" "end 0"

# Nobody is there.
serve weft-kv --workers "$1" --drain-ms 60000
client=
told
expect "nobody" "$said" ""
done_testing
