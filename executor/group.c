/* SPDX-License-Identifier: Apache-2.0 */
/* executor/group.c -- task groups: asyncio.TaskGroup, by the rules of CPython 3.13.
 *
 * A group is a counted block on the heap: the list of its children that have not ended, in order of creation, their
 * errors, and who waits for them. The first child to fail aborts the group in its own completion, on whatever worker
 * that is: every other child is cancelled, and so is the owner. That request is the group's own; join takes it
 * back. A request of anybody else stays counted, and if errors hide it, it is made pending again.
 *
 * Invariants
 *   1. A child is on the list from before it can run until its completion has done all that it does to the group,
 *      the abort included. So join, which waits for an empty list, never goes on while somebody still cancels its
 *      owner for it.
 *   2. `aborting` never falls. A child created meanwhile (its node is listed first, its task is made after) is
 *      cancelled by its creator, which looks at `aborting` when it puts the task into the node.
 *   3. refs = 1 for the owner + 1 for each node + 1 for each weft_group_cancel under way.
 *
 * Locks: guard, for a few instructions and the marking of the children; cancels are run, tasks created and the owner
 * marked outside of it. Inside it only weft__wake and weft__cancel_mark (of counted tasks) are called.
 *
 * Threads: begin and join belong to the owner; start, cancel and errors to any task of the runtime while the group is
 * open; fire to whichever thread ends the child. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weft/scope.h>

#include "executor/guard.h"
#include "executor/runtime.h"
#include "executor/seeded.h"
#include "executor/sight.h"

struct group_child {
    union {
        struct weft__waiter waiter; /* until it is fired; */
        struct { /* from then on, with order=fifo: asyncio's callback, which takes a turn of its own */
            struct weft__entry entry;
            int rc;
        };
    };
    struct group_child *next, *previous;
    struct group *group;
    struct weft_task *task; /* NULL: being created, or ended and on its turn */
};
_Static_assert(sizeof(struct group_child) == 64, "each task of a group has one");

#define FEW_ERRORS 6

struct group {
    _Atomic(uint32_t) refs; /* GROUP-REFS: each drop comes before the free */
    uint32_t guard;         /* of all below but the last three */
    uint32_t ticket;        /* of the owner's wait in join, if `waiting` */
    uint32_t cancellers;    /* weft_group_cancel calls under way */
    bool waiting;
    bool aborting;
    bool owner_cancelled; /* by the group */
    bool closed;
    struct group_child *first, *last;
    size_t error_count, error_capacity;
    int *errors;
    int few[FEW_ERRORS];
    /* ---- the owner's ---- */
    struct weft_task *owner;
    struct weft__fiber *fiber;
    struct {
        int *out;
        size_t n, *count;
    } collect;
};

/* What group_ points to when there is no group. */
static char no_memory, ended;

static struct group *group_of(const weft_group *g, const char *call)
{
    if (g->group_ == NULL)
        weft__misuse(call, "the group was never opened");
    return g->group_ == &no_memory || g->group_ == &ended ? NULL : g->group_;
}

static void group_drop(struct group *g)
{
    if (weft__fetch_sub_acq_rel(&g->refs, 1) != 1) /* pairs: GROUP-REFS (itself) */
        return;
    if (g->errors != g->few)
        free(g->errors);
    free(g);
}

/* ---- under the guard --------------------------------------------------------------------------------------------- */

static bool idle(const struct group *g)
{
    return g->first == NULL && g->cancellers == 0;
}

static void wake_when_idle(struct group *g)
{
    if (g->waiting && idle(g)) {
        g->waiting = false;
        weft__wake(g->fiber, g->ticket, WEFT__WOKEN);
    }
}

static void take_off(struct group *g, struct group_child *child)
{
    if (child->previous != NULL)
        child->previous->next = child->next;
    else
        g->first = child->next;
    if (child->next != NULL)
        child->next->previous = child->previous;
    else
        g->last = child->previous;
    wake_when_idle(g);
}

/* Keep an error; when memory is short only the first ones are kept, but all are counted. */
static void add_error(struct group *g, int rc)
{
    if (g->error_count == g->error_capacity) {
        size_t capacity = 2 * g->error_capacity;
        int *grown = malloc(capacity * sizeof grown[0]);
        if (grown != NULL) {
            memcpy(grown, g->errors, g->error_count * sizeof grown[0]);
            if (g->errors != g->few)
                free(g->errors);
            g->errors = grown;
            g->error_capacity = capacity;
        }
    }
    if (g->error_count < g->error_capacity)
        g->errors[g->error_count] = rc;
    g->error_count++;
}

static size_t copy_errors(const struct group *g, int out[], size_t n)
{
    size_t kept = g->error_count < g->error_capacity ? g->error_count : g->error_capacity;
    for (size_t i = 0; i < kept && i < n; i++)
        out[i] = g->errors[i];
    return g->error_count;
}

