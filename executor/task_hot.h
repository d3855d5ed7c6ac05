/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task_hot.h -- the usual way of a task through its life, inline: created plainly by a running task, claimed, ended with a success
 * before anybody waits, freed. What is not usual goes to the functions of task.c, which do the same for every case.
 *
 * Threads: the worker's own, `w`. */
#ifndef WEFT_EXECUTOR_TASK_HOT_H
#define WEFT_EXECUTOR_TASK_HOT_H

#include "executor/alone.h"

/* The calling thread's worker if it is one of that runtime. */
static inline struct weft__worker *weft__own_worker(const struct weft_runtime *rt)
{
    struct weft__worker *w = weft__worker_self();
    return w != NULL && w->rt == rt ? w : NULL;
}

/* Is it a whole number of words that fits into the descriptor? One comparison: a remainder goes to the top. */
static inline bool weft__frame_is_small(size_t size)
{
    size_t words = (size - 8) >> 3 | (size - 8) << 61;
    return words <= (WEFT__INLINE_FRAME - 8) / 8;
}

/* By a task `by` without a context to hand on; no options, a small frame. NULL: not that, or a cache has to be filled: weft__task_create. */
static inline struct weft_task *weft__task_create_plain(struct weft__worker *w, const struct weft_task *by,
                                                        const weft_frame *frame)
{
    size_t size = frame->coro->size;
    struct weft_task *t = weft__slab_try(w->tasks);
    if (weft__unlikely(t == NULL || !weft__frame_is_small(size) || w->next_id == w->last_id || by == NULL ||
                       by->kind != WEFT__KIND_TASK || weft__task_context(by) != NULL))
        return NULL;
    struct weft_runtime *rt = w->rt;
    weft__slab_taken(w->tasks);
    t->kind = WEFT__KIND_TASK;
    t->rc = 0;
    t->frame = (void *)t->inline_frame;
    weft__store_relaxed(&t->fiber, weft__task_home(w)); /* relaxed: TASK-NEW publishes, here and below */
    weft__store_relaxed(&t->requests, 0);               /* relaxed: as above */
    weft__store_relaxed(&t->flags, 0);                  /* relaxed: as above */
    t->stack_class = (uint8_t)rt->stack_class;
    t->room = WEFT__ROOM_USUAL;
    weft__store_relaxed(&t->side, (uintptr_t)rt); /* relaxed: as above */
    t->id = ++w->next_id;
    size_t at = 0;
    do
        memcpy(t->inline_frame + at, (const char *)frame + at, 8);
    while ((at += 8) != size);
    weft__count(&w->counters.created, 1);
    weft__store_release(&t->refs, 2);         /* pairs: TASK-NEW, try_ref of somebody who walks the slab */
    weft__store_release(&t->word, WEFT__NEW); /* pairs: TASK-NEW */
    return t;
}

/* Give a reference back when the only others left are this one and the runtime's of a task that ran on its awaiter's stack: nobody else can
 * know the task then but one who looks at all of them. False: not that, or its descriptor is not of this size. Any thread. */
static inline bool weft__task_unref_alone(struct weft_task *t, unsigned room)
{
    struct weft__worker *w = weft__worker_maybe();
    if (weft__unlikely(weft__load_acquire(&t->refs) != 2 || /* pairs: TASK-REFS; before the word */
                       weft__load_acquire(&t->word) != (WEFT__DONE | WEFT__OWED) || /* pairs: TASK-DONE */
                       /* relaxed: this is the last reference but the one owed */
                       weft__load_relaxed(&t->side) != (uintptr_t)w->rt || t->rc < 0 || t->room != room ||
                       !weft__alone_begin(w)))
        return false;
    weft__store_relaxed(&t->refs, 0); /* relaxed: alone */
    t->frame = NULL;
    weft__store_release(&t->word, WEFT__FREE); /* pairs: TASK-NEW */
    weft__alone_end(w);
    weft__slab_give(&w->tasks[room], t);
    return true;
}
void weft__task_unref_checked(struct weft_task *t);
/* Give a reference back. Any thread. */
static inline void weft__task_unref_here(struct weft_task *t)
{
    if (weft__unlikely(!weft__task_unref_alone(t, WEFT__ROOM_USUAL)))
        weft__task_unref_checked(t);
}

/* The place of a task in the ready queue that it was created into, from its low bits: a hint. Owner. */
static inline int64_t weft__task_place(const struct weft__ready *r, const struct weft_task *t)
{
    int64_t h = weft__load_relaxed(&r->head);                           /* relaxed: the owner asks; a hint */
    return h + (uint16_t)(weft__load_relaxed(&t->place) - (uint64_t)h); /* relaxed: a hint */
}

/* Claim a NEW task whose entry the worker has just taken out of its own queue. False: not the usual case, nothing is done. */
static inline bool weft__task_claim_alone(struct weft__worker *w, struct weft_task *t)
{
    if (weft__unlikely(weft__load_relaxed(&t->fiber) != weft__task_home(w) || /* relaxed: its own mark */
                       !weft__alone_begin(w)))
        return false;
    bool new = weft__load_relaxed(&t->word) == WEFT__NEW; /* relaxed: alone */
    if (weft__likely(new))
        weft__store_release(&t->word, WEFT__STARTED); /* pairs: TASK-NEW */
    weft__alone_end(w);
    return new;
}

/* A task that runs on its awaiter's stack, or in its place, ends: PLAIN. Its awaiter is about to go on, and has a reference. True: done, with
 * this success. */
static inline bool weft__task_finish_alone(struct weft__worker *w, struct weft_task *t, int rc)
{
    if (weft__unlikely(rc < 0 || !weft__alone_begin(w)))
        return false;
    bool plain = weft__load_relaxed(&t->word) == (WEFT__STARTED | WEFT__PLAIN); /* relaxed: alone */
    if (weft__likely(plain)) {
        t->rc = rc;
        weft__store_release(&t->word, WEFT__DONE | WEFT__OWED); /* pairs: TASK-DONE */
    }
    weft__alone_end(w);
    return plain;
}
/* The same where that is false. */
void weft__task_finish_awaited(struct weft_task *t, int rc);

/* A task of this worker's runtime ends on a fiber of its own. */
static inline void weft__task_finish_here(struct weft__worker *w, struct weft_task *t, int rc)
{
    uint64_t word = WEFT__STARTED;
    bool child = t->kind == WEFT__KIND_CHILD;
    if (weft__likely((child || t->kind == WEFT__KIND_TASK) && rc >= 0 &&
                     weft__load_relaxed(&t->word) == WEFT__STARTED)) { /* relaxed: nobody waits, as far as one sees */
        t->rc = rc;
        if (child) {
            if (weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__DONE))) /* pairs: TASK-DONE */
                return;                                                       /* its memory may be gone */
            weft__task_finish(t, rc);
            return;
        }
        weft__count(&w->counters.finished, 1);
        if (weft__likely(weft__cas_acq_rel(&t->word, &word, WEFT__DONE))) { /* pairs: TASK-DONE */
            weft__task_unref(t);
            return;
        }
        weft__count(&w->counters.finished, (uint64_t)-1);
    }
    weft__task_finish(t, rc);
}

#endif
