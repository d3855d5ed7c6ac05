# SPDX-License-Identifier: Apache-2.0
# lib.sh -- for the tests of servers (bash): starting and ending a server, asking it in raw bytes, checking.
#   needs TOOL...           ends the test as skipped (77) when a tool is missing
#   serve NAME [ARGS...]    starts $WEFT_BIN/NAME on a port of its own: sets SERVER (pid), PORT
#   finish                  SIGTERM: the server has to end with status 0 and nothing on stderr
#   await WHAT COMMAND...   until it succeeds, at most a minute: what is waited for is never judged by the clock of a busy machine
#   ask BYTES               (printf format) sends them on a new connection, prints all that comes until it is closed
#   expect WHAT GOT WANTED  equality;  matches WHAT GOT PATTERN  (bash pattern)
# A failed check is told and remembered; `done_testing` ends the test.
set -u
: "${WEFT_BIN:?the folder of the programs}"
FAILURES=0
SERVER=
SCRATCH=$(mktemp -d)
trap 'status=$?; [ -z "$SERVER" ] || kill -KILL "$SERVER" 2>/dev/null; rm -rf "$SCRATCH"; exit $status' EXIT

needs() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
    done
}

fail() {
    echo "FAILED: $*"
    FAILURES=$((FAILURES + 1))
}

expect() {
    [ "$2" = "$3" ] || fail "$1: got '${2:0:300}', wanted '${3:0:300}'"
}

matches() {
    # shellcheck disable=SC2053 # a pattern, on purpose
    [[ "$2" == $3 ]] || fail "$1: got '${2:0:300}', wanted the pattern '$3'"
}

await() {
    local i
    for ((i = 0; i < 600; i++)); do
        ! "${@:2}" || return 0
        sleep 0.1
    done
    fail "$1: not within a minute"
}

serve() {
    local name=$1
    shift
    : >"$SCRATCH/out"
    "$WEFT_BIN/$name" --port 0 "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" &
    SERVER=$!
    local i
    for ((i = 0; i < 1200; i++)); do
        PORT=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$SCRATCH/out")
        [ -z "$PORT" ] || return 0
        kill -0 "$SERVER" 2>/dev/null || break
        sleep 0.05
    done
    echo "FAILED: $name did not start"
    cat "$SCRATCH/out" "$SCRATCH/err"
    exit 1
}

# Wait for the server's end, at most a minute: its status.
await_server() {
    local i
    for ((i = 0; i < 1200; i++)); do
        kill -0 "$SERVER" 2>/dev/null || break
        sleep 0.05
    done
    if kill -0 "$SERVER" 2>/dev/null; then
        fail "the server did not end within a minute"
        kill -KILL "$SERVER"
    fi
    wait "$SERVER"
    STATUS=$?
    SERVER=
    return 0
}

# What the server said on stderr. That a worker could not go on for long is the machine's word on a busy day, no failure.
complaints() {
    grep -v ' is blocked: a task in ' "$SCRATCH/err"
}

finish() {
    kill -TERM "$SERVER" || fail "the server had ended before"
    await_server
    expect "exit status" "$STATUS" 0
    expect "stderr" "$(complaints)" ""
}

ask() {
    # shellcheck disable=SC2059 # a format, on purpose
    timeout 60 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "$1" >&3 && cat <&3' "$PORT" "$1" 2>/dev/null
}

done_testing() {
    [ -z "$SERVER" ] || finish
    [ "$FAILURES" -eq 0 ] || cat "$SCRATCH/err"
    [ "$FAILURES" -eq 0 ] || { echo "$FAILURES checks failed"; exit 1; }
    echo "all checks passed"
    exit 0
}
