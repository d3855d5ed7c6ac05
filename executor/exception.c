/* SPDX-License-Identifier: Apache-2.0 */
/* executor/exception.c -- errors that nobody is there to be told: to the program's handler, or a line in the report.
 *
 * Threads: any; the handler may be called by several at once. */
#include "executor/runtime.h"

static void report(struct weft_runtime *rt, const weft_exception *e)
{
    switch (e->kind) {
    case WEFT_CALLBACK_FAILED:
        weft__report(rt, "callback %s() failed with %d (%s)", e->function, e->error, weft_strerror(e->error));
        break;
    case WEFT_SHUTDOWN_FAILED:
        weft__report(rt, "task \"%s\" (%s) failed with %d (%s) when it was cancelled at the end of the run", e->name,
                     e->function, e->error, weft_strerror(e->error));
        break;
    default:
        weft__report(rt, "task \"%s\" (%s) failed with %d (%s), and nobody asked for its outcome", e->name, e->function,
                     e->error, weft_strerror(e->error));
        break;
    }
}

static void hand_over(struct weft_runtime *rt, const weft_exception *e)
{
    if (rt->options.exception_handler != NULL)
        rt->options.exception_handler(rt->options.exception_user, e);
    else
        report(rt, e);
}

void weft__exception(struct weft_runtime *rt, enum weft_exception_kind kind, struct weft_task *t, int error)
{
    char name[64] = "";
    if (t != NULL)
        weft_task_name(t, name, sizeof name);
    const char *function = t != NULL && t->frame != NULL ? t->frame->coro->name : "?";
    weft_exception e = {.size = sizeof e, .kind = kind, .error = error, .task = t, .name = name, .function = function};
    hand_over(rt, &e);
}

void weft_call_exception_handler(const weft_exception *e)
{
    struct weft_runtime *rt = weft_runtime_current();
    if (rt == NULL)
        weft__misuse("weft_call_exception_handler", "called outside a task or callback");
    weft_exception full = *e;
    if (full.name == NULL)
        full.name = "";
    if (full.function == NULL)
        full.function = "?";
    hand_over(rt, &full);
}
