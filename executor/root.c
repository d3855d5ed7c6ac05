/* SPDX-License-Identifier: Apache-2.0 */
/* executor/root.c -- what runs on a runtime: main coroutines, and the clean-up after them.
 *
 * weft_run: a hidden root task runs the program's main coroutine as a task; when that has ended it cancels every other task once, in order
 * of creation, and waits until all have ended; tasks born meanwhile get the same, until there is none.
 * A runner has no root while it lives: each weft_runner_run submits a main task and sleeps until it has ended; close submits a root without
 * main, which cleans up. Between runs the virtual clock stands.
 *
 * With order=fifo the end keeps asyncio's rounds: the round in which main's end is noticed is finished before the others are cancelled, and
 * the one in which a gather of them would tell that all have ended; what is still queued then is dropped.
 *
 * Threads: the caller's, which sleeps on rt->done; the root runs as a task. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "executor/context_vars.h"
#include "executor/driver.h"
#include "executor/runtime.h"
#include "executor/watch.h"

/* ---- the root task ----------------------------------------------------------------------------------------------- */

struct root {
    WEFT_FRAME;
    struct weft_runtime *rt;
    const weft_frame *main_frame; /* NULL: only clean up */
    weft_frame *copy_back;
    size_t frame_size;
};

/* Wait for a task to its end, whatever it is asked meanwhile. */
static int outlast(struct weft__fiber *f, struct weft_task *t)
{
    while (weft__task_state(t) != WEFT__DONE)
        (void)weft__await_suspended(f, t);
    return weft__task_rc(t);
}

/* A main task that gives back what weft_current_task only lent it must not be gone when its end is looked for: so many references of ours
 * are at stake, and the one that is missing shows at the end. */
#define KEPT (UINT32_C(1) << 16)

static void keep(struct weft_task *t)
{
    weft__fetch_add_relaxed(&t->refs, KEPT); /* relaxed: the caller holds it */
}

static void let_go(struct weft_task *t)
{
    if (weft__fetch_sub_acq_rel(&t->refs, KEPT) <= KEPT) /* pairs: TASK-REFS; there is the handle beside these */
        weft__task_over_released(t);
    weft__task_unref(t);
}

static int run_main(struct root *r, struct weft__fiber *f)
{
    struct weft_task *main_task = weft__task_create(r->rt, WEFT__KIND_TASK, r->main_frame, NULL);
    if (main_task == NULL)
        return -ENOMEM;
    keep(main_task);
    weft__main_begins(r->rt, main_task);
    weft__task_schedule(main_task);
    int rc = weft__main_ended(r->rt, main_task, outlast(f, main_task));
    weft__task_set_retrieved(main_task); /* weft_run gives it to its caller */
    memcpy(r->copy_back, main_task->frame, r->frame_size);
    let_go(main_task);
    return rc;
}

static const struct weft__wait_kind gathering = {.name = "the end of the run"};

#define SOME 32

/* Cancel and outlast every task there is; returns how many there were. When memory is short, only some of them, so that the end of a run
 * needs none: its caller comes again until there are none. */
static long clean_up(struct weft_runtime *rt, struct weft__fiber *f)
{
    struct weft_task **left, *some[SOME];
    long n = weft__all_tasks(rt, &left);
    bool all = n >= 0;
    if (!all) {
        left = some;
        n = weft__some_tasks(rt, some, SOME);
    }
    struct weft__cancel_list list; /* none goes on before the last has been told */
    weft__cancel_list_init(&list);
    for (long i = 0; i < n; i++)
        weft__cancel_add(left[i], &list);
    weft__cancel_run(&list);
    if (rt->fifo && n > 0)
        (void)weft__watch_wait(f, left, (size_t)n, WEFT__UNTIL_ALL, &gathering, WEFT_FOREVER, true, false, false);
    for (long i = 0; i < n; i++)
        outlast(f, left[i]);
    for (long i = 0; i < n; i++) {
        int rc = weft__task_rc(left[i]);
        if (rc < 0 && rc != -ECANCELED) {
            weft__task_set_retrieved(left[i]);
            weft__exception(rt, WEFT_SHUTDOWN_FAILED, left[i], rc);
        }
        weft__task_unref(left[i]);
    }
    if (all)
        free(left);
    return n;
}

/* Look once more: who submits now is either refused, or waited for here and then seen. */
static void refuse_submissions(struct weft_runtime *rt)
{
    weft__store_seq_cst(&rt->shut, 1);               /* pairs: SHUT */
    while (weft__load_seq_cst(&rt->submitters) != 0) /* pairs: SHUT */
        sched_yield();
}

