#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The steps of .ci: what follows a step that passed is run, and what needs one that failed is not; the summary names every failure.
. "$(dirname "$0")/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/.ci"
cp "$root/.ci/steps.sh" "$scratch/.ci/"

# run COMMANDS STATUS: a run with these steps; its output without times and blanks at ends of lines is in `said`.
run() {
    local status=0
    # shellcheck disable=SC2016 # for that shell, on purpose
    printf '. "$(dirname "$0")/steps.sh"\n%s\nsummary\n' "$1" >"$scratch/.ci/run"
    bash "$scratch/.ci/run" >"$scratch/out" 2>&1 || status=$?
    said=$(sed -E 's/^(ok|FAILED|skipped) +[0-9]+ s  /\1 /; s/^total +[0-9]+ s$/total/; s/ +$//' "$scratch/out")
    [ "$status" -eq "$2" ] || finding ".ci/steps.sh: exit status $status, not $2: $said"
}
expect() {
    [ "$said" = "$1" ] || finding ".ci/steps.sh: it said: $said"
}

run "step one 9 true && step two 9 true
step three 9 echo 'PASSED ONLY ALONE: x' && step four 9 true" 0
expect 'ok one
ok two
ok three
        | PASSED ONLY ALONE: x
ok four
total
4 passed, 0 failed'

run "step one 9 bash -c 'echo why; exit 3' && step two 9 true
step three 9 bash -c 'echo not here; exit 77' && step four 9 true" 1
expect 'FAILED one (exit code 3, build/ci/one.log):
        | why
skipped three (not here)
ok four
failed: one (exit code 3):
total
1 passed, 1 failed'

# Of a log of ctest: the names, and what the failed ones printed.
cat >"$scratch/log" <<'END'
 1/3 Test #1: good ......   Passed    0.01 sec
    Start 2: bad
2/3 Test #2: bad .......***Failed    0.02 sec
it said this

 3/3 Test #3: absent ......***Skipped    0.02 sec
50% tests passed, 1 tests failed out of 2

The following tests did not run:
        3 - absent (Skipped)

The following tests FAILED:
        2 - bad (Failed)
END
run 'step tests 9 bash -c "cat log; exit 8"' 1
grep -qx 'FAILED tests (exit code 8, build/ci/tests.log): bad' <<<"$said" && grep -qx '        |     it said this' <<<"$said" &&
    grep -qx 'failed: tests (exit code 8): bad' <<<"$said" || finding ".ci/steps.sh: of failed tests it said: $said"
finish
