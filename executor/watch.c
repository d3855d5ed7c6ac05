/* SPDX-License-Identifier: Apache-2.0 */
/* executor/watch.c -- waiting for several tasks: what gather, wait and shield are made of.
 *
 * A watch is a block on the heap with a waiter at each task; when its rule is met it wakes a fiber or ends a future. It lives on the heap
 * and is counted because a task may be telling its waiter (fire) while the fiber, woken by another one or cancelled, has gone on.
 *
 * With order=fifo each waiter first puts an entry into the ready queue, as asyncio does with its callbacks, and the task arrives when that
 * is picked: a round later.
 *
 * Invariants
 *   1. refs = 1 for the one who created it + 1 for each waiter that was added and has neither arrived nor been taken out. Who drops the
 *      last one frees the block, and gives the tasks back.
 *   2. left falls once per task, in arrive; a verdict is written before its task's share of left goes: so whoever sees left == 0 sees
 *      the verdict too.
 *   3. A fiber reads the outcome only after a wake that was given by arrive; a cancelled one reads nothing.
 *
 * A task given twice has two waiters. They fire together, so nothing but the count of failures has to know.
 *
 * Threads: create, begin, leave: the running task's. fire and entries: whichever thread ends the task. */
#include "executor/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/runtime.h"

/* Watches that this thread has to free. Giving a task back may free a gather's future, which drops the next watch: a nest of them must
 * not go down by recursion, stacks are small. */
struct unused {
    bool freeing;
    struct weft__watch *first;
};
static _Thread_local struct unused unused;

static WEFT__NOINLINE struct unused *own_unused(void)
{
    __asm__ volatile("" ::: "memory"); /* see weft__worker_self */
    return &unused;
}

void weft__watch_drop(struct weft__watch *w)
{
    if (weft__fetch_sub_acq_rel(&w->refs, (size_t)1) != 1) /* pairs: WATCH-REFS (itself) */
        return;
    struct unused *u = own_unused();
    w->next_unused = u->first;
    u->first = w;
    if (u->freeing)
        return;
    u->freeing = true;
    while ((w = u->first) != NULL) {
        u->first = w->next_unused;
        for (size_t i = 0; i < w->count; i++)
            if (w->nodes[i].task != NULL)
                weft__task_unref(w->nodes[i].task);
        free(w);
    }
    u->freeing = false;
}

void weft__watch_discard(struct weft__watch *w)
{
    weft__store_relaxed(&w->refs, (size_t)1); /* relaxed: nobody else knows it */
    weft__watch_drop(w);
}

static void arrive(struct weft__watch *w, struct weft_task *t, int rc)
{
    bool decides = w->rule == WEFT__UNTIL_ANY;
    int32_t none = 0;
    if (rc < 0 && (w->rule == WEFT__UNTIL_FAILURE || (w->rule == WEFT__UNTIL_ERROR && rc != -ECANCELED)))
        decides = weft__cas_acq_rel(&w->verdict, &none, rc); /* pairs: WATCH-VERDICT; of several one is the first */
    bool last = weft__fetch_sub_acq_rel(&w->left, (size_t)1) == 1; /* pairs: WATCH-LEFT */
    if (last && weft__load_acquire(&w->verdict) == 0)              /* pairs: WATCH-VERDICT */
        decides = true;
    if (decides || last)
        w->met(w, t, decides, last);
}

static void node_runs(struct weft__entry *entry)
{
    struct weft__watch_node *node = weft__container_of(entry, struct weft__watch_node, entry);
    arrive(node->watch, node->task, weft__watch_outcome(node->task));
    weft__watch_drop(node->watch);
}

static void node_fires(struct weft__waiter *waiter, struct weft_task *t)
{
    (void)t;
    struct weft__watch_node *node = weft__container_of(waiter, struct weft__watch_node, waiter);
    if (weft__unlikely(node->watch->hops))
        weft__make_ready(node->watch->rt, weft__item_of_entry(&node->entry));
    else
        node_runs(&node->entry);
}

