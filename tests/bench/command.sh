#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# command.sh files|page WEFT-BENCH SOURCES: weft-bench topology on this machine, small. files: they are there and right, and reports compare. page: a
# browser draws the pages (exit 77 where there is no chromium). Figures are not judged, only that they are there.
set -euo pipefail
what=$1 bench=$2 sources=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

if [ "$what" = page ]; then
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
        echo 'no chromium: pages not looked at'
        exit 77
    }
    timeout 250 "$bench" topology --out a --seconds 2 --rounds 2 --label 'run <a>' >a.log
    python3 "$sources/check.py" a slow.json
    "$bench" compare a.json slow.json --html compare.html >compare.log
    python3 "$sources/large.py" a.html large.html
    python3 "$sources/large.py" a.html largest.html 1024
    for page in a compare large largest; do
        echo "$page.html"
        python3 "$sources/look.py" "$browser" "$page.html"
    done
    exit
fi

for name in a b; do
    timeout 250 "$bench" topology --out "$name" --seconds 3 --rounds 2 --label "run <$name>" >"$name.log"
    python3 "$sources/check.py" "$name"
done

# With itself: every ratio is 1, nothing differs. With another run: it ends well.
"$bench" compare a.json a.json --all --html same.html >same.log
grep -q ': 0 differences are real, 0 perhaps, ' same.log || { tail -n 3 same.log; exit 1; }
"$bench" compare a.json b.json --html compare.html >compare.log
tail -n 30 compare.log | grep 'cells compared'
# One that is half as quick in everything it measured.
python3 "$sources/check.py" a slow.json
"$bench" compare a.json slow.json >slow.log
grep -q 'B is worse' slow.log && ! grep -q 'B is better' slow.log || { cat slow.log; exit 1; }

# What is no report is refused, with a sentence.
echo '{"format": "weft-bench report"' >broken.json
echo '{"format": "other"}' >other.json
echo '[]' >list.json
: >empty.json
head -c $(($(wc -c <a.json) / 2)) a.json >cut.json
python3 "$sources/maim.py" a.json maimed # each file lacks something, or has it in another form
for bad in broken.json other.json absent.json list.json empty.json cut.json maimed.[0-9]*.json; do
    if "$bench" compare a.json "$bad" 2>err >out; then exit 1; fi
    grep -q "$bad" err
    if "$bench" compare "$bad" a.json --html bad.html 2>err >out || [ -e bad.html ]; then exit 1; fi
done
# Strange figures are no reason to fall over.
for strange in maimed.strange*.json; do
    "$bench" compare a.json "$strange" --all --html strange.html >out
    "$bench" compare "$strange" a.json --all >out
done
if "$bench" compare a.json b.json --html no/such/folder.html 2>err >out; then exit 1; fi
grep -q 'No such file' err
for bad in '--seconds 0' '--seconds x' '--only nothing' 'more' '--what'; do
    # shellcheck disable=SC2086
    if "$bench" topology --out bad $bad 2>err >out; then exit 1; fi
    [ ! -e bad.json ]
done
if "$bench" topology --out no/such/folder --seconds 0.1 --rounds 1 --only cores 2>err >out; then exit 1; fi
grep -q 'No such file' err
