/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task_hot.h -- the usual way of a task through its life, inline: created plainly by a running task, claimed, ended with a success
 * before anybody waits, freed. What is not usual goes to the functions of task.c, which do the same for every case.
 *
 * Threads: the worker's own, `w`. */
#ifndef WEFT_EXECUTOR_TASK_HOT_H
#define WEFT_EXECUTOR_TASK_HOT_H

#include "executor/runtime.h"

/* No options, no context to inherit, a small frame. NULL: not that, or a cache has to be filled: weft__task_create. */
static inline struct weft_task *weft__task_create_plain(struct weft__worker *w, const weft_frame *frame)
{
    const struct weft_task *by = w->current->task;
    size_t size = frame->coro->size;
    struct weft_task *t = weft__slab_try(&w->tasks);
    if (weft__unlikely(t == NULL || size > WEFT__INLINE_FRAME || w->next_id == w->last_id ||
                       by->kind != WEFT__KIND_TASK ||
                       weft__load_relaxed(&by->context) != NULL)) /* relaxed: inherit reads it again */
        return NULL;
    struct weft_runtime *rt = w->rt;
    weft__slab_taken(&w->tasks);
    t->kind = WEFT__KIND_TASK;
    t->rc = 0;
    t->frame = (void *)t->inline_frame;
    weft__store_relaxed(&t->fiber, NULL); /* relaxed: TASK-NEW publishes, here and below */
    weft__store_relaxed(&t->requests, 0); /* relaxed: as above */
    weft__store_relaxed(&t->flags, 0);    /* relaxed: as above */
    t->stack_class = (uint16_t)rt->stack_class;
    t->rt = rt;
    weft__store_relaxed(&t->extra, NULL); /* relaxed: as above */
    t->id = ++w->next_id;
    weft__store_relaxed(&t->context, NULL); /* relaxed: as above */
    weft__frame_copy(t->frame, frame, size);
    weft__store_release(&t->refs, 2);         /* pairs: TASK-NEW, try_ref of somebody who walks the slab */
    weft__store_release(&t->word, WEFT__NEW); /* pairs: TASK-NEW */
    weft__count(&w->counters.created, 1);
    return t;
}

/* Its last reference is gone. */
static inline void weft__task_free_here(struct weft__worker *w, struct weft_task *t)
{
    /* relaxed, all: the last unref has seen them */
    if (weft__likely(w != NULL && w->rt == t->rt && weft__load_relaxed(&t->word) == WEFT__DONE && t->rc >= 0 &&
                     (weft__load_relaxed(&t->flags) & (WEFT__TASK_DESTROY | WEFT__TASK_HEAP_FRAME)) == 0 &&
                     weft__load_relaxed(&t->extra) == NULL && weft__load_relaxed(&t->context) == NULL)) {
        t->frame = NULL;
        weft__store_release(&t->word, WEFT__FREE); /* pairs: TASK-NEW */
        weft__slab_give(&w->tasks, t);
    } else {
        weft__task_free(t);
    }
}

static inline void weft__task_unref_here(struct weft__worker *w, struct weft_task *t)
{
    if (weft__fetch_sub_acq_rel(&t->refs, 1) == 1) /* pairs: TASK-REFS */
        weft__task_free_here(w, t);
}

/* A task of this worker's runtime ends. */
static inline void weft__task_finish_here(struct weft__worker *w, struct weft_task *t, int rc)
{
    uint64_t word = WEFT__STARTED;
    if (weft__likely(t->kind == WEFT__KIND_TASK && rc >= 0)) {
        t->rc = rc;
        weft__count(&w->counters.finished, 1);
        if (weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__DONE))) { /* pairs: TASK-DONE */
            weft__task_unref_here(w, t);
            return;
        }
        weft__count(&w->counters.finished, (uint64_t)-1);
    }
    weft__task_finish(t, rc);
}

#endif
