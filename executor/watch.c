/* SPDX-License-Identifier: Apache-2.0 */
/* executor/watch.c -- waiting for several tasks: what gather, wait and shield are made of.
 *
 * A watch is a block with a waiter at each task; when its rule is met it wakes a fiber or ends a future. It is not in the waiting
 * task's frame, and counted, because a task may be telling its waiter (fire) while the fiber, woken by another one or cancelled, has gone
 * on. One count does for both, who has not arrived and who still needs the block: an arrival is all that a task does with it.
 *
 * Where memory is short, whoever waits for all of them waits for one after the other (wait_each.c).
 *
 * With order=fifo each waiter first puts an entry into the ready queue, as asyncio does with its callbacks, and the task arrives when that
 * is picked: a round later.
 *
 * Invariants
 *   1. left = 1 for each task that has not arrived and whose waiter was not taken out + OWNER until whoever created it has left. Who brings
 *      it to 0 frees the block. After its share is gone, an arrival touches only what it has copied, unless it is the last of a future's:
 *      the future keeps the block (its owner) until `met` has ended.
 *   2. left falls once per task, in arrive; a verdict is written before its task's share of left goes: so whoever sees that all have
 *      arrived sees the verdict too.
 *   3. A fiber reads the outcome only after a wake that was given by arrive; a cancelled one reads nothing.
 *   4. The tasks of a fiber's watch are there as long as it waits: the caller of gather holds their handles. A task that arrives after that
 *      is just ending, and so there too; unless its arrival is a turn of its own: with order=fifo the watch keeps its tasks.
 *
 * A task given twice has two waiters. They fire together, so nothing but the count of failures has to know.
 *
 * Threads: create, begin, leave: the running task's. fire and entries: whichever thread ends the task. */
#include "executor/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/runtime.h"

_Static_assert(sizeof(struct weft__watch) + WEFT__WATCH_FEW * sizeof(struct weft__watch_node) <= WEFT__LARGE_BLOCK,
               "a watch of few fits into a block");

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

static inline void free_block(struct weft__watch *w)
{
    if (weft__likely(w->pooled)) {
        struct weft__worker *self = weft__worker_self();
        weft__slab_put(&w->rt->large_blocks, self != NULL && self->rt == w->rt ? &self->large_blocks : NULL, w);
    } else {
        free(w);
    }
}

static WEFT__NOINLINE void free_owning(struct weft__watch *w)
{
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
        free_block(w);
    }
    u->freeing = false;
}

static inline void free_watch(struct weft__watch *w)
{
    if (weft__unlikely(w->owns))
        free_owning(w);
    else
        free_block(w);
}

/* So much of left goes. */
static inline void give_back(struct weft__watch *w, size_t share)
{
    if (weft__fetch_sub_acq_rel(&w->left, share) == share) /* pairs: WATCH-LEFT */
        free_watch(w);
}

void weft__watch_drop(struct weft__watch *w)
{
    give_back(w, WEFT__WATCH_OWNER);
}

void weft__watch_discard(struct weft__watch *w)
{
    free_watch(w); /* nobody else knows it */
}

static void arrive(struct weft__watch *w, struct weft_task *t, int rc)
{
    bool decides = w->rule == WEFT__UNTIL_ANY;
    int32_t none = 0;
    if (weft__unlikely(rc < 0)) {
        if (w->retrieve && t != NULL)
            weft__task_set_retrieved(t);
        if (w->rule == WEFT__UNTIL_FAILURE || (w->rule == WEFT__UNTIL_ERROR && rc != -ECANCELED))
            decides = weft__cas_acq_rel(&w->verdict, &none, rc); /* pairs: WATCH-VERDICT; of several one is the first */
    }
    struct weft__fiber *f = w->fiber;
    uint32_t ticket = w->ticket;
    if (decides && f == NULL)
        w->met(w, t, true, false);
    else if (decides)
        weft__wake(f, ticket, WEFT__WOKEN);
    size_t left = weft__fetch_sub_acq_rel(&w->left, (size_t)1); /* pairs: WATCH-LEFT */
    if ((left & ~WEFT__WATCH_OWNER) == 1) {
        if (f == NULL) {
            decides = !decides && weft__load_acquire(&w->verdict) == 0; /* pairs: WATCH-VERDICT */
            w->met(w, t, decides, true);
            return;
        }
        weft__wake(f, ticket, WEFT__WOKEN); /* false if it has been decided before */
    }
    if (left == 1)
        free_watch(w);
}

