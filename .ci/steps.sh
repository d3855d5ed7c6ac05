# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by run and nightly: steps, each one line with its time; a failed step names the tests that failed, shows the end
# of its log, and the run goes on. The end of the output names every failure once more. Logs are in build/ci/.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
mkdir -p build/ci
passed=0
failed=0
failures=()
started=$SECONDS

# failed_tests LOG: the names of the tests that ctest counts as failed at the end of LOG, in one line.
failed_tests() {
    sed -n '/(Skipped)$/d; /(Disabled)$/d; s/^[[:space:]]*[0-9]* - \([^ ]*\) (.*/\1/p' "$1" | sort -u | tr '\n' ' '
}

# what_failed LOG: of a log of ctest, what each failed test printed last; else the end of the log.
what_failed() {
    if grep -q '^The following tests FAILED' "$1"; then
        awk 'function show(   i) {
                 if (!failing) return
                 print head
                 for (i = lines > 12 ? lines - 12 : 0; i < lines; i++) print "    " line[i]
             }
             /^ *[0-9]+\/[0-9]+ Test +#/ { show(); failing = /\*\*\*/; head = $0; lines = 0; next }
             /^ +Start +[0-9]+:/ { next }
             /tests passed, .* failed out of/ { show(); failing = 0 }
             failing && NF { line[lines++] = $0 }' "$1"
    else
        tail -n 30 "$1"
    fi
}

# step NAME SECONDS COMMAND...: the command may take that long. Fails when the command does, and only then, so that what needs it
# can be left out: step 'build' ... && step 'test' ...
step() {
    local name=$1 limit=$2 status=0 begun=$SECONDS
    shift 2
    local log=build/ci/${name//[^A-Za-z0-9]/-}.log
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %4d s  %s\n' $((SECONDS - begun)) "$name"
        sed -n 's/^PASSED ONLY ALONE/        | &/p' "$log"
    elif [ "$status" -eq 77 ]; then
        printf 'skipped %4d s  %s (%s)\n' $((SECONDS - begun)) "$name" "$(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        failures+=("$name (exit code $status): $(failed_tests "$log")")
        printf 'FAILED  %4d s  %s (exit code %d, %s): %s\n' $((SECONDS - begun)) "$name" "$status" "$log" \
            "$(failed_tests "$log")"
        what_failed "$log" | cut -c 1-200 | sed 's/^/        | /'
        return 1
    fi
}

# build PRESET [TARGET...]: configured anew and built; warnings are errors in every preset.
build() {
    cmake --preset "$1" && cmake --build --preset "$1" ${2:+--target "${@:2}"}
}
export -f build

summary() {
    [ "$failed" -eq 0 ] || printf 'failed: %s\n' "${failures[@]}"
    printf 'total   %4d s\n' $((SECONDS - started))
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
