/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task.c -- task descriptors: creation, references, claim, end, waiters. State table in task.h.
 *
 * References: one for each handle, one for the queue entry (which becomes the running task's own when it is claimed from the
 * queue; who claims a task by other ways takes its own). Memory goes back to the slab at zero and stays of this type.
 *
 * Labels. TASK-DONE: rc, the frame and everything the task did, before the release of DONE; read after an acquire of it.
 * TASK-C: a mark is set before REQUEST is set in the fiber's word, and looked for after REQUEST was cleared. TASK-REFS: the
 * last unref sees all that other holders did. TASK-NEW: the fields, before the word says NEW. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "executor/guard.h"
#include "executor/runtime.h"

static uint64_t next_id(struct weft_runtime *rt, struct weft__worker *w)
{
    if (w == NULL)
        return weft__fetch_add_relaxed(&rt->ids, 1) + 1; /* relaxed: only uniqueness */
    if (w->next_id == w->last_id) {
        uint64_t block = rt->worker_count == 1 ? 1 : 16;
        w->next_id = weft__fetch_add_relaxed(&rt->ids, block); /* relaxed: only uniqueness */
        w->last_id = w->next_id + block;
    }
    return ++w->next_id;
}

static struct weft__worker *own_worker(struct weft_runtime *rt)
{
    struct weft__worker *w = weft__worker_self();
    return w != NULL && w->rt == rt ? w : NULL;
}

struct weft_task *weft__task_create(struct weft_runtime *rt, enum weft__kind kind, const weft_frame *frame,
                                    const weft_task_options *options)
{
    struct weft__worker *w = own_worker(rt);
    size_t size = frame->coro->size;
    void *heap = NULL;
    uint32_t stack_class = rt->stack_class;
    if (options != NULL) {
        if (options->stack_size > WEFT_MAX_STACK)
            return NULL;
        if (options->stack_size != 0)
            stack_class = weft__stack_class(options->stack_size);
    }
    if (size > WEFT__INLINE_FRAME && (heap = malloc(size)) == NULL)
        return NULL;
    struct weft_task *t;
    if (w != NULL) {
        t = weft__slab_get(&rt->tasks, &w->tasks);
    } else {
        weft__guard_lock(&rt->end_guard);
        t = rt->finished ? NULL : weft__slab_get(&rt->tasks, NULL);
        weft__guard_unlock(&rt->end_guard);
    }
    if (t == NULL) {
        free(heap);
        return NULL;
    }
    t->kind = (uint32_t)kind;
    t->rc = 0;
    t->frame = heap != NULL ? heap : (void *)t->inline_frame;
    memcpy(t->frame, frame, size);
    weft__store_relaxed(&t->fiber, NULL); /* relaxed: TASK-NEW publishes */
    t->below = NULL;
    weft__store_relaxed(&t->requests, 0);                                     /* relaxed: TASK-NEW publishes */
    weft__store_relaxed(&t->flags, heap != NULL ? WEFT__TASK_HEAP_FRAME : 0); /* relaxed: TASK-NEW publishes */
    t->stack_class = stack_class;
    t->rt = rt;
    weft__store_relaxed(&t->name, NULL); /* relaxed: TASK-NEW publishes */
    t->id = next_id(rt, w);
    weft__store_release(&t->refs, 2);         /* pairs: TASK-NEW, try_ref of somebody who walks the slab */
    weft__store_release(&t->word, WEFT__NEW); /* pairs: TASK-NEW */
    if (w != NULL)
        weft__count(&w->counters.created, 1);
    else
        weft__fetch_add_relaxed(&rt->created_outside, 1); /* relaxed: statistic */
    if (options != NULL && options->name != NULL && weft_task_set_name(t, options->name) < 0) {
        weft__store_relaxed(&t->refs, 0); /* relaxed: nobody else knows it */
        weft__task_free(t);
        return NULL;
    }
    return t;
}

void weft__task_schedule(struct weft_task *t)
{
    weft__make_ready(t->rt, weft__item_of_task(t));
}

int weft__task_claim(struct weft_task *t)
{
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-NEW */
    for (;;) {
        if ((word & WEFT__STATE) != WEFT__NEW)
            return 0;
        if (word & WEFT__LOCK) {
            weft__cpu_relax();
            word = weft__load_acquire(&t->word); /* pairs: TASK-NEW */
            continue;
        }
        uint64_t started = (word & ~(uint64_t)(WEFT__STATE | WEFT__C)) | WEFT__STARTED;
        if (weft__cas_acq_rel(&t->word, &word, started)) /* pairs: TASK-C */
            return word & WEFT__C ? -1 : 1;
    }
}

