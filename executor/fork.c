/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fork.c -- all runtimes of the process, for fork().
 *
 * The child of a fork has only the forking thread: no worker runs. What it inherited is inert: handles stay readable, new work is refused,
 * and weft_run starts a fresh runtime. A function that returned there would return into a worker's or a helper's loop: its
 * task is marked, and the process ended with a sentence (fiber.c, blocking.c).
 *
 * What the child must find whole, because it uses it anew, is not forked in the middle of: hwloc, which has locks of its own, the driver's part of the
 * process (signal actions, descriptors), and the process's lists of stacks and runtimes. Who changes those holds forks off, or their guard is taken before.
 *
 * Threads: hold and let_go any; enlist and delist by the thread that starts or ends a runtime, inside; the handlers by whoever forks. */
#include <signal.h>

#include "executor/guard.h"
#include "executor/runtime.h"

static pthread_mutex_t forks = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* recursive: hwloc's plugins may fork */
static struct weft_runtime *all_runtimes;                              /* under `forks` */
static pthread_once_t handlers = PTHREAD_ONCE_INIT, overflow = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&forks);
    weft__stack_fork(true);
    weft__remains_fork(true);
}

static void after_fork(void)
{
    weft__remains_fork(false);
    weft__stack_fork(false);
}

static void after_fork_in_parent(void)
{
    after_fork();
    pthread_mutex_unlock(&forks);
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
    after_fork();
    forks = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* its owner has another number here */
}

static void set_handlers(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* With the first runtime: who only asks what the machine is like keeps its SIGSEGV. */
static void tell_of_overflow(void)
{
    weft__stack_overflow_install(weft__fiber_describe);
}

void weft__fork_hold(void)
{
    pthread_once(&handlers, set_handlers);
    pthread_mutex_lock(&forks);
}

void weft__fork_let_go(void)
{
    pthread_mutex_unlock(&forks);
}

void weft__fork_enlist(struct weft_runtime *rt)
{
    pthread_once(&overflow, tell_of_overflow);
    rt->next = all_runtimes;
    all_runtimes = rt;
}

void weft__fork_delist(struct weft_runtime *rt)
{
    for (struct weft_runtime **at = &all_runtimes; *at != NULL; at = &(*at)->next) {
        if (*at == rt) {
            *at = rt->next;
            break;
        }
    }
}
