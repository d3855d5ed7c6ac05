/* SPDX-License-Identifier: Apache-2.0 */
/* executor/context_vars.c -- context variables (weft/context.h).
 *
 * A context is a counted cell that holds a list of bindings, newest first. Bindings never change and are shared: a copy of a context is a
 * new cell with the same list, so inheriting is one allocation, and none at all while no variable is set (a NULL cell is an empty
 * context). A set puts a new binding before those that follow the old one of the same variable, copying what stood before that: lists
 * stay as short as there are variables.
 *
 * Whose: the cell belongs to a task, a callback, a helper thread's job, or the program (weft_context_copy). Forked children use their
 * parent's at the same time, and tasks may share one: hence the guard, held for the few instructions that read or exchange the list. A set
 * prepares the new list outside of it, and does so again when another one came first: no set is lost. The cell itself is made by the first
 * set; of several at once one makes it. CONTEXT-PLACE: the cell, before its address is in the task's extra.
 *
 * Threads: any; see each function of the header. */
#include "executor/context_vars.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/guard.h"
#include "executor/runtime.h"

struct binding {
    _Atomic(uint32_t) refs; /* BINDING-REFS: the last drop comes after all that others did with it */
    const weft_context_var *var;
    void *value;
    struct binding *next; /* referenced */
};

struct weft_context {
    _Atomic(uint32_t) refs; /* CONTEXT-REFS: as above */
    uint32_t guard;         /* of first */
    struct binding *first;  /* referenced */
};

static struct binding *binding_ref(struct binding *b)
{
    if (b != NULL)
        weft__fetch_add_relaxed(&b->refs, 1); /* relaxed: the caller holds the list */
    return b;
}

static void binding_drop(struct binding *b)
{
    while (b != NULL && weft__fetch_sub_acq_rel(&b->refs, 1) == 1) { /* pairs: BINDING-REFS (itself) */
        struct binding *next = b->next;
        free(b);
        b = next;
    }
}

/* Takes over the reference of next, also when memory is short. */
static struct binding *bind(const weft_context_var *var, void *value, struct binding *next)
{
    struct binding *b = malloc(sizeof *b);
    if (b == NULL) {
        binding_drop(next);
        return NULL;
    }
    weft__store_relaxed(&b->refs, 1); /* relaxed: not shared yet */
    b->var = var;
    b->value = value;
    b->next = next;
    return b;
}

static struct binding *find(struct binding *b, const weft_context_var *var)
{
    while (b != NULL && b->var != var)
        b = b->next;
    return b;
}

/* The list without the binding of var; referenced. False: memory is short. */
static bool without(struct binding *list, const weft_context_var *var, struct binding **out)
{
    struct binding *old = find(list, var);
    if (old == NULL) {
        *out = binding_ref(list);
        return true;
    }
    /* Those before it are copied, in their order: recursion would be simpler, but a list may be long. */
    struct binding *first = NULL, *last = NULL;
    for (struct binding *at = list; at != old; at = at->next) {
        struct binding *copy = bind(at->var, at->value, NULL);
        if (copy == NULL) {
            binding_drop(first);
            return false;
        }
        if (last != NULL)
            last->next = copy;
        else
            first = copy;
        last = copy;
    }
    struct binding *rest = binding_ref(old->next);
    if (last != NULL)
        last->next = rest;
    else
        first = rest;
    *out = first;
    return true;
}

static struct binding *list_of(struct weft_context *c)
{
    weft__guard_lock(&c->guard);
    struct binding *list = binding_ref(c->first);
    weft__guard_unlock(&c->guard);
    return list;
}

/* False when it is not `old` any more, which the caller holds, so that its address is not another list's. Takes over both references. */
static bool exchange_list(struct weft_context *c, struct binding *old, struct binding *list)
{
    weft__guard_lock(&c->guard);
    bool same = c->first == old;
    if (same)
        c->first = list;
    weft__guard_unlock(&c->guard);
    binding_drop(same ? old : list);
    binding_drop(old);
    return same;
}

/* ---- whose ------------------------------------------------------------------------------------------------------- */

static _Thread_local struct weft_task *thread_job; /* of a helper thread */

WEFT__NOINLINE void weft__context_enter_thread(struct weft_task *job)
{
    thread_job = job;
}

