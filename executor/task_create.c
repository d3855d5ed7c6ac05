/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task_create.c -- how a task, a future or a callback comes to be: its descriptor, its frame, its options; and into the queue for the first time.
 * State table in task.h.
 *
 * Threads: any; a worker takes memory and numbers from its own caches. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weft/strand.h>

#include "executor/context_vars.h"
#include "executor/guard.h"
#include "executor/task_hot.h"

#define ID_BLOCK 64 /* numbers that a worker takes at a time */

static uint64_t next_id(struct weft_runtime *rt, struct weft__worker *w)
{
    if (w == NULL)
        return weft__fetch_add_relaxed(&rt->ids, 1) + 1; /* relaxed: only uniqueness */
    if (w->next_id == w->last_id) {
        w->next_id =
            weft__fetch_add_relaxed(&rt->ids, rt->options.debug != 0 ? 1 : ID_BLOCK); /* relaxed: only uniqueness */
        if (rt->options.debug != 0)
            return w->last_id = ++w->next_id; /* one at a time: each creation comes here, to be noted */
        w->last_id = w->next_id + ID_BLOCK;
    }
    return ++w->next_id;
}

/* What is kept beside the descriptor. False: memory. */
static bool take_options(struct weft_task *t, const weft_task_options *options)
{
    if (options->name != NULL && weft_task_set_name(t, options->name) < 0)
        return false;
    if (WEFT__TASK_HAS(options, strand) && options->strand != NULL) {
        struct weft__task_extra *x = weft__task_extra(t);
        if (x == NULL)
            return false;
        x->strand = weft_strand_ref(options->strand);
        weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_STRAND); /* pairs: TASK-REFS */
    }
    uint32_t where;
    int place = weft__pinned_place(weft__task_rt(t), options, &where);
    if (place >= 0 && where != WEFT_ANYWHERE) { /* the caller asks about places that do not exist */
        struct weft__task_extra *x = weft__task_extra(t);
        if (x == NULL)
            return false;
        x->where = where;
        x->pinned = (uint32_t)place;
        if (place > 0)
            weft__fetch_or_acq_rel(&t->flags, (uint16_t)WEFT__TASK_PINNED); /* pairs: TASK-REFS */
    }
    return true;
}

/* Takes over the reference; false: memory. */
static bool take_context(struct weft_task *t, struct weft_context *context)
{
    struct weft__task_extra *x = weft__task_extra(t);
    if (x != NULL)
        weft__store_release(&x->context, context); /* pairs: CONTEXT-PLACE */
    return x != NULL;
}

/* Is there a context to inherit, maybe? The usual case is none. */
static inline bool inherits(struct weft__worker *w, enum weft__kind kind)
{
    if (kind == WEFT__KIND_FUTURE)
        return false;
    if (w == NULL || w->current == NULL)
        return true;
    struct weft_task *t = w->current->task;
    return t != NULL && (!weft__task_counted(t) || weft__task_context(t) != NULL);
}

/* For address sanitizer each frame is a block of the heap. */
static inline unsigned room_for(size_t size)
{
    size_t room = size <= WEFT__INLINE_FRAME ? 0 : (size - WEFT__INLINE_FRAME - 1) / WEFT__ROOM_STEP + 1;
    return room < (WEFT__ASAN ? 1 : WEFT__ROOMS) ? (unsigned)room : WEFT__ROOM_HEAP;
}

