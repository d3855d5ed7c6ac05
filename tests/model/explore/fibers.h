/* SPDX-License-Identifier: Apache-2.0 */
/* fibers.h -- fibers for models: the word and the waits are the library's (wait.c, cancel.c, task.c), what is below them is here.
 *
 * Each thread of a model stands for a worker's thread. One that runs a fiber calls fiber_begin; when the fiber suspends, what has to follow is done by the
 * model's thread `next_context`, as by the context that the worker switches to, so that the fiber may go on elsewhere before that has ended. To become
 * ready is to be let go on. Checked: ready only after it has left its context, and once for each time. */
#ifndef WEFT_TESTS_EXPLORE_FIBERS_H
#define WEFT_TESTS_EXPLORE_FIBERS_H

#include <string.h>

#include "executor/parked.h"
#include "executor/runtime.h"
#include "explore.h"

#define MACHINE __attribute__((no_sanitize("thread"))) /* not a part of what is explored */

static struct weft_runtime rt;
static struct weft__worker workers[EXPLORE_THREADS];
static struct weft__fiber fiber;
static struct weft_task task; /* on it */

static struct {
    void (*after)(struct weft__worker *, void *);
    void *argument;
    bool posted, left, ready, over;
    struct explore_sync gone, back;
    unsigned held; /* by whom items are held back: bits of threads */
    bool kept[EXPLORE_THREADS];
} cpu;

MACHINE struct weft_here_ *weft_here_(void)
{
    return (struct weft_here_ *)(void *)&workers[explore_self()];
}

MACHINE static void let_go_on(void)
{
    CHECK(cpu.left);   /* its context is saved */
    CHECK(!cpu.ready); /* once */
    explore_leave(&cpu.back);
    cpu.ready = true;
}
MACHINE void weft__make_ready(struct weft_runtime *runtime, uintptr_t item)
{
    CHECK(runtime == &rt && (item == weft__item_of_fiber(&fiber) || item == weft__item_of_parked(&task)));
    if (cpu.held >> explore_self() & 1)
        cpu.kept[explore_self()] = true;
    else
        let_go_on();
}
MACHINE void weft__hold_begin(struct weft__hold *hold)
{
    hold->outermost = !(cpu.held >> explore_self() & 1);
    cpu.held |= 1u << explore_self();
}
MACHINE void weft__hold_end(struct weft__hold *hold)
{
    if (!hold->outermost)
        return;
    cpu.held &= ~(1u << explore_self());
    if (cpu.kept[explore_self()]) {
        cpu.kept[explore_self()] = false;
        let_go_on();
    }
}

MACHINE static bool is_ready(void *unused)
{
    (void)unused;
    return cpu.ready;
}
MACHINE static bool is_posted(void *unused)
{
    (void)unused;
    return cpu.posted || cpu.over;
}
MACHINE void weft__fiber_switch_away(struct weft__fiber *f, void (*after)(struct weft__worker *, void *),
                                     void *argument)
{
    CHECK(f == &fiber && !cpu.posted && !cpu.ready);
    explore_leave(&cpu.gone);
    cpu.after = after;
    cpu.argument = argument;
    cpu.left = cpu.posted = true;
    explore_block(is_ready, NULL);
    explore_arrive(&cpu.back);
    cpu.left = cpu.ready = false;
}
/* The task on the fiber has returned WEFT_PARK: nothing runs there until its item is picked. */
MACHINE static inline void fiber_parks(void)
{
    cpu.left = true;
    weft__parked_leave(&fiber, &task);
    explore_block(is_ready, NULL);
    explore_arrive(&cpu.back);
    cpu.left = cpu.ready = false;
}
MACHINE static inline void next_context(void)
{
    for (;;) {
        explore_block(is_posted, NULL);
        if (!cpu.posted)
            return;
        explore_arrive(&cpu.gone);
        cpu.posted = false;
        cpu.after(&workers[explore_self()], cpu.argument);
    }
}
MACHINE static inline void fiber_begin(void)
{
    workers[explore_self()].current = &fiber;
    fiber.worker = &workers[explore_self()];
}
MACHINE static inline void fiber_end(void)
{
    cpu.over = true;
}

#ifndef MODEL_TIMERS /* a model that has timers to fire says what these do */
int weft__timers_set(struct weft__timers *timers, struct weft__timer *timer, weft_ns deadline)
{
    (void)timers;
    (void)timer;
    (void)deadline;
    return 0;
}
bool weft__timer_cancel(struct weft__timer *timer)
{
    (void)timer;
    return true;
}
#endif

static inline void task_init(struct weft_task *t, enum weft__kind kind, uint64_t state, uint32_t refs)
{
    t->kind = (uint32_t)kind;
    weft__store_relaxed(&t->side, (uintptr_t)&rt);
    t->frame = (weft_frame *)(void *)t->inline_frame;
    weft__store_relaxed(&t->refs, refs);
    weft__store_relaxed(&t->word, state);
}
/* A fiber that runs `task`. */
static inline void fibers_reset(void)
{
    memset(&rt, 0, sizeof rt);
    memset(workers, 0, sizeof workers);
    memset(&fiber, 0, sizeof fiber);
    memset(&task, 0, sizeof task);
    memset(&cpu, 0, sizeof cpu);
    for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
        workers[i].rt = &rt;
        workers[i].tasks[0].slab = rt.tasks;
    }
    rt.worker_count = EXPLORE_THREADS;
    rt.workers = workers;
    fiber.rt = &rt;
    fiber.kind = WEFT__KIND_FIBER;
    task_init(&task, WEFT__KIND_TASK, WEFT__STARTED, 10);
    fiber.task = &task;
    weft__store_relaxed(&task.fiber, &fiber);
}

#endif
