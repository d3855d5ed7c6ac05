/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fork.c -- all runtimes of the process, for fork().
 *
 * The child of a fork has only the forking thread: no worker runs. What it inherited is inert: handles stay readable, new work is refused,
 * and weft_run starts a fresh runtime. A function that returned there would return into a worker's or a helper's loop: its
 * task is marked, and the process ended with a sentence (fiber.c, blocking.c).
 *
 * Threads: enlist and delist by the thread that starts or ends a runtime; the handlers by whoever forks. */
#include <signal.h>

#include "executor/guard.h"
#include "executor/runtime.h"

static uint32_t all_guard;
static struct weft_runtime *all_runtimes;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    weft__guard_lock(&all_guard);
}

static void after_fork_in_parent(void)
{
    weft__guard_unlock(&all_guard);
}

static void after_fork_in_child(void)
{
    struct weft__worker *w = weft__worker_self();
    if (w != NULL) { /* a worker's thread blocks signals, which the new process must not */
        pthread_sigmask(SIG_SETMASK, &w->rt->caller_mask, NULL);
        struct weft_task *t = w->current != NULL ? w->current->task : NULL;
        for (; t != NULL; t = t->below) {
            uint16_t open = weft__load_relaxed(&t->open);                        /* relaxed: one thread */
            weft__store_relaxed(&t->open, (uint16_t)(open | WEFT__TASK_FORKED)); /* relaxed: one thread */
        }
    }
    for (struct weft_runtime *rt = all_runtimes; rt != NULL; rt = rt->next) {
        if (rt->driver != NULL)
            rt->driver->forked(rt);
        weft__store_relaxed(&rt->ended, 1); /* relaxed: one thread */
    }
    all_runtimes = NULL;
    weft__worker_set_self(NULL);
    weft__sole_forked();
    weft__thread_runtime_enter(NULL);
    weft__guard_unlock(&all_guard);
}

static void set_up_process(void)
{
    weft__stack_overflow_install(weft__fiber_describe);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void weft__fork_enlist(struct weft_runtime *rt)
{
    pthread_once(&once, set_up_process);
    weft__guard_lock(&all_guard);
    rt->next = all_runtimes;
    all_runtimes = rt;
    weft__guard_unlock(&all_guard);
}

void weft__fork_delist(struct weft_runtime *rt)
{
    weft__guard_lock(&all_guard);
    for (struct weft_runtime **at = &all_runtimes; *at != NULL; at = &(*at)->next) {
        if (*at == rt) {
            *at = rt->next;
            break;
        }
    }
    weft__guard_unlock(&all_guard);
}