struct weft_task *weft__task_create(struct weft_runtime *rt, enum weft__kind kind, const weft_frame *frame,
                                    const weft_task_options *options)
{
    struct weft__worker *w = weft__own_worker(rt);
    size_t size = frame->coro->size;
    weft_frame *heap = NULL;
    uint32_t stack_class = rt->stack_class;
    struct weft_context *context = NULL;
    if (weft__unlikely(options != NULL)) {
        if (!weft__task_options_valid(options))
            return NULL;
        if (options->stack_size != 0)
            stack_class = weft__stack_class(options->stack_size);
        if (WEFT__TASK_HAS(options, context) && options->context != NULL)
            context = weft__context_ref(options->context);
    }
    if (weft__unlikely(context == NULL && inherits(w, kind)) && weft__context_inherit(&context) < 0)
        return NULL;
    struct weft_task *t = NULL;
    unsigned room = room_for(size), slab = room != WEFT__ROOM_HEAP ? room : 0;
    if (room == WEFT__ROOM_HEAP && (heap = weft__heap_frame_get(size)) == NULL)
        goto err_context;
    if (w != NULL) {
        t = weft__slab_get(&rt->tasks[slab], &w->tasks[slab]);
    } else {
        weft__guard_lock(&rt->end_guard);
        t = rt->finished ? NULL : weft__slab_get(&rt->tasks[slab], NULL);
        weft__guard_unlock(&rt->end_guard);
    }
    if (t == NULL)
        goto err_heap;
    t->kind = (uint32_t)kind;
    t->rc = 0;
    t->frame = heap != NULL ? heap : (weft_frame *)(void *)t->inline_frame;
    weft__frame_copy(t->frame, frame, size);
    weft__store_relaxed(&t->fiber, w != NULL && kind == WEFT__KIND_TASK && options == NULL
                                       ? weft__task_home(w)
                                       : NULL); /* relaxed: TASK-NEW publishes */
    t->below = NULL;
    weft__store_relaxed(&t->requests, 0); /* relaxed: TASK-NEW publishes */
    weft__store_relaxed(&t->flags,
                        stack_class != rt->stack_class ? WEFT__TASK_OWN_STACK : 0U); /* relaxed: TASK-NEW publishes */
    t->stack_class = (uint8_t)stack_class;
    t->room = (uint8_t)room;
    weft__store_relaxed(&t->place, 0);            /* relaxed: a hint */
    weft__store_relaxed(&t->side, (uintptr_t)rt); /* relaxed: TASK-NEW publishes */
    t->id = kind == WEFT__KIND_TASK || kind == WEFT__KIND_THREAD ? next_id(rt, w) : 0;
    /* Nobody else has it: who walks the slab passes it by. */
    if (weft__unlikely(context != NULL) && !take_context(t, context))
        goto err_task;
    if (weft__unlikely(options != NULL) && !take_options(t, options)) {
        context = NULL; /* the task's */
        goto err_task;
    }
    bool future = kind == WEFT__KIND_FUTURE;
    weft__store_release(&t->refs, future ? 1 : 2); /* pairs: TASK-NEW, try_ref of somebody who walks the slab */
    weft__store_release(&t->word, future ? WEFT__STARTED : WEFT__NEW); /* pairs: TASK-NEW */
    if (!weft__task_visible(t))
        return t;
    if (w != NULL)
        weft__count(&w->counters.created, 1);
    else
        weft__fetch_add_relaxed(&rt->created_outside, 1); /* relaxed: statistic */
    return t;
err_task:
    weft__task_free(t);
    heap = NULL;
err_heap:
    weft__heap_frame_free(heap);
err_context:
    weft_context_release(context);
    return NULL;
}

struct weft_task *weft__future_create(struct weft_runtime *rt, const weft_frame *frame,
                                      const struct weft__future_kind *kind)
{
    struct weft_task *f = weft__task_create(rt, WEFT__KIND_FUTURE, frame, NULL);
    if (f != NULL)
        f->future = kind;
    if (f != NULL && kind != NULL)
        weft__fetch_or_acq_rel(&f->flags, (uint16_t)WEFT__TASK_DESTROY); /* pairs: TASK-REFS */
    return f;
}

void weft__task_schedule(struct weft_task *t)
{
    const struct weft__worker *w = weft__own_worker(weft__task_rt(t));
    if (w != NULL)
        weft__store_relaxed(&t->place, (uint16_t)weft__load_relaxed(&w->ready.tail)); /* relaxed: a hint */
    weft__make_ready(weft__task_rt(t), weft__item_of_task(t));
}
