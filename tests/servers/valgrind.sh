#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# valgrind.sh WORKERS: weft-http and weft-kv under memcheck: some requests of each kind, clients that leave in the middle of one,
# then SIGTERM with a client connected. No invalid access, no use of what was never written, nothing lost at the end, and
# the server ends with status 0.
. "$(dirname "$0")/lib.sh"
needs valgrind curl
workers=${1:-2}
url=

# under_valgrind NAME: as serve; `clean` is its finish, which shows what valgrind found. (A finding is exit status 99. Of system
# calls that valgrind does not know it tells in lines of another form: the library does without those.)
under_valgrind() {
    local name=$1 folder=$WEFT_BIN supp
    VERDICT=$SCRATCH/$name.verdict
    supp=$(cd "$(dirname "$0")/.." && pwd)/valgrind.supp
    mkdir -p "$SCRATCH/bin"
    cat >"$SCRATCH/bin/$name" <<END
#!/bin/bash
exec valgrind -q "--log-file=$VERDICT" --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect,possible \\
    --errors-for-leak-kinds=definite,indirect --fair-sched=yes --num-callers=30 --max-stackframe=4000000 \\
    $([ ! -f "$supp" ] || printf %s "--suppressions='$supp'") '$folder/$name' "\$@"
END
    chmod +x "$SCRATCH/bin/$name"
    WEFT_BIN=$SCRATCH/bin serve "$name" --workers "$workers"
    url=http://127.0.0.1:$PORT
}
clean() {
    finish
    wait "$client"
    expect "valgrind" "$(grep '^==' "$VERDICT")" ""
}
get() { curl -sS --max-time 100 "$@"; }
# half BYTES: sends them and leaves.
half() {
    # shellcheck disable=SC2059 # a format, on purpose
    timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "$1" >&3; sleep 0.3' "$PORT" "$1"
}
# A client that waits while the server is told to end.
idle_client() {
    timeout 100 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "$1" >&3; cat <&3 >/dev/null' "$PORT" "$1" 2>/dev/null &
    client=$!
    sleep 1
}

under_valgrind weft-http
expect "/" "$(get "$url/")" "Hello, World!"
expect "/echo" "$(get --data-binary 'some words' "$url/echo")" "some words"
head -c 300000 /dev/zero | tr '\0' 'x' >"$SCRATCH/body"
get --data-binary "@$SCRATCH/body" "$url/echo" | cmp -s - "$SCRATCH/body" || fail "/echo of 300,000 bytes"
get -H 'Transfer-Encoding: chunked' --data-binary "@$SCRATCH/body" "$url/echo" | cmp -s - "$SCRATCH/body" ||
    fail "/echo of 300,000 bytes, chunked"
expect "/sleep" "$(get "$url/sleep?ms=50")" slept
matches "/metrics" "$(get "$url/metrics")" "*weft_tasks_created_total*"
expect "404" "$(get -o "$SCRATCH/404" -w '%{http_code}' "$url/nothing")" 404
matches "400" "$(ask 'GET / HTTP/1.1\r\n\r\n')" "HTTP/1.1 400*"
half 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nten bytes.'
half 'GET / HTTP/1.1\r\nHo'
half 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfi'
idle_client 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
clean

under_valgrind weft-kv
got=$(ask 'PING\r\nSET a 1\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nSET b x PX 50\r\nMSET c 1 d 2\r\nDEL c nothing\r\nEXISTS d\r\nQUIT\r\n')
expect "commands" "$(tr -d '\r' <<<"$got" | tr '\n' ' ')" '+PONG +OK :2 $1 2 +OK +OK :1 :1 +OK '
value=$(printf 'v%.0s' {1..40000})
got=$(ask "*3\r\n\$3\r\nSET\r\n\$5\r\nlarge\r\n\$40000\r\n$value\r\nGET large\r\nQUIT\r\n" | tr -d '\r' | tr '\n' ' ')
expect "a large value" "$got" "+OK \$40000 $value +OK "
matches "no protocol" "$(ask '*x\r\n')" "-ERR Protocol error:*"
expect "no such command" "$(ask 'NONSENSE\r\nQUIT\r\n' | grep -c '^-ERR')" 1
half '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\nabc'
half '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nabc'
half "*100\r\n\$4\r\nMSET\r\n$(printf '$1\\r\\nx\\r\\n%.0s' {1..60})" # more arguments than have room at first
only_three() { [ "$(ask 'DBSIZE\r\nQUIT\r\n' | tr -d '\r' | tr '\n' ' ')" = ":3 +OK " ]; }
await "the sweep finds b" only_three
idle_client 'SET last x\r\n'
clean
done_testing
