/* SPDX-License-Identifier: Apache-2.0 */
/* executor/runtime.c -- a runtime's start and its end, in numbered steps. What runs in between is root.c's.
 *
 * start: 1 plan the workers  2 memory  3 driver  4 workers  5 reactor thread.
 * end:   1 (root.c) no task left, submissions are refused  2 workers and reactor thread leave their loops, joined  3 helper threads joined
 *        4 at_end callback  5 driver  6 callbacks that wait, stacks and queues  7 descriptors, unless somebody still holds a handle (or the
 *        object): then the last release frees them.
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
#include "executor/membarrier.h"
#include "executor/numa.h"
#include "executor/runtime.h"

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
        o->clock > WEFT_CLOCK_VIRTUAL || o->inlining > WEFT_INLINING_ALWAYS || o->sched > WEFT_SCHED_SEEDED ||
        o->stack_size > WEFT_MAX_STACK || o->slow_task < 0 || o->handle_sigint > 1 || o->stealing > WEFT_STEAL_RANDOM ||
        o->spread > WEFT_SPREAD_COMPACT)
        return -EINVAL;
    if (o->max_threads == 0)
        o->max_threads = 64;
    if (o->slow_task == 0)
        o->slow_task = WEFT_MS(100);
    if (o->seed == 0)
        o->seed = (uint64_t)weft__monotonic();
    weft__strangers_init(&rt->strangers, WEFT__STRANGERS_KEEP, 0);
    weft__store_relaxed(&rt->light, WEFT__SPARE_LIGHT); /* relaxed: before the threads */
    rt->inlining = o->order != WEFT_ORDER_FIFO && o->inlining != WEFT_INLINING_NEVER;
    if (o->sched == WEFT_SCHED_SEEDED) {
        o->workers = 1;
        o->clock = WEFT_CLOCK_VIRTUAL;
        o->order = WEFT_ORDER_DEFAULT;
    }
    rt->is_virtual = o->clock == WEFT_CLOCK_VIRTUAL;
    rt->stack_class = weft__stack_class(o->stack_size != 0 ? o->stack_size : WEFT__STACK_DEFAULT);
    return 0;
}

