/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/seeded.h -- what the tests of seeded runs share: run a coroutine under a seed, keep the hash of its schedule and a digest of what
 * it did, count outcomes over many seeds. Everything of one run is one thread's, so the tests record into plain memory. */
#ifndef WEFT_TESTS_SUPPORT_SEEDED_H
#define WEFT_TESTS_SUPPORT_SEEDED_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

#include <cmocka.h>

#include "support/check.h"

static struct {
    uint32_t n, sum;
} trace;

static inline void mark(unsigned what)
{
    trace.n++;
    trace.sum = (trace.sum ^ what) * 16777619u + (uint32_t)(weft_now() / WEFT_US(1));
}

static uint64_t hash;

static inline void keep_hash(void *user, weft_runtime *rt)
{
    (void)user;
    hash = weft_schedule_hash(rt);
}

struct act {
    WEFT_FRAME;
    int (*fn)(struct act *f);
    int id;
    void *with;
};
static int act(struct act *f)
{
    return f->fn(f);
}
WEFT_CORO(act);

static inline int run(uint64_t seed, int (*fn)(struct act *))
{
    trace.n = trace.sum = 0;
    hash = 0;
    return weft_run_with(WEFT_OPTIONS(.sched = WEFT_SCHED_SEEDED, .seed = seed, .workers = 4, .at_end = keep_hash), act,
                         .fn = fn);
}

#define START(function, ...) weft_create_task(act, .fn = (function), __VA_ARGS__)

/* Of the seeds 1 .. n, how many runs end with each of 0 .. 3; anything else fails. */
static inline void outcomes(int (*fn)(struct act *), unsigned n, unsigned seen[4])
{
    memset(seen, 0, 4 * sizeof seen[0]);
    for (uint64_t seed = 1; seed <= n; seed++) {
        int rc = run(seed, fn);
        if (rc < 0 || rc > 3)
            fail_msg("seed %llu: %s", (unsigned long long)seed, weft_strerror(rc));
        seen[rc]++;
    }
    assert_tasks_ok();
}

#endif
