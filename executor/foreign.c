/* SPDX-License-Identifier: Apache-2.0 */
/* executor/foreign.c -- the border with threads that are no workers: submit, block_on, and which runtime a thread is in. */
#include <errno.h>
#include <stdlib.h>

#include <weft/thread.h>

#include "executor/parker.h"
#include "executor/runtime.h"

static _Thread_local struct weft_runtime *thread_runtime; /* of a helper thread */

WEFT__NOINLINE void weft__thread_runtime_enter(struct weft_runtime *rt)
{
    thread_runtime = rt;
}

WEFT__NOINLINE struct weft_runtime *weft__thread_runtime(void)
{
    __asm__ volatile("" ::: "memory");
    return thread_runtime;
}

weft_runtime *weft_runtime_current(void)
{
    struct weft__worker *w = weft__worker_self();
    return w != NULL ? w->rt : weft__thread_runtime();
}

unsigned weft_runtime_workers(const weft_runtime *rt)
{
    return rt->worker_count;
}

void weft__runtime_set_io(struct weft_runtime *rt, void *io)
{
    rt->io = io;
}

void *weft__runtime_io(struct weft_runtime *rt)
{
    return rt->io;
}

struct weft__blocking *weft__runtime_blocking(struct weft_runtime *rt)
{
    return rt->blocking;
}

bool weft__submission_begin(struct weft_runtime *rt)
{
    weft__fetch_add_seq_cst(&rt->submitters, 1);                                   /* pairs: SHUT */
    if (weft__load_seq_cst(&rt->shut) == 0 && weft__load_seq_cst(&rt->ended) == 0) /* pairs: SHUT, ENDED */
        return true;
    weft__submission_end(rt);
    return false;
}

void weft__submission_end(struct weft_runtime *rt)
{
    weft__fetch_sub_seq_cst(&rt->submitters, 1); /* pairs: SHUT */
}

weft_task *weft_submit_(weft_runtime *rt, const weft_frame *frame)
{
    if (!weft__submission_begin(rt))
        return NULL;
    struct weft_task *t = weft__task_create(rt, WEFT__KIND_TASK, frame, NULL);
    if (t != NULL)
        weft__task_schedule(t);
    weft__submission_end(rt);
    return t;
}

struct thread_waiter {
    struct weft__waiter waiter;
    struct weft__parker parker;
    _Atomic(uint32_t)
        done; /* the last thing fire touches is the parker, so the waiter is heap memory shared by count */
    _Atomic(uint32_t) refs;
};

static void drop(struct thread_waiter *tw, uint32_t n)
{
    if (weft__fetch_sub_acq_rel(&tw->refs, n) == n) /* pairs: THREAD-WAITER */
        free(tw);
}

static void tell_thread(struct weft__waiter *waiter, struct weft_task *t)
{
    struct thread_waiter *tw = weft__container_of(waiter, struct thread_waiter, waiter);
    (void)t;
    weft__store_release(&tw->done, 1); /* pairs: THREAD-WAITER */
    weft__parker_post(&tw->parker);
    drop(tw, 1);
}

int weft_block_on(weft_task *t, weft_ns timeout)
{
    if (t == NULL)
        return -ENOMEM;
    if (weft__fiber_self() != NULL)
        return -EDEADLK;
    if (weft__task_state(t) == WEFT__DONE)
        return weft__task_take_rc(t);
    struct thread_waiter *tw = aligned_alloc(WEFT__CACHELINE, sizeof *tw);
    if (tw == NULL)
        return -ENOMEM;
    tw->waiter.fire = tell_thread;
    weft__parker_init(&tw->parker);
    weft__store_relaxed(&tw->done, 0); /* relaxed: add_waiter publishes */
    weft__store_relaxed(&tw->refs, 2); /* relaxed: add_waiter publishes */
    weft_ns now = weft__monotonic();
    weft_ns deadline = timeout >= WEFT_FOREVER - now ? WEFT_FOREVER : now + (timeout > 0 ? timeout : 0);
    int rc = 0;
    uint32_t mine = 1;
    if (!weft__task_add_waiter(t, &tw->waiter)) {
        mine = 2; /* fire will not be called */
    } else {
        for (;;) {
            uint32_t ticket = weft__parker_ticket(&tw->parker);
            if (weft__load_acquire(&tw->done) != 0) /* pairs: THREAD-WAITER */
                break;
            if (!weft__parker_wait(&tw->parker, ticket, deadline) && deadline != WEFT_FOREVER &&
                weft__monotonic() >= deadline) {
                if (weft__task_remove_waiter(t, &tw->waiter)) {
                    mine = 2; /* fire's too */
                    rc = -ETIMEDOUT;
                }
                break;
            }
        }
    }
    drop(tw, mine);
    return rc < 0 ? rc : weft__task_take_rc(t);
}