static void free_runtime(struct weft_runtime *rt)
{
    for (unsigned i = 0; i < WEFT__ROOMS; i++)
        weft__slab_destroy(&rt->tasks[i]);
    weft__slab_destroy(&rt->blocks);
    weft__slab_destroy(&rt->large_blocks);
    weft__slab_destroy(&rt->sleeps);
    weft__seeded_destroy(rt->seeded);
    if (rt->watches)
        weft__fetch_add_relaxed(&weft__watched_runtimes, (uint32_t)-1); /* relaxed: a switch */
    weft__numa_free(rt->workers, rt->worker_count * sizeof *rt->workers, rt->bound ? 0 : -1);
    free(rt->pools);
    weft_plan_release(rt->plan);
    weft__pinned_destroy(rt);
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

/* In one step for whoever forks: a child gives back what the driver has of the process, or the driver has. */
static void stop_driver(struct weft_runtime *rt)
{
    weft__fork_hold();
    weft__fork_delist(rt);
    if (rt->driver != NULL)
        rt->driver->stop(rt);
    weft__fork_let_go();
}

static void stop_workers(struct weft_runtime *rt, unsigned started)
{
    weft__store_seq_cst(&rt->stopping, 1); /* pairs: STOPPING */
    weft__notify_all(rt);
    for (unsigned i = 0; i < started; i++)
        pthread_join(rt->workers[i].thread, NULL);
}

/* Each worker's own structure lies on its node. */
static bool allocate_workers(struct weft_runtime *rt)
{
    size_t size = rt->worker_count * sizeof *rt->workers;
    rt->workers = rt->bound ? weft__numa_alloc(size, 0) : aligned_alloc(WEFT__WORKER_PAGE, size);
    rt->pools = calloc(rt->homes, sizeof *rt->pools);
    for (unsigned i = 0; rt->bound && rt->workers != NULL && i < rt->worker_count; i++)
        weft__numa_bind(&rt->workers[i], sizeof rt->workers[i], rt->plan->worker[i].node);
    return rt->workers != NULL && rt->pools != NULL;
}

static int make_slabs(struct weft_runtime *rt)
{
    unsigned parts = rt->bound && rt->plan->homes != 0 ? rt->homes : 0;
    int rc = 0;
    for (unsigned i = 0; i < WEFT__ROOMS && rc == 0; i++)
        rc =
            weft__slab_init_nodes(&rt->tasks[i], sizeof(struct weft_task) + i * WEFT__ROOM_STEP, parts, rt->plan->home);
    if (rc == 0)
        rc = weft__slab_init_nodes(&rt->blocks, WEFT__BLOCK, parts, rt->plan->home);
    return rc == 0 ? weft__slab_init_nodes(&rt->large_blocks, WEFT__LARGE_BLOCK, parts, rt->plan->home) : rc;
}

static int start(struct weft_runtime *rt, const weft_options *options, const struct weft__driver *driver)
{
    pthread_sigmask(SIG_SETMASK, NULL, &rt->caller_mask);
    unsigned wished =
        options != NULL && options->size >= sizeof options->size + sizeof options->workers ? options->workers : 0;
    int rc = take_options(rt, options);
    if (rc < 0)
        goto err_runtime;
    rc = weft__topology_plan("", &rt->options, &rt->plan);
    rt->options.cpus = NULL; /* the program's, and read */
    if (rc < 0)
        goto err_runtime;
    rt->worker_count = rt->plan->workers;
    rt->fifo = rt->options.order == WEFT_ORDER_FIFO && rt->worker_count == 1; /* several have no common order */
    weft__store_relaxed(&rt->active, rt->worker_count);                       /* relaxed: before the threads start */
    rt->followed = weft__monotonic();
    rt->follows =
        wished == 0 && rt->options.cpu_count == 0 && !rt->is_virtual && rt->worker_count > 1 && rt->plan->machine.here;
    rt->in_turn = rt->fifo || rt->options.sched == WEFT_SCHED_SEEDED;
    rt->bound = rt->plan->machine.here && rt->plan->machine.nodes > 1;
    rt->homes = rt->bound && rt->plan->homes > 1 ? rt->plan->homes : 1;
    rc = -ENOMEM;
    if (!allocate_workers(rt))
        goto err_runtime;
    if (weft__pinned_init(rt) < 0 || make_slabs(rt) < 0)
        goto err_runtime;
    if (rt->options.sched == WEFT_SCHED_SEEDED && wished > rt->worker_count)
        rt->pinned.named_workers = wished;
    if (rt->options.sched == WEFT_SCHED_SEEDED && (rt->seeded = weft__seeded_create(rt->options.seed)) == NULL)
        goto err_runtime;
    rt->watches = rt->options.debug != 0;
    if (rt->watches)
        weft__fetch_add_relaxed(&weft__watched_runtimes, 1); /* relaxed: a switch, before the threads start */
    weft__slab_init(&rt->sleeps, WEFT__SLEEP_PARK);
    weft__stack_arena_init(&rt->arena);
    weft__idle_init(&rt->idle);
    weft__inbox_init(&rt->injector);
    weft__parker_init(&rt->done);
    weft__store_relaxed(&rt->ids, UINT64_MAX); /* relaxed: before the threads start; the root is task 0 */
    rt->sole = weft__sole_comes(rt->worker_count);
    unsigned initialised = 0;
    for (; initialised < rt->worker_count; initialised++) {
        if ((rc = weft__worker_init(&rt->workers[initialised], rt, initialised)) < 0)
            goto err_workers;
    }
    rc = -ENOMEM;
    rt->blocking = weft__blocking_create(rt, rt->options.max_threads);
    if (rt->blocking == NULL)
        goto err_workers;
    weft__fork_hold();
    if (driver != NULL && (rc = driver->start(rt)) < 0) {
        weft__fork_let_go();
        goto err_blocking;
    }
    rt->driver = driver;
    weft__fork_enlist(rt);
    weft__fork_let_go();
    unsigned started = 0;
    for (; started < rt->worker_count; started++) {
        struct weft__worker *w = &rt->workers[started];
        if ((rc = start_thread(&w->thread, weft__worker_main, w)) < 0)
            goto err_threads;
    }
    if ((rc = start_thread(&rt->reactor_thread, weft__reactor_main, rt)) < 0)
        goto err_threads;
    if (rt->sole)
        weft__sole_settled();
    return 0;
err_threads:
    stop_workers(rt, started);
    stop_driver(rt);
err_blocking:
    weft__blocking_stop(rt->blocking);
    weft__blocking_destroy(rt->blocking);
err_workers:
    weft__sole_goes(rt->sole);
    while (initialised-- != 0)
        weft__worker_destroy(&rt->workers[initialised]);
    weft__fiber_destroy_all(rt);
    weft__stack_arena_destroy(&rt->arena);
err_runtime:
    free_runtime(rt);
    return rc;
}

int weft__runtime_start(struct weft_runtime **out, const weft_options *options, const struct weft__driver *driver)
{
    struct weft_runtime *rt =
        aligned_alloc(WEFT__CACHELINE, (sizeof *rt + WEFT__CACHELINE - 1) & ~(size_t)(WEFT__CACHELINE - 1));
    if (rt == NULL)
        return -ENOMEM;
    memset(rt, 0, sizeof *rt);
    int rc = start(rt, options, driver); /* frees it on error */
    *out = rc < 0 ? NULL : rt;
    return rc;
}

/* ---- end ---------------------------------------------------------------------------------------------------------- */

static void count_handle(void *user, void *object)
{
    struct weft_task *t = object;
    if ((weft__load_acquire(&t->word) & WEFT__STATE) != WEFT__FREE) /* pairs: TASK-NEW */
        ++*(uint64_t *)user;
}

static void drop_entry(uintptr_t item)
{
    struct weft_task *t = weft__item_task(item);
    if (item & WEFT__ITEM_WAITED) /* given up, with the references that they had */
        return;
    if (t->kind == WEFT__KIND_ENTRY) {
        /* It frees what it holds; what it wakes nobody runs. */
        ((struct weft__entry *)item)->run((struct weft__entry *)item);
        return;
    }
    if (t->kind == WEFT__KIND_CALLBACK) {
        weft__callback_drop(t);
        return;
    }
    if (t->kind == WEFT__KIND_TASK)
        weft__strand_pass(weft__task_rt(t), weft__task_strand(t)); /* the line behind it comes through the injector */
    weft__task_unref(t);
}

/* Entries that were never met again still hold their references: drop them, so that only the program's handles remain. */
static void drop_entries(struct weft_runtime *rt, struct weft__worker *w)
{
    uintptr_t item;
    while (rt->seeded != NULL && (item = weft__seeded_take(rt->seeded)) != 0)
        drop_entry(item);
    while ((item = weft__ready_pop(&w->ready)) != 0 || (item = weft__pinned_take(w)) != 0)
        drop_entry(item);
    for (int i = 0; i < 2 || !weft__inbox_empty(&rt->injector); i++) {
        struct weft__link *link = weft__inbox_claim(i == 0 ? &w->inbox : &rt->injector);
        while (link != NULL) {
            struct weft__link *next = link->next; /* an entry may add to the injector */
            drop_entry(weft__item_of_link(link));
            link = next;
        }
    }
}

/* Call visit for every descriptor that somebody holds; foreign threads may be giving theirs back. */
struct each_held {
    void (*visit)(struct weft_task *t);
};

static void visit_held(void *user, void *object)
{
    struct weft_task *t = object;
    if (!weft__task_try_ref(t))
        return;
    ((struct each_held *)user)->visit(t);
    weft__task_unref(t);
}

void weft__each_task(struct weft_runtime *rt, void (*visit)(void *user, void *object), void *user)
{
    for (unsigned i = 0; i < WEFT__ROOMS; i++)
        weft__slab_each(&rt->tasks[i], visit, user);
}

static void each_held(struct weft_runtime *rt, void (*visit)(struct weft_task *t))
{
    struct each_held each = {visit};
    weft__each_task(rt, visit_held, &each);
}

/* After a deadlock: tasks that can never go on end with -EDEADLK for whoever holds a handle; their stacks are not unwound. */
static void give_up(struct weft_task *t)
{
    uint64_t state = weft__load_acquire(&t->word) & WEFT__STATE; /* pairs: TASK-NEW */
    if (state != WEFT__NEW && state != WEFT__STARTED)
        return;
    weft__task_set_retrieved(t);
    /* Tells threads in weft_block_on; wakes of fibers go to queues that nobody runs any more. */
    if (t->kind == WEFT__KIND_FUTURE)
        weft__future_finish(t, -EDEADLK, NULL, true);
    else if (weft__task_visible(t))
        weft__task_finish(t, -EDEADLK);
}

/* Nobody sets a future any more: what waits for it (a gather) lets go. */
static void end_future(struct weft_task *t)
{
    if (t->kind == WEFT__KIND_FUTURE && t->future == NULL && weft__task_state(t) == WEFT__STARTED)
        weft__future_finish(t, -ECANCELED, NULL, true);
}

/* Runtimes that handles of tasks given up keep: reachable for leak checkers. */
static struct weft_runtime *remains;
static uint32_t remains_guard;

void weft__remains_fork(bool before)
{
    if (before)
        weft__guard_lock(&remains_guard);
    else
        weft__guard_unlock(&remains_guard);
}

void weft__runtime_end(struct weft_runtime *rt)
{
    stop_workers(rt, rt->worker_count);
    pthread_join(rt->reactor_thread, NULL);
    weft__sole_goes(rt->sole);
    weft__blocking_stop(rt->blocking);
    if (rt->options.at_end != NULL) {
        struct weft_runtime *outer = weft__thread_runtime();
        weft__thread_runtime_enter(rt); /* weft_now() is the run's */
        rt->options.at_end(rt->options.at_end_user, rt);
        weft__thread_runtime_enter(outer);
    }
    bool deadlocked = weft__load_acquire(&rt->deadlocked) != 0; /* pairs: ENDED */
    if (deadlocked)
        each_held(rt, give_up);
    weft__store_seq_cst(&rt->closing, 1);          /* pairs: VISIT */
    while (weft__load_seq_cst(&rt->visitors) != 0) /* pairs: VISIT */
        sched_yield();
    stop_driver(rt);
    weft__blocking_destroy(rt->blocking);
    each_held(rt, weft__callback_end_of_run);
    each_held(rt, end_future);
    for (unsigned i = 0; i < rt->worker_count; i++) {
        drop_entries(rt, &rt->workers[i]);
        weft__worker_destroy(&rt->workers[i]);
    }
    weft__fiber_destroy_all(rt);
    weft__stack_arena_destroy(&rt->arena);
    weft__guard_lock(&rt->end_guard);
    rt->finished = true;
    uint64_t alive = 0;
    weft__each_task(rt, count_handle, &alive);
    rt->handles = alive;
    bool last = alive == 0 && rt->holds == 0;
    weft__guard_unlock(&rt->end_guard);
    if (last) {
        free_runtime(rt);
    } else if (deadlocked) {
        weft__guard_lock(&remains_guard);
        rt->next = remains;
        remains = rt;
        weft__guard_unlock(&remains_guard);
    }
}

void weft__runtime_handle_freed(struct weft_runtime *rt, struct weft_task *t)
{
    weft__guard_lock(&rt->end_guard);
    weft__store_release(&t->word, WEFT__FREE); /* pairs: TASK-NEW; under the guard: the end counts it either way */
    weft__slab_put(&rt->tasks[weft__task_size(t)], NULL, t);
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
