/* SPDX-License-Identifier: Apache-2.0 */
/* executor/task_api.c -- the handle's public functions that never wait (weft/task.h): references, state, names, who am I. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/alone.h"
#include "executor/guard.h"
#include "executor/task_hot.h"

/* What is left of weft_release when the short way is not open. */
WEFT__NOINLINE void weft__task_unref_checked(struct weft_task *t)
{
    if (weft__unlikely(weft__load_relaxed(&t->refs) == 0)) /* relaxed: a hint at a mistake */
        weft__task_over_released(t);
    unsigned room = t->room;
    if (room == WEFT__ROOM_USUAL || room == WEFT__ROOM_HEAP || !weft__task_unref_alone(t, room))
        weft__task_unref(t);
}

/* The descriptor may be free, or on its way there; its memory stays a descriptor's, and keeps the number and a frame that is in it. */
WEFT__COLD _Noreturn void weft__task_over_released(const struct weft_task *t)
{
    const weft_frame *frame = t->frame;
    if (frame == NULL && t->room != WEFT__ROOM_HEAP)
        frame = (const void *)t->inline_frame;
    const char *function = frame != NULL && frame->coro != NULL ? frame->coro->name : "?";
    char name[64], what[256];
    weft_task_name(t, name, sizeof name);
    snprintf(
        what, sizeof what,
        "a handle was given back more often than it was given, of %s (%s); weft_current_task() gives none, it lends",
        name[0] != '\0' ? name : "a future or callback", function);
    weft__misuse("weft_release", what);
}

weft_task *weft_ref(weft_task *t)
{
    if (t != NULL)
        weft__fetch_add_relaxed(&t->refs, 1); /* relaxed: the caller holds a reference already */
    return t;
}

void weft_release(weft_task *t)
{
    if (weft__likely(t != NULL))
        weft__task_unref_here(t);
}

bool weft_done(const weft_task *t)
{
    return t == NULL || weft__task_state(t) == WEFT__DONE;
}

int weft_status(const weft_task *t)
{
    if (t == NULL)
        return -ENOMEM;
    return weft__task_state(t) == WEFT__DONE ? weft__task_take_rc((weft_task *)t) : -EINPROGRESS;
}

bool weft_cancelled(const weft_task *t)
{
    return t != NULL && weft__task_state(t) == WEFT__DONE && weft__task_rc(t) == -ECANCELED &&
           !(weft__load_relaxed(&((weft_task *)t)->flags) & WEFT__TASK_PASSED_ON); /* relaxed: TASK-DONE orders */
}

WEFT__COLD bool weft__coro_is_like(const weft_coro *a, const weft_coro *b)
{
    if (a->entry != b->entry || a->size != b->size)
        return false;
    return a->entry != NULL || strcmp(a->name, b->name) == 0; /* a future's value: no function tells types apart */
}

/* One function's description in a header is one for each file that includes it, with a copy of the function if that stands there too. */
static WEFT__COLD _Noreturn void result_of_another(const weft_coro *runs, const weft_coro *named)
{
    char what[256];
    const char *is = runs->entry != NULL ? "task runs" : "future gives";
    if (strcmp(runs->name, named->name) != 0)
        snprintf(what, sizeof what, "the %s %s, not %s", is, runs->name, named->name);
    else if (runs->entry != NULL)
        snprintf(what, sizeof what,
                 "the task runs %s, described in another file: use WEFT_CORO_DECLARE and WEFT_CORO_DEFINE", runs->name);
    else
        snprintf(what, sizeof what, "the future gives %s, a struct of another size in another file", runs->name);
    weft__misuse("weft_result", what);
}

/* Not the usual case: an equal description in another place, or a mistake. */
static WEFT__COLD const void *result_otherwise(struct weft_task *t, const weft_coro *coro)
{
    if (t == NULL)
        weft__misuse("weft_result", "the task is NULL: it could not be created");
    if (weft__task_state(t) != WEFT__DONE)
        weft__misuse("weft_result", "the task has not ended");
    if (!weft__coro_is_same(t->frame->coro, coro))
        result_of_another(t->frame->coro, coro);
    weft__task_set_retrieved(t);
    return t->frame;
}

