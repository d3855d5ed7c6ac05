/* SPDX-License-Identifier: Apache-2.0 */
/* executor/fiber_ends.c -- what is looked at when a task's function has returned, and what is said when something is wrong: left open, called
 * from outside, out of stack. Off the usual way.
 *
 * Threads: whoever runs the fiber; describe: a signal handler of its thread. */
#include "executor/fiber_run.h"
#include "executor/task_hot.h"

_Noreturn WEFT__COLD void weft__barrier_broken(const weft_coro *coro)
{
    weft__misuse(coro->name, "a C++ exception left the coroutine; catch it inside and return an error");
}

static WEFT__COLD void left_open(struct weft_task *t, const weft_coro *coro)
{
    if (weft__load_relaxed(&t->open) & WEFT__TASK_FORKED) /* relaxed: its own */
        weft__misuse(coro->name, WEFT__RETURNED_FORKED);
    weft__misuse(coro->name, "the coroutine returned with a time limit or a group still open: each weft_timeout_begin "
                             "needs its weft_timeout_end, each weft_group_begin its weft_group_join");
}

void weft__fiber_check_end(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro)
{
    if (weft__unlikely(weft__load_relaxed(&t->open) != 0)) /* relaxed: its own */
        left_open(t, coro); /* first: in the child of a fork() there is no fiber to be had */
    if (weft__unlikely(f->unusual & (WEFT__FIBER_BATCH | WEFT__FIBER_SCOPE))) {
        if (f->unusual & WEFT__FIBER_BATCH)
            weft__batch_close(f); /* left open: its memory is about to go */
        if ((f->unusual & WEFT__FIBER_SCOPE) && weft__scope_left(f, t))
            left_open(t, coro);
    }
}

WEFT__NOINLINE int weft__fiber_ran(struct weft__fiber *f, struct weft_task *t, const weft_coro *coro, int rc)
{
    weft__fiber_check_end(f, t, coro);
    while (f->unusual & WEFT__FIBER_PARK_AGAIN) { /* it has waited for what it would have been parked at */
        weft__fiber_clear(f, WEFT__FIBER_PARK_AGAIN);
        if (rc != WEFT_PARK)
            break;
        rc = weft__call_entry(coro, t->frame);
        weft__fiber_check_end(f, t, coro);
    }
    return rc;
}

/* ---- who am I ---------------------------------------------------------------------------------------------------- */

void weft__outside_task(const char *call)
{
    weft__misuse(call, "called outside a task; it may only be called by a coroutine that a runtime runs");
}

/* In a signal handler: only plain reads and own formatting. */
void weft__fiber_describe(void *fiber, char *buf, size_t size)
{
    struct weft__fiber *f = fiber;
    struct weft_task *t = f->task;
    const char *function = t != NULL && t->frame != NULL ? t->frame->coro->name : "?";
    while (t != NULL && !weft__task_counted(t))
        t = t->parent;
    char number[24];
    size_t digits = 0;
    const char *name = NULL;
    if (t != NULL) {
        struct weft__task_extra *x = weft__task_has_extra(t);
        name = x != NULL ? weft__load_relaxed(&x->name) : NULL; /* relaxed: a report from a dying process */
        for (uint64_t id = t->id; digits == 0 || id != 0; id /= 10)
            number[digits++] = (char)('0' + id % 10);
    }
    size_t at = 0;
#define PUT(c)                                                                                                         \
    do {                                                                                                               \
        if (at + 1 < size)                                                                                             \
            buf[at++] = (c);                                                                                           \
    } while (0)
    PUT('"');
    for (const char *p = name != NULL ? name : "Task-"; *p != '\0'; p++)
        PUT(*p);
    while (name == NULL && digits != 0)
        PUT(number[--digits]);
    PUT('"');
    PUT(' ');
    PUT('(');
    for (const char *p = function; *p != '\0'; p++)
        PUT(*p);
    PUT(')');
#undef PUT
    if (size != 0)
        buf[at] = '\0';
}
