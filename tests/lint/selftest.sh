#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The checks find what they are for: each is run on a small tree with one seeded fault, and on the same tree without it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

clean_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"/{executor,io,include/weft,examples,docs,tests/lint}
    printf '/* SPDX-License-Identifier: Apache-2.0 */\n' | tee "$tree"/{executor,io,examples}/a.c "$tree/include/weft.h" >"$tree/include/weft/a.h"
    printf '| asyncio | weft | differences |\n| --- | --- | --- |\n| `Lock.acquire` | see `weft/a.h` | |\n' >"$tree/docs/coming-from-asyncio.md"
    echo Lock.acquire >"$tree/tests/lint/asyncio-names.txt"
}

# catches CHECK FILE TEXT EXPECTED: with TEXT at the end of FILE the check fails and says EXPECTED.
catches() {
    clean_tree
    printf '%b\n' "$3" >>"$tree/$2"
    local out
    if out=$(WEFT_LINT_ROOT=$tree "$here/$1.sh" 2>&1) || ! grep -qF "$4" <<<"$out"; then
        printf '%s does not find in %s: %b\n%s\n' "$1" "$2" "$3" "$out"
        failed=1
    fi
}

# passes CHECK FILE TEXT
passes() {
    clean_tree
    printf '%b\n' "$3" >>"$tree/$2"
    local out
    if ! out=$(WEFT_LINT_ROOT=$tree "$here/$1.sh" 2>&1); then
        printf '%s does not let pass in %s: %b\n%s\n' "$1" "$2" "$3" "$out"
        failed=1
    fi
}

load='x = weft__load_acquire(&p->f);'
store='weft__store_release(&p->f, 1);'
passes atomics executor/a.c "$load /* pairs: F-SET */\n$store /* pairs: F-SET */"
passes atomics executor/a.c "/* pairs: F-SET */\n$load\n$load\n$store\n$store\n$store"
passes atomics executor/a.c '_Atomic(int) r; /* pairs: REFS, each drop with the free */\nweft__fetch_sub_acq_rel(&p->r, 1); /* pairs: REFS */'
passes atomics executor/a.c "if (a &&\n    $load /* pairs: F-SET, G-SET */\n$store /* pairs: F-SET, CAS with load */\nweft__exchange_acq_rel(&p->g, 1); /* pairs: G-SET */\n/* pairs: G-SET */"
passes atomics executor/a.c '/* relaxed, both: nobody else knows it */\nweft__store_relaxed(&p->a, 0);\nweft__store_relaxed(&p->b, 0);'
passes atomics executor/a.c "/* the text \"atomic_load\" in a comment */"
passes atomics executor/a.c 'weft__fetch_sub_acq_rel(&p->r, 1); /* pairs: REFS (itself) */'
catches atomics executor/a.c "$load" 'says not with whom it pairs'
catches atomics executor/a.c "$load /* pairs: F-SET */\n$load\n$store /* pairs: F-SET */" 'a.c:3: says not with whom it pairs'
catches atomics executor/a.c "$load /* pairs: F-SET */\n$load /* pairs: F-SET */" 'F-SET has no side that releases'
catches atomics executor/a.c "$store /* pairs: F-SET */" 'F-SET has no side that acquires'
catches atomics executor/a.c 'weft__fetch_sub_acq_rel(&p->r, 1); /* pairs: REFS */' 'REFS has one side only'
catches atomics executor/a.c '/* pairs: GONE */' 'GONE is told'
catches atomics io/a.c 'weft__store_relaxed(&p->a, 0);' 'says not why relaxed is enough'
catches atomics io/a.c 'atomic_thread_fence(memory_order_seq_cst);' 'atomics go through'
catches atomics io/a.c 'static volatile int flag;' 'atomics go through'

passes floors executor/a.c '#include <weft/a.h>\n#include "executor/b.h"'
catches floors executor/a.c '#include "io/b.h"' 'the executor knows nothing of io/'
catches floors io/a.c '#include <hwloc.h>' 'hwloc is known to one module'
catches floors executor/a.c '#include <ck_ring.h>' 'ck is known to one module'
catches floors include/weft/a.h '#include "executor/b.h"' 'a public header includes'
catches floors examples/a.c '#include "executor/b.h"' 'programs see the public headers'
catches floors examples/a.c '#include "weft.h"' 'write <weft...>'

passes headers include/weft/a.h 'static inline unsigned f(void)\n{\n    return 1u;\n}'
catches headers include/weft/a.h 'static inline size_t f(void);' 'does not compile alone'

passes sources executor/a.c 'int x;'
catches sources executor/a.c 'int x; ' 'blanks at the end'
catches sources executor/a.c '\tint x;' 'tab'
catches sources executor/b.c 'int x;' 'no SPDX line'
catches sources executor/a.c "$(yes 'int x;' | head -n 620)" 'more than one subject'

passes words docs/a.md 'A client resumes its session; the issue is closed.'
passes words docs/a.md 'The worker pool shares its stacks; see /proc/self/maps.'
catches words executor/a.c '/* TODO: the rest */' 'unfinished'
catches words docs/a.md 'see /home/somebody/notes' "a path of somebody's machine"
catches words docs/a.md 'as ../shared/notes says' 'a folder that is not in this tree'
catches words docs/a.md 'left for the next issue' 'a text stands by itself'

page=docs/coming-from-asyncio.md
passes asyncio $page '\n| weft_ | of another table: `gather` |'
passes asyncio include/weft/a.h 'int weft_lock_acquire(void);'
catches asyncio tests/lint/asyncio-names.txt 'Lock.acquired' 'no row for Lock.acquired'
catches asyncio $page '| `Lock.acquires` | None | |' 'coming-from-asyncio.md:4: a row for Lock.acquires, which asyncio does not have'
catches asyncio $page '| `Lock.acquire` | None | |' 'two rows for Lock.acquire'
catches asyncio $page 'Call weft_lock_acquire(&l).' 'weft_lock_acquire is declared nowhere'
catches asyncio $page 'Include `weft/b.h`, set the option `size_of_it`.' 'size_of_it is declared nowhere'

[ "$failed" -eq 0 ] && echo 'selftest.sh: every check finds its faults'
exit "$failed"
