/* SPDX-License-Identifier: Apache-2.0 */
/* executor/running.c -- which task each worker runs now.
 *
 * Nobody notes that down for others: a worker's `current` and its fiber's `task` are plain words of its own, at which one may look. What they point to
 * may be gone a moment later. A fiber's memory stays; a task's name does not. So no task is reached by these pointers: all descriptors are
 * gone through, as stranger (alone.c), and one that is on a fiber that runs is referenced before anything else of it is read. If the worker still runs
 * that fiber then, the task is one of those that it is at: the innermost if the fiber's `task` says so, else the youngest (forked
 * children may run on top of it; the tasks below await it).
 *
 * Invariant: what weft__running_look leaves in `task` is referenced, so its name and frame stay until weft__running_done.
 * Any thread that is a worker of the runtime, its reactor thread, or a visitor. Never suspends. */
#include "executor/running.h"

#include <stdio.h>
#include <stdlib.h>

#include "executor/alone.h"
#include "executor/sight.h"

struct all {
    struct weft__running *r; /* ordered by fiber */
    unsigned n;
};

static int by_fiber(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct weft__running *)a)->fiber,
              y = (uintptr_t)((const struct weft__running *)b)->fiber;
    return (x > y) - (x < y);
}

static bool is_on(const struct weft_task *t, const struct weft__fiber *f)
{
    return weft__task_state(t) == WEFT__STARTED && weft__task_fiber(t) == f;
}

static bool is_shown(struct weft_task *t)
{
    return weft__task_visible(t) &&
           !(weft__load_relaxed(&t->flags) & WEFT__TASK_HIDDEN); /* relaxed: set before TASK-NEW */
}

static void consider(void *user, void *object)
{
    struct all *all = user;
    struct weft_task *t = object;
    struct weft__running wanted = {.fiber = weft__task_fiber(t)};
    if (wanted.fiber == NULL)
        return;
    struct weft__running *r = bsearch(&wanted, all->r, all->n, sizeof *r, by_fiber);
    if (r == NULL || !is_on(t, r->fiber) || !weft__task_try_ref(t))
        return;
    bool innermost = weft__load_shown(&r->fiber->task) == t;
    if (!is_on(t, r->fiber) || !is_shown(t) || (r->task != NULL && !innermost && t->id < r->task->id)) {
        weft__task_unref(t);
        return;
    }
    if (r->task != NULL && weft__load_shown(&r->fiber->task) == r->task) { /* the better one is there already */
        weft__task_unref(t);
        return;
    }
    if (r->task != NULL)
        weft__task_unref(r->task);
    r->task = t;
}

void weft__running_look(struct weft_runtime *rt, struct weft__running *r, unsigned n)
{
    bool any = false;
    for (unsigned i = 0; i < n; i++) {
        struct weft__worker *w = &rt->workers[r[i].worker];
        uint64_t seen = weft__load_acquire(&w->step_seen);  /* pairs: STEP-SEEN */
        weft_ns since = weft__load_relaxed(&w->step_since); /* relaxed: at least as new as `seen` */
        bool same = weft__load_relaxed(&w->steps) == seen;  /* relaxed: only shown */
        r[i].coro = weft__load_relaxed(&w->running);        /* relaxed: only shown */
        r[i].fiber = r[i].coro != NULL ? weft__load_shown(&w->current) : NULL;
        r[i].since = same && r[i].coro != NULL ? since : WEFT_FOREVER;
        r[i].task = NULL;
        any |= r[i].fiber != NULL;
    }
    if (!any)
        return;
    qsort(r, n, sizeof *r, by_fiber);
    struct all all = {.r = r, .n = n};
    unsigned visit = weft__stranger_begin(rt);
    weft__each_task(rt, consider, &all);
    weft__stranger_end(rt, visit);
    for (unsigned i = 0; i < n; i++) {
        if (r[i].task == NULL || weft__load_shown(&rt->workers[r[i].worker].current) == r[i].fiber)
            continue;
        weft__task_unref(r[i].task); /* it has gone on */
        r[i].task = NULL;
    }
}

void weft__running_done(struct weft__running *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (r[i].task != NULL)
            weft__task_unref(r[i].task);
        r[i].task = NULL;
    }
}

size_t weft__running_name(const struct weft__running *r, char *text, size_t size)
{
    char name[64];
    int n = 0;
    text[0] = '\0';
    if (r->task == NULL)
        return 0;
    weft__sight_name_of(r->task, name, sizeof name);
    if (r->task->frame->coro == r->coro)
        n = snprintf(text, size, "%s", name);
    else
        n = snprintf(text, size, "%s (%s)", name, weft__sight_function(r->task));
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