/* Every unfinished child is to be cancelled, in order of creation. The caller runs the list after the guard. */
static void abort_children(struct group *g, struct weft__cancel_list *list)
{
    g->aborting = true;
    for (struct group_child *child = g->first; child != NULL; child = child->next)
        if (child->task != NULL)
            weft__cancel_add(child->task, list);
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

static void child_ended(struct group_child *child, int rc)
{
    struct group *g = child->group;
    struct weft__cancel_list list;
    bool abort_now = false;
    weft__guard_lock(&g->guard);
    if (rc < 0 && rc != -ECANCELED) {
        add_error(g, rc);
        abort_now = !g->aborting && !g->owner_cancelled;
    }
    if (abort_now) {
        weft__cancel_list_init(&list);
        abort_children(g, &list); /* this one has ended and is passed over */
        g->owner_cancelled = true;
        weft__guard_unlock(&g->guard);
        /* The node is listed still: the owner can't leave join, nor end. */
        weft__cancel_mark(g->owner, &list);
        weft__cancel_run(&list);
        weft__guard_lock(&g->guard);
    }
    take_off(g, child);
    weft__guard_unlock(&g->guard);
    free(child);
    group_drop(g);
}

static void child_turn(struct weft__entry *entry)
{
    struct group_child *child = weft__container_of(entry, struct group_child, entry);
    child_ended(child, child->rc);
}

static void child_fire(struct weft__waiter *waiter, struct weft_task *task)
{
    struct group_child *child = weft__container_of(waiter, struct group_child, waiter);
    int rc = weft__task_rc(task);
    if (weft__likely(!weft__task_rt(task)->fifo)) {
        child_ended(child, rc);
        return;
    }
    child->entry = (struct weft__entry){.kind = WEFT__KIND_ENTRY, .run = child_turn};
    child->rc = rc;
    weft__guard_lock(&child->group->guard);
    child->task = NULL;
    weft__guard_unlock(&child->group->guard);
    weft__make_ready(weft__task_rt(task), weft__item_of_entry(&child->entry));
}

/* Put a node without a task on the list: from now on join waits for it. 0, -ENOMEM or -ESHUTDOWN. */
static int reserve(struct group *g, struct group_child **out)
{
    struct group_child *child = malloc(sizeof *child);
    if (child == NULL)
        return -ENOMEM;
    child->waiter.fire = child_fire;
    child->group = g;
    child->task = NULL;
    child->next = NULL;
    weft__guard_lock(&g->guard);
    bool refused = g->aborting || g->closed;
    if (!refused) {
        weft__fetch_add_relaxed(&g->refs, 1); /* relaxed: the caller's use of the group keeps it */
        child->previous = g->last;
        if (g->last != NULL)
            g->last->next = child;
        else
            g->first = child;
        g->last = child;
    }
    weft__guard_unlock(&g->guard);
    if (refused) {
        free(child);
        return -ESHUTDOWN;
    }
    *out = child;
    return 0;
}

int weft_group_start_(weft_group *group, const weft_task_options *options, const weft_frame *frame, weft_task **task)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_group_start");
    struct group *g = group_of(group, "weft_group_start");
    if (task != NULL)
        *task = NULL;
    if (g == NULL)
        return group->group_ == &ended ? -ESHUTDOWN : -ENOMEM;
    if (weft__unlikely(options != NULL) && !weft__task_options_valid(options))
        return -EINVAL;
    uint32_t where;
    if (weft__unlikely(options != NULL) && weft__pinned_place(f->rt, options, &where) < 0)
        return -EINVAL;
    struct group_child *child;
    int rc = reserve(g, &child);
    if (rc < 0)
        return rc;
    struct weft_task *t = weft__task_create(weft__fiber_runtime(f), WEFT__KIND_TASK, frame, options);
    weft__guard_lock(&g->guard);
    bool cancel = t != NULL && g->aborting;
    child->task = t;
    if (t == NULL)
        take_off(g, child);
    weft__guard_unlock(&g->guard);
    if (t == NULL) {
        free(child);
        group_drop(g);
        return -ENOMEM;
    }
    if (weft__unlikely(f->rt->options.debug != 0))
        weft__note_creation(t, __builtin_return_address(0));
    weft__task_set_retrieved(t); /* its error goes to the group */
    /* It is in no queue yet, but somebody who enumerates tasks may have run it already. From here on the node is
     * fire's. */
    if (!weft__task_add_waiter(t, &child->waiter))
        child_fire(&child->waiter, t);
    if (cancel)
        weft_cancel(t);
    if (weft__unlikely(options != NULL) && WEFT__TASK_HAS(options, eager) && options->eager)
        weft__task_start_eagerly(f, t);
    else
        weft__task_schedule(t);
    if (task != NULL)
        *task = t;
    else
        weft_release(t);
    return 0;
}

/* ---- the owner --------------------------------------------------------------------------------------------------- */

int weft_group_begin(weft_group *group)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_group_begin");
    struct group *g = calloc(1, sizeof *g);
    group->group_ = g != NULL ? (void *)g : &no_memory;
    if (g == NULL)
        return -ENOMEM;
    weft__store_relaxed(&g->refs, 1); /* relaxed: not shared yet */
    g->errors = g->few;
    g->error_capacity = FEW_ERRORS;
    g->owner = weft__fiber_task(f);
    weft__task_scope_opened(g->owner);
    g->fiber = f;
    return 0;
}