struct weft__watch *weft__watch_create(struct weft_runtime *rt, weft_task *const tasks[], size_t n,
                                       enum weft__watch_rule rule)
{
    struct weft__watch *w = malloc(sizeof *w + n * sizeof w->nodes[0]);
    if (w == NULL)
        return NULL;
    weft__store_relaxed(&w->refs, n + 1);   /* relaxed: not shared yet, as the next ones */
    weft__store_relaxed(&w->left, n);       /* relaxed: see refs */
    weft__store_relaxed(&w->verdict, 0);    /* relaxed: see refs */
    weft__store_relaxed(&w->requested, 0U); /* relaxed: see refs */
    w->rt = rt;
    w->rule = rule;
    w->hops = rt->fifo;
    w->fiber = NULL;
    w->future = NULL;
    w->overridden = false;
    w->count = n;
    for (size_t i = 0; i < n; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        node->waiter.fire = node_fires;
        node->entry = (struct weft__entry){.kind = WEFT__KIND_ENTRY, .run = node_runs};
        node->watch = w;
        node->task = weft_ref(tasks[i]);
    }
    return w;
}

void weft__watch_begin(struct weft__watch *w, bool at_once)
{
    /* asyncio's order: first the ones to wait for, then those that have ended. */
    for (size_t i = 0; i < w->count; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        node->ended = node->task == NULL || !weft__task_add_waiter(node->task, &node->waiter);
    }
    bool turns = w->hops && !at_once;
    for (size_t i = 0, n = w->count; i < n; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        if (node->ended && turns && node->task != NULL)
            weft__make_ready(w->rt, weft__item_of_entry(&node->entry)); /* the task may have been another's */
        else if (node->ended)
            node_runs(&node->entry);
    }
}

void weft__watch_leave(struct weft__watch *w)
{
    if (weft__load_acquire(&w->left) != 0) { /* pairs: WATCH-LEFT */
        for (size_t i = 0; i < w->count; i++) {
            struct weft__watch_node *node = &w->nodes[i];
            if (node->task != NULL && weft__task_remove_waiter(node->task, &node->waiter))
                weft__watch_drop(w);
        }
    }
    weft__watch_drop(w);
}

static void wake_fiber(struct weft__watch *w, struct weft_task *t, bool decides, bool last)
{
    (void)t, (void)decides, (void)last;
    weft__wake(w->fiber, w->ticket, WEFT__WOKEN);
}

struct weft__watched weft__watch_wait(struct weft__fiber *f, weft_task *const tasks[], size_t n,
                                      enum weft__watch_rule rule, const struct weft__wait_kind *kind, weft_ns deadline,
                                      bool at_once)
{
    struct weft__watch *w = weft__watch_create(f->rt, tasks, n, rule);
    if (w == NULL)
        return (struct weft__watched){0};
    w->fiber = f;
    w->met = wake_fiber;
    w->ticket = weft__wait_begin(f, kind, w);
    weft__watch_begin(w, at_once);
    struct weft__watched result = {.how = weft__wait_commit(f, deadline)};
    result.verdict = weft__load_acquire(&w->verdict);          /* pairs: WATCH-VERDICT */
    result.requested = weft__load_acquire(&w->requested) != 0; /* pairs: WATCH-VERDICT */
    result.overridden = w->overridden;
    weft__watch_leave(w);
    return result;
}

bool weft__watch_is_own(struct weft__fiber *f, const struct weft_task *t)
{
    return weft__task_state(t) == WEFT__STARTED && weft__load_acquire(&t->fiber) == f; /* pairs: TASK-FIBER */
}

bool weft__watch_has_foreign(const struct weft_runtime *rt, weft_task *const tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!weft__watch_is_done(tasks[i]) && tasks[i]->rt != rt)
            return true;
    return false;
}