const void *weft_result_(const weft_task *task, const weft_coro *coro)
{
    struct weft_task *t = (weft_task *)task;
    if (weft__unlikely(t == NULL || weft__task_state(t) != WEFT__DONE || t->frame->coro != coro))
        return result_otherwise(t, coro);
    if (t->rc < 0) /* a success is nobody's loss */
        weft__task_set_retrieved(t);
    return t->frame;
}

weft_task *weft_current_task(void)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = f != NULL ? weft__fiber_counted_task(f) : NULL;
    return t != NULL && t->kind == WEFT__KIND_TASK ? t : NULL;
}

/* ---- what most tasks do without ---------------------------------------------------------------------------------- */

struct weft__task_extra *weft__task_extra(struct weft_task *t)
{
    if (!weft__task_counted(t))
        return NULL;
    uintptr_t side = weft__load_acquire(&t->side); /* pairs: TASK-EXTRA */
    struct weft__task_extra *x = weft__task_extra_of(side), *fresh;
    if (x != NULL || (fresh = calloc(1, sizeof *fresh)) == NULL)
        return x;
    fresh->rt = (struct weft_runtime *)side;
    if (weft__cas_acq_rel(&t->side, &side, (uintptr_t)fresh + 1)) /* pairs: TASK-EXTRA */
        return fresh;
    free(fresh);
    return weft__task_extra_of(side);
}

const char *weft__task_take_message(struct weft_task *t)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    if (weft__likely(x == NULL))
        return NULL;
    if (t->kind == WEFT__KIND_FUTURE ||
        (weft__load_relaxed(&t->flags) & WEFT__TASK_KEEP_MESSAGE))  /* relaxed: TASK-DONE orders */
        return weft__load_relaxed(&x->outcome);                     /* relaxed: TASK-DONE orders */
    return weft__exchange_acq_rel(&x->outcome, (const char *)NULL); /* pairs: TASK-DONE */
}

const char *weft_cancel_message(void)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = f != NULL ? weft__fiber_counted_task(f) : NULL;
    struct weft__task_extra *x = t != NULL ? weft__task_has_extra(t) : NULL;
    return x != NULL ? x->met : NULL;
}

void weft_set_cancel_message(const char *message)
{
    struct weft__fiber *f = weft__fiber_self();
    struct weft_task *t = f != NULL ? weft__fiber_counted_task(f) : NULL;
    if (t != NULL)
        weft__task_met(t, message);
}

/* ---- names, enumeration ------------------------------------------------------------------------------------------ */

/* A name is never freed while the task lives (a reader may be copying it): an old one is kept in a list until the end. */
struct name {
    struct name *older;
    char text[];
};

size_t weft_task_name(const weft_task *t, char *buf, size_t size)
{
    if (t == NULL)
        return (size_t)snprintf(buf, size, "(none)");
    struct weft__task_extra *x = weft__task_has_extra(t);
    const char *name = x != NULL ? weft__load_acquire(&x->name) : NULL; /* pairs: TASK-NAME */
    if (name == NULL && !weft__task_visible(t))                         /* futures and callbacks have none */
        name = "";
    int n =
        name != NULL ? snprintf(buf, size, "%s", name) : snprintf(buf, size, "Task-%llu", (unsigned long long)t->id);
    return n > 0 ? (size_t)n : 0;
}