/* A few turns, then let others run: the holder of LOCK is between two instructions, or preempted there. */
static void wait_for_lock(unsigned *turns)
{
    if (++*turns < 128)
        weft__cpu_relax();
    else
        sched_yield();
}

static bool finish(struct weft_task *t, int rc, bool race)
{
    unsigned turns = 0;
    bool counted = weft__task_counted(t); /* before a CHILD's memory is gone, like the next two */
    struct weft_runtime *rt = counted ? t->rt : NULL;
    struct weft__worker *w = counted ? own_worker(rt) : NULL;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-C */
    if (race) {
        /* THREAD: the canceller and the helper may both end it; LOCK decides who writes rc. */
        for (;;) {
            if ((word & WEFT__STATE) == WEFT__DONE)
                return false;
            if (!(word & WEFT__LOCK) && weft__cas_acq_rel(&t->word, &word, word | WEFT__LOCK)) /* pairs: TASK-C */
                break;
            wait_for_lock(&turns);
            word = weft__load_acquire(&t->word); /* pairs: TASK-C */
        }
        word |= WEFT__LOCK;
        do
            t->rc = (word & WEFT__C) && rc >= 0 ? -ECANCELED : rc;
        while (!weft__cas_acq_rel(&t->word, &word, WEFT__DONE)); /* pairs: TASK-DONE; C may have come */
    } else {
        for (;;) {
            if (word & WEFT__LOCK) {
                wait_for_lock(&turns);
                word = weft__load_acquire(&t->word); /* pairs: TASK-C */
                continue;
            }
            t->rc = (word & WEFT__C) && rc >= 0 ? -ECANCELED : rc;
            if (weft__cas_acq_rel(&t->word, &word, WEFT__DONE)) /* pairs: TASK-DONE */
                break;
        }
    }
    if (w != NULL)
        weft__count(&w->counters.finished, 1);
    else if (counted)
        weft__fetch_add_relaxed(&rt->finished_outside, 1); /* relaxed: statistic */
    /* Newest first in the word; told in the order added. */
    struct weft__waiter *waiter = (struct weft__waiter *)(uintptr_t)(word & ~(uint64_t)WEFT__BITS), *first = NULL;
    while (waiter != NULL) {
        struct weft__waiter *next = waiter->next;
        waiter->next = first;
        first = waiter;
        waiter = next;
    }
    while (first != NULL) {
        struct weft__waiter *next = first->next;
        first->fire(first, t);
        first = next;
    }
    return true;
}

void weft__task_finish(struct weft_task *t, int rc)
{
    bool counted = weft__task_counted(t); /* a CHILD's memory is its parent's again once it is DONE */
    finish(t, rc, false);
    if (counted)
        weft__task_unref(t);
}

bool weft__task_finish_race(struct weft_task *t, int rc)
{
    if (!finish(t, rc, true))
        return false;
    weft__task_unref(t);
    return true;
}

bool weft__task_add_waiter(struct weft_task *t, struct weft__waiter *waiter)
{
    unsigned turns = 0;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    for (;;) {
        if ((word & WEFT__STATE) == WEFT__DONE)
            return false;
        if (word & WEFT__LOCK) {
            wait_for_lock(&turns);
            word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
            continue;
        }
        waiter->next = (struct weft__waiter *)(uintptr_t)(word & ~(uint64_t)WEFT__BITS);
        if (weft__cas_acq_rel(&t->word, &word, (word & WEFT__BITS) | (uintptr_t)waiter)) /* pairs: TASK-DONE */
            return true;
    }
}

bool weft__task_remove_waiter(struct weft_task *t, struct weft__waiter *waiter)
{
    unsigned turns = 0;
    uint64_t word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    for (;;) {
        if ((word & WEFT__STATE) == WEFT__DONE)
            return false;
        if (!(word & WEFT__LOCK) && weft__cas_acq_rel(&t->word, &word, word | WEFT__LOCK)) /* pairs: TASK-DONE */
            break;
        wait_for_lock(&turns);
        word = weft__load_acquire(&t->word); /* pairs: TASK-DONE */
    }
    /* LOCK is held: the list does not change; only C may come. */
    struct weft__waiter *head = (struct weft__waiter *)(uintptr_t)(word & ~(uint64_t)WEFT__BITS), *new_head = head;
    bool found = false;
    if (head == waiter) {
        new_head = waiter->next;
        found = true;
    } else {
        for (struct weft__waiter *at = head; at != NULL && !found; at = at->next) {
            if (at->next == waiter) {
                at->next = waiter->next;
                found = true;
            }
        }
    }
    word = weft__load_relaxed(&t->word); /* relaxed: the CAS orders */
    while (!weft__cas_acq_rel(&t->word, &word,
                              (word & (WEFT__STATE | WEFT__C)) | (uintptr_t)new_head)) /* pairs: TASK-DONE */
        ;
    return found;
}

