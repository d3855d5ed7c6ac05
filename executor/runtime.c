/* SPDX-License-Identifier: Apache-2.0 */
/* executor/runtime.c -- a runtime's start, its root task, its end in numbered steps.
 *
 * start: 1 plan the workers  2 memory  3 driver  4 workers  5 reactor thread  6 root task into the injector.
 * The root task (hidden) runs the user's main coroutine as a task, and when that has ended cancels every other task once, in
 * order of creation, and waits until all have ended; tasks born meanwhile get the same, until there is none.
 * end:   1 no task left: submissions are refused, root done  2 workers and reactor thread leave their loops, joined  3 helper threads joined
 *        4 at_end callback  5 driver  6 stacks and queues  7 descriptors, unless somebody still holds a handle (or the object):
 *        then the last release frees them.
 *
 * Threads: the one that calls weft_run, which sleeps on `done` between; end_guard covers what foreign threads may do at the
 * same time as the end (create, release). */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/thread.h>

#include "executor/blocking.h"
#include "executor/guard.h"
#include "executor/runtime.h"

/* ---- the root task ----------------------------------------------------------------------------------------------- */

struct root {
    WEFT_FRAME;
    struct weft_runtime *rt;
    const weft_frame *main_frame;
    weft_frame *copy_back;
    size_t frame_size;
};

/* Wait for a task to its end, whatever it is asked meanwhile. */
static int outlast(struct weft_task *t)
{
    struct weft__fiber *f = weft__fiber_require("weft_run");
    while (weft__task_state(t) != WEFT__DONE)
        (void)weft__await_suspended(f, t);
    return weft__task_rc(t);
}

static int root(struct root *r)
{
    struct weft_task *main_task = weft__task_create(r->rt, WEFT__KIND_TASK, r->main_frame, NULL);
    if (main_task == NULL)
        return -ENOMEM;
    weft__task_schedule(main_task);
    int rc = outlast(main_task);
    weft__task_set_retrieved(main_task); /* weft_run gives it to its caller */
    memcpy(r->copy_back, main_task->frame, r->frame_size);
    weft__task_unref(main_task);
    bool shut = false;
    for (;;) {
        struct weft_task **left;
        long n = weft__all_tasks(r->rt, &left);
        if (n == -ENOMEM) { /* no room for the list: let the tasks go on until there is */
            (void)weft_sleep(WEFT_MS(10));
            continue;
        }
        for (long i = 0; i < n; i++)
            weft_cancel(left[i]);
        for (long i = 0; i < n; i++) {
            outlast(left[i]);
            weft__task_unref(left[i]);
        }
        free(left);
        if (n == 0 && shut)
            return rc;
        if (n == 0) {
            /* Look once more: who submits now is either refused, or waited for here and then seen. */
            shut = true;
            weft__store_seq_cst(&r->rt->shut, 1);               /* pairs: SHUT */
            while (weft__load_seq_cst(&r->rt->submitters) != 0) /* pairs: SHUT */
                sched_yield();
        }
    }
}
WEFT_CORO(root);

struct root_waiter {
    struct weft__waiter waiter;
    struct weft_runtime *rt;
};

static void root_ended(struct weft__waiter *waiter, struct weft_task *t)
{
    struct weft_runtime *rt = weft__container_of(waiter, struct root_waiter, waiter)->rt;
    (void)t;
    weft__store_seq_cst(&rt->ended, 1); /* pairs: ENDED */
    weft__parker_post(&rt->done);
}

/* ---- all runtimes of the process, for fork ------------------------------------------------------------------------ */

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

/* The child has only the forking thread: no worker runs. What it inherited is inert: handles stay readable, new work is
 * refused, and weft_run starts a fresh runtime. */
