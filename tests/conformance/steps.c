/* SPDX-License-Identifier: Apache-2.0 */
/* steps.c -- the table of steps, in the order of their names. */
#include "steps.h"

#include <stdlib.h>
#include <string.h>

#define WORD(i) (1u << (i))

/* name, function, which words must be names, suspends, which words are blocks (0: none), whether these are a
 * callback's */
static const struct step_kind step_kinds[] = {
    {"acquire", step_operation, WORD(1), true, 0, 0, false},
    {"add", step_add, WORD(1), false, 0, 0, false},
    {"all_tasks", step_all_tasks, WORD(1), false, 0, 0, false},
    {"as_completed", step_as_completed, WORD(3), true, 4, 0, false},
    {"await", step_await, 0, true, 0, 0, false},
    {"barrier_abort", step_barrier_abort, WORD(1), true, 0, 0, false},
    {"barrier_reset", step_barrier_reset, WORD(1), true, 0, 0, false},
    {"barrier_wait", step_operation, WORD(1), true, 0, 0, false},
    {"break", step_break, 0, true, 0, 0, false},
    {"call_at", step_call_at, 0, false, 2, 0, true},
    {"call_later", step_call_later, 0, false, 2, 0, true},
    {"call_soon", step_call_soon, 0, false, 1, 0, true},
    {"cancel", step_cancel, WORD(1), false, 0, 0, false},
    {"cancel_handle", step_cancel_handle, WORD(1), false, 0, 0, false},
    {"clear", step_clear, WORD(1), false, 0, 0, false},
    {"cond_wait", step_operation, WORD(1), true, 0, 0, false},
    {"cond_wait_for", step_cond_wait_for, WORD(1) | WORD(2), true, 0, 0, false},
    {"copy", step_copy, WORD(1) | WORD(2), false, 0, 0, false},
    {"create", step_create, WORD(1) | WORD(2), false, 0, 0, false},
    {"ctx_copy", step_ctx_copy, WORD(1), false, 0, 0, false},
    {"ctx_get", step_ctx_get, WORD(1) | WORD(2), false, 0, 0, false},
    {"ctx_reset", step_ctx_reset, WORD(1) | WORD(2), false, 0, 0, false},
    {"ctx_set", step_ctx_set, WORD(1), false, 0, 0, false},
    {"current", step_current, WORD(1), false, 0, 0, false},
    {"event_wait", step_operation, WORD(1), true, 0, 0, false},
    {"exception", step_exception, WORD(1), false, 0, 0, false},
    {"future", step_future, WORD(1), false, 0, 0, false},
    {"gather", step_gather, 0, true, 0, 0, false},
    {"get", step_operation, WORD(1), true, 0, 0, false},
    {"get_nowait", step_get_nowait, WORD(1), false, 0, 0, false},
    {"if", step_if, WORD(1), true, 3, 4, false},
    {"join", step_operation, WORD(1), true, 0, 0, false},
    {"let", step_let, WORD(1), false, 0, 0, false},
    {"loop", step_loop, 0, true, 2, 0, false},
    {"notify", step_notify, WORD(1), false, 0, 0, false},
    {"notify_all", step_notify_all, WORD(1), false, 0, 0, false},
    {"now", step_now, WORD(1), false, 0, 0, false},
    {"off_done", step_off_done, WORD(1) | WORD(2), false, 0, 0, false},
    {"on_done", step_on_done, WORD(1), false, 2, 0, true},
    {"put", step_operation, WORD(1), true, 0, 0, false},
    {"put_nowait", step_put_nowait, WORD(1), false, 0, 0, false},
    {"query", step_query, WORD(1) | WORD(2) | WORD(3), false, 0, 0, false},
    {"raise", step_raise, WORD(1), false, 0, 0, false},
    {"raise_cancelled", step_raise_cancelled, 0, false, 0, 0, false},
    {"release", step_release, WORD(1), false, 0, 0, false},
    {"reraise", step_reraise, 0, false, 0, 0, false},
    {"reschedule", step_reschedule, WORD(1), false, 0, 0, false},
    {"result", step_result, WORD(1), false, 0, 0, false},
    {"return", step_return, 0, true, 0, 0, false},
    {"run_threadsafe", step_run_threadsafe, WORD(1), true, 0, 0, false},
    {"set", step_set, WORD(1), false, 0, 0, false},
    {"set_error", step_set_error, WORD(1) | WORD(2), false, 0, 0, false},
    {"set_name", step_set_name, WORD(1) | WORD(2), false, 0, 0, false},
    {"set_result", step_set_result, WORD(1), false, 0, 0, false},
    {"shutdown", step_shutdown, WORD(1), false, 0, 0, false},
    {"sleep", step_operation, 0, true, 0, 0, false},
    {"task_done", step_task_done, WORD(1), false, 0, 0, false},
    {"taskgroup", step_taskgroup, WORD(1), true, 2, 0, false},
    {"tg_create", step_tg_create, WORD(1) | WORD(2) | WORD(3), false, 0, 0, false},
    {"timeout", step_timeout, 0, true, 2, 0, false},
    {"timeout_at", step_timeout_at, 0, true, 2, 0, false},
    {"to_thread", step_to_thread, 0, true, 0, 0, false},
    {"trace", step_trace, 0, false, 0, 0, false},
    {"tracev", step_tracev, WORD(2), false, 0, 0, false},
    {"try", step_try, 0, true, 1, 0, false},
    {"uncancel", step_uncancel, WORD(1), false, 0, 0, false},
    {"wait", step_wait, WORD(2), true, 0, 0, false},
    {"wait_for", step_wait_for, 0, true, 0, 0, false},
    {"with", step_with, WORD(1), true, 2, 0, false},
    {"yield", step_yield, 0, true, 0, 0, false},
};

static int by_name(const void *name, const void *kind)
{
    return strcmp(name, ((const struct step_kind *)kind)->name);
}

const struct step_kind *step_kind_named(const char *name)
{
    return bsearch(name, step_kinds, sizeof step_kinds / sizeof step_kinds[0], sizeof step_kinds[0], by_name);
}