static struct weft__watch_turn *turn_of(struct weft__watch_node *node)
{
    struct weft__watch *w = node->watch;
    struct weft__watch_turn *turns = (struct weft__watch_turn *)(void *)&w->nodes[w->count];
    return &turns[node - w->nodes];
}

static void turn_runs(struct weft__entry *entry)
{
    struct weft__watch_node *node = weft__container_of(entry, struct weft__watch_turn, entry)->node;
    arrive(node->watch, node->task, weft__watch_outcome(node->task));
}

static void node_fires(struct weft__waiter *waiter, struct weft_task *t)
{
    struct weft__watch_node *node = weft__container_of(waiter, struct weft__watch_node, waiter);
    if (weft__unlikely(node->watch->hops))
        weft__make_ready(node->watch->rt, weft__item_of_entry(&turn_of(node)->entry));
    else
        arrive(node->watch, t, weft__task_rc(t));
}

static struct weft__watch *get_block(struct weft_runtime *rt, size_t n)
{
    if (weft__likely(n <= WEFT__WATCH_FEW && !rt->fifo)) {
        struct weft__worker *self = weft__worker_self();
        struct weft__watch *w =
            weft__slab_get(&rt->large_blocks, self != NULL && self->rt == rt ? &self->large_blocks : NULL);
        if (w != NULL)
            w->pooled = true;
        return w;
    }
    struct weft__watch *w =
        malloc(sizeof *w + n * (sizeof w->nodes[0] + (rt->fifo ? sizeof(struct weft__watch_turn) : 0)));
    if (w != NULL)
        w->pooled = false;
    return w;
}

struct weft__watch *weft__watch_create(struct weft_runtime *rt, weft_task *const tasks[], size_t n,
                                       enum weft__watch_rule rule, bool keep)
{
    struct weft__watch *w = get_block(rt, n);
    if (w == NULL)
        return NULL;
    weft__store_relaxed(&w->left, n + WEFT__WATCH_OWNER); /* relaxed: not shared yet, as the next ones */
    weft__store_relaxed(&w->verdict, 0);                  /* relaxed: see left */
    weft__store_relaxed(&w->requested, 0U);               /* relaxed: see left */
    w->rule = rule;
    w->hops = rt->fifo;
    w->owns = keep || rt->fifo;
    w->retrieve = false;
    w->rt = rt;
    w->fiber = NULL;
    w->future = NULL;
    w->overridden = false;
    w->count = n;
    for (size_t i = 0; i < n; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        node->waiter.fire = node_fires;
        node->watch = w;
        node->task = w->owns ? weft_ref(tasks[i]) : tasks[i];
        if (weft__unlikely(w->hops))
            *turn_of(node) = (struct weft__watch_turn){{.kind = WEFT__KIND_ENTRY, .run = turn_runs}, node};
    }
    return w;
}

void weft__watch_begin(struct weft__watch *w, bool at_once)
{
    /* asyncio's order: first the ones to wait for, then those that have ended. The count keeps the block while n of them are known not to have
     * arrived; the last one's arrival may be the end of it. */
    size_t ended = 0, n = w->count;
    for (size_t i = 0; i < n; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        if (node->task != NULL && weft__likely(weft__task_add_waiter(node->task, &node->waiter)))
            continue;
        node->waiter.fire = NULL;
        ended++;
    }
    bool turns = w->hops && !at_once;
    for (size_t i = 0; ended != 0; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        if (node->waiter.fire != NULL)
            continue;
        ended--;
        if (turns && node->task != NULL)
            weft__make_ready(w->rt, weft__item_of_entry(&turn_of(node)->entry));
        else
            arrive(w, node->task, weft__watch_outcome(node->task));
    }
}