static void after_fork_in_child(void)
{
    struct weft__worker *w = weft__worker_self();
    if (w != NULL) /* a worker's thread blocks signals, which the new process must not */
        pthread_sigmask(SIG_SETMASK, &w->rt->caller_mask, NULL);
    for (struct weft_runtime *rt = all_runtimes; rt != NULL; rt = rt->next) {
        if (rt->driver != NULL)
            rt->driver->forked(rt);
        weft__store_relaxed(&rt->ended, 1); /* relaxed: one thread */
    }
    all_runtimes = NULL;
    weft__worker_set_self(NULL);
    weft__thread_runtime_enter(NULL);
    weft__guard_unlock(&all_guard);
}

static void set_up_process(void)
{
    weft__stack_overflow_install(weft__fiber_describe);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void enlist(struct weft_runtime *rt)
{
    pthread_once(&once, set_up_process);
    weft__guard_lock(&all_guard);
    rt->next = all_runtimes;
    all_runtimes = rt;
    weft__guard_unlock(&all_guard);
}

static void delist(struct weft_runtime *rt)
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

/* ---- start -------------------------------------------------------------------------------------------------------- */

static int take_options(struct weft_runtime *rt, const weft_options *options)
{
    if (options != NULL) {
        size_t size = options->size;
        if (size < sizeof options->size || size > sizeof rt->options)
            return -EINVAL;
        memcpy(&rt->options, options, size);
    }
    weft_options *o = &rt->options;
    o->size = sizeof *o;
    if (o->workers > WEFT_MAX_WORKERS || o->pin > WEFT_PIN_CORE || o->order > WEFT_ORDER_FIFO ||
        o->clock > WEFT_CLOCK_VIRTUAL || o->stack_size > WEFT_MAX_STACK || o->slow_task < 0)
        return -EINVAL;
    if (o->max_threads == 0)
        o->max_threads = 64;
    if (o->slow_task == 0)
        o->slow_task = WEFT_MS(100);
    if (o->seed == 0)
        o->seed = (uint64_t)weft__monotonic();
    rt->fifo = o->order == WEFT_ORDER_FIFO;
    rt->inlining = !rt->fifo && o->inlining != WEFT_INLINING_NEVER;
    rt->is_virtual = o->clock == WEFT_CLOCK_VIRTUAL;
    rt->stack_class = weft__stack_class(o->stack_size != 0 ? o->stack_size : WEFT__STACK_DEFAULT);
    return 0;
}

static void free_runtime(struct weft_runtime *rt)
{
    weft__slab_destroy(&rt->tasks);
    free(rt->workers);
    weft__topology_plan_free(rt->plan);
    free(rt);
}

/* Threads inherit a full signal mask: signals are the program's own threads' business (weft_signal_wait). */
static int start_thread(pthread_t *thread, void *(*entry)(void *), void *argument)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = -pthread_create(thread, NULL, entry, argument);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static void stop_workers(struct weft_runtime *rt, unsigned started)
{
    weft__store_seq_cst(&rt->stopping, 1); /* pairs: STOPPING */
    weft__notify_all(rt);
    for (unsigned i = 0; i < started; i++)
        pthread_join(rt->workers[i].thread, NULL);
}

static int start(struct weft_runtime *rt, const weft_options *options, const struct weft__driver *driver)
{
    pthread_sigmask(SIG_SETMASK, NULL, &rt->caller_mask);
    int rc = take_options(rt, options);
    if (rc < 0)
        goto err_runtime;
    rc = weft__topology_plan(rt->options.workers, rt->options.pin, &rt->plan);
    if (rc < 0)
        goto err_runtime;
    rt->worker_count = rt->plan->workers;
    rt->workers = aligned_alloc(WEFT__CACHELINE, rt->worker_count * sizeof *rt->workers);
    rc = -ENOMEM;
    if (rt->workers == NULL)
        goto err_runtime;
    weft__slab_init(&rt->tasks, sizeof(struct weft_task));
    weft__slab_init(&rt->fibers, sizeof(struct weft__fiber));
    weft__stack_arena_init(&rt->arena);
    weft__idle_init(&rt->idle);
    weft__inbox_init(&rt->injector);
    weft__parker_init(&rt->done);
    weft__store_relaxed(&rt->ids, UINT64_MAX); /* relaxed: before the threads start; the root is task 0 */
    unsigned initialised = 0;
    for (; initialised < rt->worker_count; initialised++) {
        if ((rc = weft__worker_init(&rt->workers[initialised], rt, initialised)) < 0)
            goto err_workers;
    }
    rc = -ENOMEM;
    rt->blocking = weft__blocking_create(rt, rt->options.max_threads);
    if (rt->blocking == NULL)
        goto err_workers;
    if (driver != NULL) {
        if ((rc = driver->start(rt)) < 0)
            goto err_blocking;
        rt->driver = driver;
    }
    enlist(rt);
    unsigned started = 0;
    for (; started < rt->worker_count; started++) {
        struct weft__worker *w = &rt->workers[started];
        if ((rc = start_thread(&w->thread, weft__worker_main, w)) < 0)
            goto err_threads;
    }
    if ((rc = start_thread(&rt->reactor_thread, weft__reactor_main, rt)) < 0)
        goto err_threads;
    return 0;
err_threads:
    stop_workers(rt, started);
    delist(rt);
    if (rt->driver != NULL)
        rt->driver->stop(rt);
err_blocking:
    weft__blocking_stop(rt->blocking);
    weft__blocking_destroy(rt->blocking);
err_workers:
    while (initialised-- != 0)
        weft__worker_destroy(&rt->workers[initialised]);
    weft__fiber_destroy_all(rt);
    weft__stack_arena_destroy(&rt->arena);
    weft__slab_destroy(&rt->fibers);
err_runtime:
    free_runtime(rt);
    return rc;
}

/* ---- end ---------------------------------------------------------------------------------------------------------- */

static void count_handle(void *user, void *object)
{
    struct weft_task *t = object;
    if ((weft__load_acquire(&t->word) & WEFT__STATE) != WEFT__FREE) /* pairs: TASK-NEW */
        ++*(uint64_t *)user;
}

/* Entries that were never met again still hold their references: drop them, so that only the program's handles remain. */
static void drop_entries(struct weft_runtime *rt, struct weft__worker *w)
{
    uintptr_t item;
    while ((item = weft__deque_pop_oldest(&w->ready)) != 0) {
        if (!(item & WEFT__ITEM_FIBER))
            weft__task_unref((struct weft_task *)item);
    }
    for (int i = 0; i < 2; i++) {
        struct weft__link *link = weft__inbox_claim(i == 0 ? &w->inbox : &rt->injector);
        while (link != NULL) {
            struct weft__link *next = link->next;
            item = weft__item_of_link(link);
            if (!(item & WEFT__ITEM_FIBER))
                weft__task_unref((struct weft_task *)item);
            link = next;
        }
    }
}

/* After a deadlock: tasks that can never go on end with -EDEADLK for whoever holds a handle; their stacks are not unwound. */
static void give_up(void *user, void *object)
{
    struct weft_task *t = object;
    uint64_t state = weft__load_acquire(&t->word) & WEFT__STATE; /* pairs: TASK-NEW */
    (void)user;
    if (state != WEFT__NEW && state != WEFT__STARTED)
        return;
    weft__task_set_retrieved(t);
    weft__task_finish(
        t, -EDEADLK); /* tells threads in weft_block_on; wakes of fibers go to queues that nobody runs any more */
}

static struct weft_runtime *remains; /* runtimes that handles of tasks given up keep: reachable for leak checkers */

static void end(struct weft_runtime *rt)
{
    stop_workers(rt, rt->worker_count);
    pthread_join(rt->reactor_thread, NULL);
    weft__blocking_stop(rt->blocking);
    if (rt->options.at_end != NULL)
        rt->options.at_end(rt->options.at_end_user, rt);
    bool deadlocked = weft__load_acquire(&rt->deadlocked) != 0; /* pairs: ENDED */
    if (deadlocked)
        weft__slab_each(&rt->tasks, give_up, NULL);
    weft__store_seq_cst(&rt->closing, 1);          /* pairs: VISIT */
    while (weft__load_seq_cst(&rt->visitors) != 0) /* pairs: VISIT */
        sched_yield();
    delist(rt);
    if (rt->driver != NULL)
        rt->driver->stop(rt);
    weft__blocking_destroy(rt->blocking);
    for (unsigned i = 0; i < rt->worker_count; i++) {
        drop_entries(rt, &rt->workers[i]);
        weft__worker_destroy(&rt->workers[i]);
    }
    weft__fiber_destroy_all(rt);
    weft__stack_arena_destroy(&rt->arena);
    weft__slab_destroy(&rt->fibers);
    weft__guard_lock(&rt->end_guard);
    rt->finished = true;
    uint64_t alive = 0;
    weft__slab_each(&rt->tasks, count_handle, &alive);
    rt->handles = alive;
    bool last = alive == 0 && rt->holds == 0;
    weft__guard_unlock(&rt->end_guard);
    if (last) {
        free_runtime(rt);
    } else if (deadlocked) {
        weft__guard_lock(&all_guard);
        rt->next = remains;
        remains = rt;
        weft__guard_unlock(&all_guard);
    }
}

void weft__runtime_handle_freed(struct weft_runtime *rt, struct weft_task *t)
{
    weft__guard_lock(&rt->end_guard);
    weft__slab_put(&rt->tasks, NULL, t);
    bool last = rt->finished && --rt->handles == 0 && rt->holds == 0;
    weft__guard_unlock(&rt->end_guard);
    if (last)
        free_runtime(rt);
}

weft_runtime *weft_runtime_hold(weft_runtime *rt)
{
    weft__guard_lock(&rt->end_guard);
    rt->holds++;
    weft__guard_unlock(&rt->end_guard);
    return rt;
}

void weft_runtime_drop(weft_runtime *rt)
{
    weft__guard_lock(&rt->end_guard);
    rt->holds--;
    bool last = rt->finished && rt->handles == 0 && rt->holds == 0;
    weft__guard_unlock(&rt->end_guard);
    if (last)
        free_runtime(rt);
}

int weft__run(const weft_options *options, weft_frame *frame, size_t frame_size, const struct weft__driver *driver)
{
    if (weft__worker_self() != NULL)
        return -EBUSY;
    struct weft_runtime *rt =
        aligned_alloc(WEFT__CACHELINE, (sizeof *rt + WEFT__CACHELINE - 1) & ~(size_t)(WEFT__CACHELINE - 1));
    if (rt == NULL)
        return -ENOMEM;
    memset(rt, 0, sizeof *rt);
    int rc = start(rt, options, driver);
    if (rc < 0)
        return rc;
    struct root r = {
        .frame_ = {&root_coro_}, .rt = rt, .main_frame = frame, .copy_back = frame, .frame_size = frame_size};
    struct weft_task *t = weft__task_create(rt, WEFT__KIND_TASK, &r.frame_, NULL);
    struct root_waiter waiter = {{.next = NULL, .fire = root_ended}, rt};
    rc = -ENOMEM;
    if (t != NULL) {
        weft__store_relaxed(&t->flags, weft__load_relaxed(&t->flags) | WEFT__TASK_HIDDEN); /* relaxed: not yet queued */
        uint32_t ticket = weft__parker_ticket(&rt->done);
        weft__task_add_waiter(t, &waiter.waiter);
        weft__task_schedule(t);
        weft__store_seq_cst(&rt->begun, 1); /* pairs: BEGUN */
        weft__runtime_work_done(rt);
        while (weft__load_seq_cst(&rt->ended) == 0) { /* pairs: ENDED */
            weft__parker_wait(&rt->done, ticket, WEFT_FOREVER);
            ticket = weft__parker_ticket(&rt->done);
        }
        rc = weft__load_acquire(&rt->deadlocked) != 0 ? -EDEADLK : weft__task_rc(t); /* pairs: ENDED */
    }
    if (t != NULL)
        weft__task_unref(t);
    end(rt); /* joins every thread: nobody knows the waiter and the frame after that */
    return rc;
}
