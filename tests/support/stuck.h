/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that make work in each place where it can lie, and then compute until others have done it. */
#ifndef WEFT_TESTS_SUPPORT_STUCK_H
#define WEFT_TESTS_SUPPORT_STUCK_H

#include <sched.h>
#include <time.h>
#include <weft.h>

#include "support/check.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A long step: computes, as far as weft can see, until the counter has reached n. */
static bool reached(_Atomic unsigned *counter, unsigned n)
{
    for (double limit = seconds() + 60; atomic_load(counter) < n;) {
        if (seconds() > limit)
            return false;
        sched_yield();
    }
    return true;
}

static inline void compute(double us)
{
    for (double end = seconds() + us / 1e6; seconds() < end;)
        ;
}

/* ---- an owner in a long step ---- */

struct done {
    WEFT_FRAME;
    _Atomic unsigned *ran;
    weft_event *first; /* waits for that, if there is one */
};
static int done(struct done *f)
{
    int rc = f->first != NULL ? weft_event_wait(f->first) : 0;
    atomic_fetch_add(f->ran, 1);
    return rc;
}
WEFT_CORO(done);

struct stuck {
    WEFT_FRAME;
    unsigned n;
};
static int stuck_creator(struct stuck *f)
{
    _Atomic unsigned ran = 0;
    weft_task *tasks[100];
    for (unsigned i = 0; i < f->n; i++)
        tasks[i] = weft_create_task(done, .ran = &ran);
    TASK_CHECK(reached(&ran, f->n));
    for (unsigned i = 0; i < f->n; i++)
        TASK_CHECK(weft_await_release(tasks[i]) == 0);
    return 0;
}
static int stuck_forker(struct stuck *f)
{
    _Atomic unsigned ran = 0;
    weft_child children[100];
    struct done frames[100];
    for (unsigned i = 0; i < f->n; i++) {
        frames[i] = (struct done){.ran = &ran};
        weft_fork(&children[i], done, &frames[i]);
    }
    TASK_CHECK(reached(&ran, f->n));
    for (unsigned i = f->n; i-- > 0;)
        TASK_CHECK(weft_join(&children[i]) == 0);
    return 0;
}
static int stuck_waker(struct stuck *f)
{
    _Atomic unsigned ran = 0;
    weft_event first = WEFT_EVENT_INIT;
    weft_task *tasks[100];
    for (unsigned i = 0; i < f->n; i++)
        tasks[i] = weft_create_task(done, .ran = &ran, .first = &first);
    TASK_CHECK(weft_sleep(WEFT_MS(2)) == 0);
    weft_event_set(&first);
    TASK_CHECK(reached(&ran, f->n));
    for (unsigned i = 0; i < f->n; i++)
        TASK_CHECK(weft_await_release(tasks[i]) == 0);
    return 0;
}
/* As many of each; with created tasks that wake in the middle of forked children. */
static int stuck_with_all(struct stuck *f)
{
    _Atomic unsigned ran = 0;
    weft_event first = WEFT_EVENT_INIT;
    weft_task *tasks[200];
    weft_child children[100];
    struct done frames[100];
    for (unsigned i = 0; i < f->n; i++) {
        tasks[2 * i] = weft_create_task(done, .ran = &ran, .first = &first);
        tasks[2 * i + 1] = weft_create_task(done, .ran = &ran);
    }
    TASK_CHECK(weft_yield() == 0);
    for (unsigned i = 0; i < f->n; i++) {
        frames[i] = (struct done){.ran = &ran};
        weft_fork(&children[i], done, &frames[i]);
    }
    weft_event_set(&first);
    TASK_CHECK(reached(&ran, 3 * f->n));
    for (unsigned i = f->n; i-- > 0;)
        TASK_CHECK(weft_join(&children[i]) == 0);
    for (unsigned i = 0; i < 2 * f->n; i++)
        TASK_CHECK(weft_await_release(tasks[i]) == 0);
    return 0;
}

#endif