int weft_task_set_name(weft_task *t, const char *name)
{
    if (t == NULL)
        return -ENOMEM;
    if (name == NULL)
        return -EINVAL;
    size_t n = strlen(name) + 1;
    struct weft__task_extra *x = weft__task_extra(t);
    struct name *fresh = x != NULL ? malloc(sizeof *fresh + n) : NULL;
    if (fresh == NULL)
        return -ENOMEM;
    memcpy(fresh->text, name, n);
    char *old = weft__load_acquire(&x->name); /* pairs: TASK-NAME */
    do {
        fresh->older = old != NULL ? weft__container_of(old, struct name, text) : NULL;
    } while (!weft__cas_acq_rel(&x->name, &old, fresh->text)); /* pairs: TASK-NAME */
    return 0;
}

void weft__task_names_free(struct weft__task_extra *x)
{
    char *text = weft__load_relaxed(&x->name); /* relaxed: the last reference is gone, TASK-REFS orders */
    for (struct name *at = text != NULL ? weft__container_of(text, struct name, text) : NULL; at != NULL;) {
        struct name *older = at->older;
        free(at);
        at = older;
    }
}

struct collect {
    struct weft_task **tasks;
    size_t count, capacity;
    bool failed;
    bool fixed; /* no more than `capacity`, and no hidden ones, which would take the place of others */
};

static void collect_task(void *user, void *object)
{
    struct collect *c = user;
    struct weft_task *t = object;
    uint64_t state = weft__task_state(t);
    if (c->failed || (state != WEFT__NEW && state != WEFT__STARTED) || (c->fixed && c->count == c->capacity) ||
        !weft__task_try_ref(t))
        return; /* without a reference it may be freed, and what it is, be lost, at any moment */
    bool hidden = (weft__load_relaxed(&t->flags) & WEFT__TASK_HIDDEN) != 0; /* relaxed: set before TASK-NEW */
    if (!weft__task_visible(t) || (c->fixed && hidden)) {
        weft__task_unref(t);
        return;
    }
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

/* Those collected that have not ended, in order of creation. */
static long keep_alive(struct collect *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) { /* a reference may have been got to one that ended or is hidden */
        uint64_t state = weft__task_state(c->tasks[i]);
        uint32_t flags = weft__load_relaxed(&c->tasks[i]->flags); /* relaxed: HIDDEN is set before TASK-NEW */
        if (c->failed || (state != WEFT__NEW && state != WEFT__STARTED) || (flags & WEFT__TASK_HIDDEN) ||
            !weft__task_visible(c->tasks[i]))
            weft__task_unref(c->tasks[i]);
        else
            c->tasks[kept++] = c->tasks[i];
    }
    if (kept > 1)
        qsort(c->tasks, kept, sizeof *c->tasks, by_id);
    return (long)kept;
}

static void collect_into(struct weft_runtime *rt, struct collect *c)
{
    unsigned visit = weft__stranger_begin(rt);
    weft__each_task(rt, collect_task, c);
    weft__stranger_end(rt, visit);
}

long weft__all_tasks(struct weft_runtime *rt, struct weft_task ***out)
{
    struct collect c = {.tasks = NULL};
    collect_into(rt, &c);
    long kept = keep_alive(&c);
    if (c.failed) {
        free(c.tasks);
        *out = NULL;
        return -ENOMEM;
    }
    *out = c.tasks;
    return kept;
}

long weft__some_tasks(struct weft_runtime *rt, struct weft_task **room, size_t most)
{
    for (;;) {
        struct collect c = {.tasks = room, .capacity = most, .fixed = true};
        collect_into(rt, &c);
        long kept = keep_alive(&c);
        if (kept != 0 || c.count < most)
            return kept; /* else all of these have ended meanwhile, and there may be others */
    }
}

int weft_all_tasks(int (*visit)(void *user, weft_task *t), void *user)
{
    struct weft__fiber *f = weft__fiber_require("weft_all_tasks");
    struct weft_task **tasks;
    long n = weft__all_tasks(f->rt, &tasks);
    int rc = n < 0 ? (int)n : 0;
    for (long i = 0; i < n; i++) {
        if (rc == 0)
            rc = visit(user, tasks[i]);
        weft__task_unref(tasks[i]);
    }
    free(tasks);
    return rc;
}