/* Whose context is the current one; NULL outside. Never inlined: see weft__worker_self. */
static WEFT__NOINLINE struct weft_task *whose(void)
{
    struct weft__fiber *f = weft__fiber_self();
    if (f == NULL) {
        __asm__ volatile("" ::: "memory");
        return thread_job;
    }
    return weft__fiber_counted_task(f);
}

struct weft_context *weft__context_current(void)
{
    struct weft_task *t = whose();
    return t != NULL ? weft__task_context(t) : NULL;
}

/* That of a task, made if need be. NULL: memory. */
static struct weft_context *make_current(struct weft_task *t)
{
    struct weft_context *c = weft__task_context(t), *fresh;
    struct weft__task_extra *x = NULL;
    if (c != NULL || (x = weft__task_extra(t)) == NULL || (fresh = weft__context_new()) == NULL)
        return c;
    if (weft__cas_acq_rel(&x->context, &c, fresh)) /* pairs: CONTEXT-PLACE */
        return fresh;
    weft_context_release(fresh);
    return c;
}

struct weft_context *weft__context_new(void)
{
    struct weft_context *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    weft__store_relaxed(&c->refs, 1); /* relaxed: not shared yet */
    c->guard = 0;
    c->first = NULL;
    return c;
}

int weft__context_inherit(struct weft_context **out)
{
    struct weft_context *from = weft__context_current();
    *out = NULL;
    if (weft__likely(from == NULL))
        return 0;
    struct weft_context *c = weft__context_new();
    if (c == NULL)
        return -ENOMEM;
    c->first = list_of(from);
    *out = c;
    return 0;
}

struct weft_context *weft__context_ref(struct weft_context *c)
{
    weft__fetch_add_relaxed(&c->refs, 1); /* relaxed: the caller holds it */
    return c;
}

void weft_context_release(weft_context *c)
{
    if (c == NULL || weft__fetch_sub_acq_rel(&c->refs, 1) != 1) /* pairs: CONTEXT-REFS (itself) */
        return;
    binding_drop(c->first);
    free(c);
}

weft_context *weft_context_copy(void)
{
    struct weft_context *c = NULL;
    if (weft__context_inherit(&c) < 0)
        return NULL;
    return c != NULL ? c : weft__context_new();
}

/* ---- variables --------------------------------------------------------------------------------------------------- */

static bool lookup(struct weft_context *c, const weft_context_var *var, void **value)
{
    if (c == NULL)
        return false;
    weft__guard_lock(&c->guard);
    struct binding *b = find(c->first, var);
    if (b != NULL)
        *value = b->value;
    weft__guard_unlock(&c->guard);
    return b != NULL;
}

void *weft_context_lookup(weft_context *c, const weft_context_var *var)
{
    void *value = var->default_value;
    lookup(c, var, &value);
    return value;
}

void *weft_context_get(const weft_context_var *var)
{
    return weft_context_lookup(weft__context_current(), var);
}

/* Make `list` (of c) one in which var has the value, or, without `bound`, none. 1: done, 0: another change came first, -ENOMEM. Takes over
 * the reference of list. */
static int change(struct weft_context *c, struct binding *list, const weft_context_var *var, bool bound, void *value)
{
    struct binding *rest;
    bool ok = without(list, var, &rest);
    if (ok && bound)
        ok = (rest = bind(var, value, rest)) != NULL;
    if (ok)
        return exchange_list(c, list, rest);
    binding_drop(list);
    return -ENOMEM;
}

int weft_context_set(const weft_context_var *var, void *value, weft_context_token *token)
{
    struct weft_task *t = whose();
    if (t == NULL)
        return -EINVAL;
    struct weft_context *c = make_current(t);
    if (c == NULL)
        return -ENOMEM;
    weft_context_token old;
    int rc;
    do {
        struct binding *list = list_of(c), *before = find(list, var);
        old = (weft_context_token){
            .var_ = var, .context_ = c, .old_ = before != NULL ? before->value : NULL, .had_ = before != NULL};
        rc = change(c, list, var, true, value);
    } while (rc == 0);
    if (rc > 0 && token != NULL)
        *token = old;
    return rc > 0 ? 0 : rc;
}

int weft_context_reset(const weft_context_token *token)
{
    struct weft_context *c = weft__context_current();
    if (c == NULL || token->var_ == NULL || token->context_ != c)
        return -EINVAL;
    int rc;
    do {
        rc = change(c, list_of(c), token->var_, token->had_, token->old_);
    } while (rc == 0);
    return rc > 0 ? 0 : rc;
}
