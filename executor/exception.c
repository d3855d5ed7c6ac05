/* SPDX-License-Identifier: Apache-2.0 */
/* executor/exception.c -- errors that nobody is there to be told: to the program's handler, or a line in the report.
 *
 * Threads: any; the handler may be called by several at once. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "executor/runtime.h"

/* ---- debug mode: where a task comes from ------------------------------------------------------------------------- */

void weft__note_creation(struct weft_task *t, const void *address)
{
    struct weft__task_extra *x = weft__task_extra(t);
    if (x != NULL)
        weft__store_relaxed(&x->created_at, address); /* relaxed: static data; a dump may look meanwhile */
}

void weft__creation_text(struct weft_task *t, char *buf, size_t size)
{
    struct weft__task_extra *x = weft__task_has_extra(t);
    const void *at = x != NULL ? weft__load_relaxed(&x->created_at) : NULL; /* relaxed: stands for itself */
    Dl_info info;
    buf[0] = '\0';
    if (at == NULL || dladdr(at, &info) == 0 || info.dli_fname == NULL)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(buf, size, "%s+%#zx", slash != NULL ? slash + 1 : info.dli_fname,
             (size_t)((const char *)at - (const char *)info.dli_fbase) - 1);
}

/* ---- the handler ------------------------------------------------------------------------------------------------- */

static void report(struct weft_runtime *rt, const weft_exception *e)
{
    char created[160] = "";
    if (e->created_at[0] != '\0')
        snprintf(created, sizeof created, " (created at %s)", e->created_at);
    switch (e->kind) {
    case WEFT_CALLBACK_FAILED:
        weft__report(rt, "callback %s() failed with %d (%s)", e->function, e->error, weft_strerror(e->error));
        break;
    case WEFT_SHUTDOWN_FAILED:
        weft__report(rt, "task \"%s\" (%s) failed with %d (%s) when it was cancelled at the end of the run%s", e->name,
                     e->function, e->error, weft_strerror(e->error), created);
        break;
    default:
        if (e->name[0] == '\0') {
            weft__report(rt, "a future (%s) failed with %d (%s), and nobody asked for its outcome", e->function,
                         e->error, weft_strerror(e->error));
            break;
        }
        weft__report(rt, "task \"%s\" (%s) failed with %d (%s), and nobody asked for its outcome%s", e->name,
                     e->function, e->error, weft_strerror(e->error), created);
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
    char name[64] = "", created[128] = "";
    if (t != NULL) {
        weft_task_name(t, name, sizeof name);
        weft__creation_text(t, created, sizeof created);
    }
    const char *function = t != NULL && t->frame != NULL ? t->frame->coro->name : "?";
    weft_exception e = {.size = sizeof e,
                        .kind = kind,
                        .error = error,
                        .task = t,
                        .name = name,
                        .function = function,
                        .created_at = created};
    hand_over(rt, &e);
}

void weft_call_exception_handler(const weft_exception *e)
{
    struct weft_runtime *rt = weft_runtime_current();
    if (rt == NULL)
        weft__misuse("weft_call_exception_handler", "called outside a task or callback");
    weft_exception full = {0};
    if (e->size < offsetof(weft_exception, created_at) || e->size > sizeof full)
        weft__misuse("weft_call_exception_handler", "the size is not that of a weft_exception");
    memcpy(&full, e, e->size);
    full.size = sizeof full;
    if (full.created_at == NULL)
        full.created_at = "";
    if (full.name == NULL)
        full.name = "";
    if (full.function == NULL)
        full.function = "?";
    hand_over(rt, &full);
}