static void tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    struct group *g = object;
    size_t n = 0, i = 0;
    (void)f;
    weft__guard_lock(&g->guard);
    for (const struct group_child *c = g->first; c != NULL; c = c->next)
        n++;
    weft__sight_say(s, "waits for group: %zu %s%s", n, n == 1 ? "task" : "tasks", g->aborting ? ", cancelled" : "");
    for (const struct group_child *c = g->first; c != NULL && i < WEFT__SIGHT_MOST; c = c->next) {
        if (c->task != NULL)
            weft__sight_one_of(s, i++, c->task);
    }
    weft__guard_unlock(&g->guard);
}

static const struct weft__wait_kind group_wait = {.name = "group", .tell = tell};

/* Wait until no child is left; a request aborts the group, once, and is remembered in *cancelled. */
static void wait_for_children(struct group *g, struct weft__fiber *f, bool *cancelled)
{
    weft__guard_lock(&g->guard);
    while (!idle(g)) {
        g->ticket = weft__wait_begin(f, &group_wait, g);
        g->waiting = true;
        weft__guard_unlock(&g->guard);
        enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);
        weft__guard_lock(&g->guard);
        g->waiting = false;
        if (how != WEFT__CANCELLED)
            continue;
        *cancelled = true;
        if (!g->aborting) {
            struct weft__cancel_list list;
            weft__cancel_list_init(&list);
            abort_children(g, &list);
            weft__guard_unlock(&g->guard);
            weft__cancel_run(&list);
            weft__guard_lock(&g->guard);
        }
    }
    g->closed = true;
    weft__guard_unlock(&g->guard);
}

int weft_group_join(weft_group *group, int rc)
{
    weft__preempt_point();
    struct weft__fiber *f = weft__fiber_require("weft_group_join");
    struct group *g = group_of(group, "weft_group_join");
    if (g == NULL) {
        if (group->group_ == &ended)
            weft__misuse("weft_group_join", "the group has been joined already");
        group->group_ = &ended;
        return rc < 0 ? rc : -ENOMEM;
    }
    if (g->owner != weft__fiber_task(f))
        weft__misuse("weft_group_join", "the group was opened by another task");
    bool cancelled = rc == -ECANCELED, own_first = false;
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__guard_lock(&g->guard);
    own_first = rc < 0 && rc != -ECANCELED && g->error_count == 0;
    if (rc < 0 && !g->aborting)
        abort_children(g, &list);
    weft__guard_unlock(&g->guard);
    weft__cancel_run(&list);
    wait_for_children(g, f, &cancelled);
    group->group_ = &ended;

    /* Nobody else touches the group's state now. */
    if (g->owner_cancelled && weft__uncancel(g->owner) == 0)
        cancelled = false;
    if (rc < 0 && rc != -ECANCELED)
        add_error(g, rc);
    if (g->error_count != 0) {
        if (weft_cancelling(g->owner) > 0) { /* somebody else's request, hidden by the errors: pending again */
            weft__uncancel(g->owner);
            weft__cancel_list_init(&list);
            weft__cancel_mark(g->owner, &list);
            weft__cancel_run(&list);
        }
        rc = own_first ? rc : g->errors[0];
    } else if (cancelled) {
        rc = -ECANCELED;
    }
    weft__task_scope_closed(g->owner);
    size_t total = copy_errors(g, g->collect.out, g->collect.n);
    if (g->collect.count != NULL)
        *g->collect.count = total;
    group_drop(g);
    return rc;
}

void weft_group_cancel(weft_group *group)
{
    weft__preempt_point();
    struct group *g = group_of(group, "weft_group_cancel");
    if (g == NULL)
        return;
    struct weft__cancel_list list;
    weft__cancel_list_init(&list);
    weft__guard_lock(&g->guard);
    weft__fetch_add_relaxed(&g->refs, 1); /* relaxed: the caller's use of the group keeps it */
    g->cancellers++;
    abort_children(g, &list);
    weft__guard_unlock(&g->guard);
    weft__cancel_run(&list);
    weft__guard_lock(&g->guard);
    g->cancellers--;
    wake_when_idle(g);
    weft__guard_unlock(&g->guard);
    group_drop(g);
}

size_t weft_group_errors(const weft_group *group, int out[], size_t n)
{
    struct group *g = group_of(group, "weft_group_errors");
    if (g == NULL)
        return 0;
    weft__guard_lock(&g->guard);
    size_t count = copy_errors(g, out, n);
    weft__guard_unlock(&g->guard);
    return count;
}

void weft_group_collect_errors(weft_group *group, int out[], size_t n, size_t *count)
{
    struct group *g = group_of(group, "weft_group_collect_errors");
    if (count != NULL)
        *count = 0;
    if (g == NULL)
        return;
    g->collect.out = out;
    g->collect.n = n;
    g->collect.count = count;
}