void weft__watch_leave(struct weft__watch *w)
{
    size_t left = weft__load_acquire(&w->left); /* pairs: WATCH-LEFT */
    if (weft__likely(left == WEFT__WATCH_OWNER)) {
        free_watch(w); /* all have arrived and are done with it */
        return;
    }
    size_t share = WEFT__WATCH_OWNER;
    for (size_t i = 0; i < w->count; i++) {
        struct weft__watch_node *node = &w->nodes[i];
        if (node->task == NULL)
            continue;
        if (w->retrieve)
            weft__task_set_retrieved(node->task);
        share += weft__task_remove_waiter(node->task, &node->waiter);
    }
    give_back(w, share);
}

static WEFT__NOINLINE struct weft__watched without_watch(struct weft__fiber *f, weft_task *const tasks[], size_t n,
                                                         enum weft__watch_rule rule, const struct weft__wait_kind *kind,
                                                         weft_ns deadline, bool at_once, bool retrieve, bool requested)
{
    if (rule != WEFT__UNTIL_ALL)
        return (struct weft__watched){0};
    for (size_t i = 0; retrieve && i < n; i++)
        if (tasks[i] != NULL)
            weft__task_set_retrieved(tasks[i]);
    return weft__wait_each(f, tasks, n, kind->cancel != NULL, deadline, at_once, requested);
}

struct weft__watched weft__watch_wait(struct weft__fiber *f, weft_task *const tasks[], size_t n,
                                      enum weft__watch_rule rule, const struct weft__wait_kind *kind, weft_ns deadline,
                                      bool at_once, bool retrieve, bool requested)
{
    struct weft__watch *w = weft__watch_create(f->rt, tasks, n, rule, false);
    if (weft__unlikely(w == NULL))
        return without_watch(f, tasks, n, rule, kind, deadline, at_once, retrieve, requested);
    w->fiber = f;
    w->retrieve = retrieve;
    weft__store_relaxed(&w->requested, (uint32_t)requested); /* relaxed: not shared yet */
    w->ticket = weft__wait_begin(f, kind, w);
    weft__watch_begin(w, at_once);
    struct weft__watched result = {.how = weft__wait_commit(f, deadline)};
    result.verdict = weft__load_acquire(&w->verdict);          /* pairs: WATCH-VERDICT */
    result.requested = weft__load_acquire(&w->requested) != 0; /* pairs: WATCH-VERDICT */
    result.overridden = w->overridden;
    weft__watch_leave(w);
    return result;
}

void weft__watch_tell_tasks(struct weft__fiber *f, struct weft__sight *s,
                            struct weft_task *(*at)(const void *object, size_t i), const void *object, size_t n)
{
    size_t left = 0, named = 0;
    const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
    for (size_t i = 0; i < n; i++)
        left += !weft__watch_is_done(at(object, i));
    weft__sight_say(s, "waits for %s: %zu of %zu %s", kind->name, left, n, n == 1 ? "task" : "tasks");
    for (size_t i = 0; i < n && named < WEFT__SIGHT_MOST; i++) {
        if (!weft__watch_is_done(at(object, i)))
            weft__sight_one_of(s, named++, at(object, i));
    }
}

static struct weft_task *task_at(const void *watch, size_t i)
{
    return ((const struct weft__watch *)watch)->nodes[i].task;
}

void weft__watch_tell(struct weft__fiber *f, void *watch, struct weft__sight *s)
{
    weft__watch_tell_tasks(f, s, task_at, watch, ((struct weft__watch *)watch)->count);
}

bool weft__watch_is_own(struct weft__fiber *f, const struct weft_task *t)
{
    return weft__task_state(t) == WEFT__STARTED && weft__task_fiber(t) == f;
}

bool weft__watch_has_foreign(const struct weft_runtime *rt, weft_task *const tasks[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!weft__watch_is_done(tasks[i]) && weft__task_rt(tasks[i]) != rt)
            return true;
    return false;
}