/* ---- references -------------------------------------------------------------------------------------------------- */

bool weft__task_try_ref(struct weft_task *t)
{
    uint32_t refs = weft__load_acquire(&t->refs); /* pairs: TASK-NEW */
    while (refs != 0) {
        if (weft__cas_acq_rel(&t->refs, &refs, refs + 1)) /* pairs: TASK-REFS */
            return true;
    }
    return false;
}

void weft__task_unref(struct weft_task *t)
{
    uint32_t refs = weft__fetch_sub_acq_rel(&t->refs, 1); /* pairs: TASK-REFS */
    WEFT__BUG_ON(refs == 0);
    if (refs == 1)
        weft__task_free(t);
}

void weft__task_free(struct weft_task *t)
{
    struct weft_runtime *rt = t->rt;
    if (weft__unlikely(t->rc < 0 && t->rc != -ECANCELED && (weft__load_acquire(&t->word) & WEFT__STATE) == WEFT__DONE &&
                       !(weft__load_acquire(&t->flags) &
                         (WEFT__TASK_RETRIEVED | WEFT__TASK_HIDDEN)))) { /* pairs: TASK-REFS, TASK-DONE */
        char name[64];
        weft_task_name(t, name, sizeof name);
        weft__report(rt, "task \"%s\" (%s) failed with %d (%s), and nobody asked for its outcome", name,
                     t->frame->coro->name, t->rc, weft_strerror(t->rc));
    }
    weft__task_names_free(t);
    if (weft__load_relaxed(&t->flags) & WEFT__TASK_HEAP_FRAME) /* relaxed: as above */
        free(t->frame);
    t->frame = NULL;
    weft__store_release(&t->word, WEFT__FREE); /* pairs: TASK-NEW */
    struct weft__worker *w = own_worker(rt);
    if (w != NULL)
        weft__slab_put(&rt->tasks, &w->tasks, t);
    else
        weft__runtime_handle_freed(rt, t);
}

struct collect {
    struct weft_task **tasks;
    size_t count, capacity;
    bool failed;
};

static void collect_task(void *user, void *object)
{
    struct collect *c = user;
    struct weft_task *t = object;
    uint64_t state = weft__task_state(t);
    if (c->failed || (state != WEFT__NEW && state != WEFT__STARTED) || !weft__task_try_ref(t))
        return;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity != 0 ? 2 * c->capacity : 64;
        struct weft_task **grown = realloc(c->tasks, capacity * sizeof *grown);
        if (grown == NULL) {
            c->failed = true;
            weft__task_unref(t);
            return;
        }
        c->tasks = grown;
        c->capacity = capacity;
    }
    c->tasks[c->count++] = t;
}

static int by_id(const void *a, const void *b)
{
    const struct weft_task *x = *(struct weft_task *const *)a, *y = *(struct weft_task *const *)b;
    return (x->id > y->id) - (x->id < y->id);
}

long weft__all_tasks(struct weft_runtime *rt, struct weft_task ***out)
{
    struct collect c = {NULL, 0, 0, false};
    weft__slab_each(&rt->tasks, collect_task, &c);
    size_t kept = 0;
    for (size_t i = 0; i < c.count; i++) { /* a reference may have been got to one that ended or is hidden */
        uint64_t state = weft__task_state(c.tasks[i]);
        uint32_t flags = weft__load_relaxed(&c.tasks[i]->flags); /* relaxed: HIDDEN is set before TASK-NEW */
        if (c.failed || (state != WEFT__NEW && state != WEFT__STARTED) || (flags & WEFT__TASK_HIDDEN))
            weft__task_unref(c.tasks[i]);
        else
            c.tasks[kept++] = c.tasks[i];
    }
    if (c.failed) {
        free(c.tasks);
        *out = NULL;
        return -ENOMEM;
    }
    if (kept > 1)
        qsort(c.tasks, kept, sizeof *c.tasks, by_id);
    *out = c.tasks;
    return (long)kept;
}