/* No callback begins any more, and those that have begun are over: nobody is left that could create a task. */
static void refuse_callbacks(struct weft_runtime *rt, struct weft__fiber *f)
{
    weft__store_seq_cst(&rt->refused, 1); /* pairs: CALLBACKS */
    for (unsigned i = 0; i < rt->worker_count; i++)
        while (weft__load_seq_cst(&rt->workers[i].callbacks) != 0) /* pairs: CALLBACKS */
            (void)weft__yield(f);
}

#define LAST_TURNS 64
#define PASSES 16 /* so often tasks that callbacks create at the end are looked for before the callbacks are refused */

static int root(struct root *r)
{
    struct weft__fiber *f = weft__fiber_require("weft_run");
    struct weft_runtime *rt = r->rt;
    int rc = r->main_frame != NULL ? run_main(r, f) : 0;
    if (rt->fifo)
        weft__fiber_round_end(f);
    bool any = false, shut = false;
    for (unsigned passes = 1;; passes++) {
        long n = clean_up(rt, f);
        if (n == 0 && shut)
            break;
        if (n > 0 && rt->fifo && !any)
            weft__fiber_round_end(f);
        any |= n > 0;
        if (n == 0) {
            shut = true;
            refuse_submissions(rt);
        }
        if (n == 0 || passes == PASSES) {
            for (int turn = 0; turn < LAST_TURNS && !rt->fifo; turn++)
                (void)weft__yield(f); /* what the last tasks left to be called has its turn, whatever comes first */
            refuse_callbacks(rt, f);
        }
    }
    rt->halted = rt->fifo;
    return rc;
}
WEFT_CORO(root);

/* ---- waiting for the end of a task in the caller's thread -------------------------------------------------------- */

struct end_waiter {
    struct weft__waiter waiter;
    struct weft_runtime *rt;
    bool last; /* the root: when it has ended the runtime has */
    _Atomic(uint32_t) done;
};

static void run_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    struct end_waiter *e = weft__container_of(waiter, struct end_waiter, waiter);
    struct weft_runtime *rt = e->rt;
    if (!e->last && weft__load_acquire(&t->refs) <
                        KEPT + 2) /* pairs: TASK-REFS; the handle, and the runtime's own until this is over */
        weft__task_over_released(t);
    weft__store_seq_cst(&rt->begun, WEFT__MAIN_ENDED); /* pairs: BEGUN */
    if (e->last)
        weft__store_seq_cst(&rt->ended, 1); /* pairs: ENDED */
    weft__store_release(&e->done, 1);       /* pairs: ENDED; the waiter may be gone from here on */
    weft__parker_post(&rt->done);
}

/* Schedule t and sleep until it has ended, or nothing can go on. */
static int run_to_end(struct weft_runtime *rt, struct weft_task *t, bool last)
{
    struct end_waiter e = {{.next = NULL, .fire = run_ended}, rt, last, 0};
    uint32_t ticket = weft__parker_ticket(&rt->done);
    weft__task_add_waiter(t, &e.waiter);
    weft__store_seq_cst(&rt->begun, WEFT__MAIN_NONE); /* pairs: BEGUN */
    weft__task_schedule(t);
    /* It may have ended already: then idleness means nothing. */
    uint32_t none = WEFT__MAIN_NONE;
    (void)weft__cas_seq_cst(&rt->begun, &none, WEFT__MAIN_QUEUED); /* pairs: BEGUN */
    weft__runtime_work_done(rt);                                   /* what it found to stand still goes on */
    while (weft__load_acquire(&e.done) == 0 && weft__load_acquire(&rt->deadlocked) == 0) { /* pairs: ENDED */
        weft__parker_wait(&rt->done, ticket, WEFT_FOREVER);
        ticket = weft__parker_ticket(&rt->done);
    }
    /* Nothing runs, unless a thread from outside has just set something going: then it may be telling the waiter. */
    if (weft__load_acquire(&e.done) == 0 && weft__task_remove_waiter(t, &e.waiter)) { /* pairs: ENDED */
        weft__deadlocked(rt);
        return -EDEADLK;
    }
    while (weft__load_acquire(&e.done) == 0) /* pairs: ENDED */
        sched_yield();
    return weft__task_rc(t);
}

static struct weft_task *create_root(struct weft_runtime *rt, const struct root *r)
{
    struct weft_task *t = weft__task_create(rt, WEFT__KIND_TASK, &r->frame_, NULL);
    if (t != NULL)
        weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_HIDDEN); /* pairs: TASK-REFS; not yet queued */
    return t;
}

int weft__run(const weft_options *options, weft_frame *frame, size_t frame_size, const struct weft__driver *driver)
{
    if (weft__worker_self() != NULL)
        return -EBUSY;
    struct weft_runtime *rt;
    int rc = weft__runtime_start(&rt, options, driver);
    if (rc < 0)
        return rc;
    struct root r = {
        .frame_ = {&root_coro_}, .rt = rt, .main_frame = frame, .copy_back = frame, .frame_size = frame_size};
    struct weft_task *t = create_root(rt, &r);
    rc = t != NULL ? run_to_end(rt, t, true) : -ENOMEM;
    if (t != NULL)
        weft__task_unref(t);
    weft__runtime_end(rt); /* joins every thread: nobody knows the frame after that */
    return rc;
}

/* ---- a runner ---------------------------------------------------------------------------------------------------- */

struct weft_runner {
    struct weft_runtime *rt;
    struct weft_context *context; /* of all main tasks */
    _Atomic(uint32_t) busy;       /* RUNNER-BUSY: a run is under way; who sets it has seen all the last one did */
};

int weft__runner_open(weft_runner **out, const weft_options *options, const struct weft__driver *driver)
{
    *out = NULL;
    if (weft__worker_self() != NULL)
        return -EBUSY;
    struct weft_runner *r = calloc(1, sizeof *r);
    int rc = -ENOMEM;
    if (r == NULL || (r->context = weft__context_new()) == NULL)
        goto err;
    rc = weft__runtime_start(&r->rt, options, driver);
    if (rc < 0)
        goto err;
    weft__store_relaxed(&r->rt->ids,
                        0); /* relaxed: nobody else knows it; there is no root: the first main task is task 1 */
    *out = r;
    return 0;
err:
    if (r != NULL)
        weft_context_release(r->context);
    free(r);
    return rc;
}

weft_runtime *weft_runner_runtime(weft_runner *r)
{
    return r->rt;
}

/* In the child of a fork: no thread of it is there (fork.c). */
static bool inert(const struct weft_runner *r)
{
    return weft__load_acquire(&r->rt->deadlocked) == 0 && weft__load_acquire(&r->rt->ended) != 0; /* pairs: ENDED */
}

int weft_runner_run_(weft_runner *r, weft_frame *frame, size_t frame_size)
{
    if (weft__worker_self() != NULL || weft__exchange_acq_rel(&r->busy, 1) != 0) /* pairs: RUNNER-BUSY (itself) */
        return -EBUSY;
    weft_task_options options = {.size = sizeof options, .context = r->context};
    int rc = -ENOMEM;
    if (inert(r))
        rc = -ESHUTDOWN;
    else if (weft__load_acquire(&r->rt->deadlocked) != 0) /* pairs: ENDED */
        rc = -EDEADLK;
    struct weft_task *t = rc == -ENOMEM ? weft__task_create(r->rt, WEFT__KIND_TASK, frame, &options) : NULL;
    if (t != NULL) {
        keep(t);
        weft__main_begins(r->rt, t);
        rc = run_to_end(r->rt, t, false);
        weft__task_set_retrieved(t);
        if (rc != -EDEADLK || weft__task_state(t) == WEFT__DONE)
            memcpy(frame, t->frame, frame_size);
        rc = weft__main_ended(r->rt, t, rc);
        let_go(t);
    }
    weft__store_release(&r->busy, 0); /* pairs: RUNNER-BUSY */
    return rc;
}

int weft_runner_close(weft_runner *r)
{
    if (r == NULL)
        return 0;
    if (weft__worker_self() != NULL || weft__thread_runtime() == r->rt || /* the end waits for the helper threads */
        weft__exchange_acq_rel(&r->busy, 1) != 0)                         /* pairs: RUNNER-BUSY (itself) */
        return -EBUSY;
    if (!inert(r)) {
        struct root root_frame = {.frame_ = {&root_coro_}, .rt = r->rt};
        struct weft_task *t =
            weft__load_acquire(&r->rt->deadlocked) == 0 ? create_root(r->rt, &root_frame) : NULL; /* pairs: ENDED */
        if (t != NULL) {
            run_to_end(r->rt, t, true);
            weft__task_unref(t);
        }
        weft__runtime_end(r->rt);
    }
    weft_context_release(r->context);
    free(r);
    return 0;
}
