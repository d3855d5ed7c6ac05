/* SPDX-License-Identifier: Apache-2.0 */
/* steps.h -- every step of the language: its function, by the file that has it. The table is in steps.c. */
#ifndef CONFORMANCE_STEPS_H
#define CONFORMANCE_STEPS_H

#include "awaitables.h"

/* steps_slots.c: tracing, slots, looking at things */
step_function step_trace, step_tracev, step_let, step_copy, step_add, step_now, step_current, step_all_tasks,
    step_query;
/* steps_tasks.c: tasks and futures */
step_function step_create, step_future, step_await, step_gather, step_wait_for, step_wait, step_as_completed;
step_function step_cancel, step_uncancel, step_result, step_exception, step_set_result, step_set_error, step_set_name;
/* steps_control.c: control */
step_function step_try, step_raise, step_raise_cancelled, step_reraise, step_return, step_loop, step_break, step_if;
/* steps_scopes.c: time limits and task groups */
step_function step_timeout, step_timeout_at, step_reschedule, step_taskgroup, step_tg_create;
/* steps_callbacks.c */
step_function step_on_done, step_off_done, step_call_soon, step_call_later, step_call_at, step_cancel_handle;
/* operations.c: what is an awaitable too */
step_function step_operation, step_yield;
/* steps_objects.c: the rest of what is done to objects */
step_function step_with, step_release, step_set, step_clear, step_cond_wait_for, step_notify, step_notify_all;
step_function step_barrier_reset, step_barrier_abort, step_put_nowait, step_get_nowait, step_task_done, step_shutdown;
/* steps_threads.c: context variables and threads */
step_function step_ctx_set, step_ctx_get, step_ctx_reset, step_ctx_copy, step_to_thread, step_run_threadsafe;

/* A lock, a condition's lock or a semaphore. */
struct flow object_acquire(struct call *c, struct object *o);
struct flow object_release(struct call *c, struct object *o);
/* The object that argument i names; raises Unset, or Unsupported if it is of another type. */
struct flow step_object(struct call *c, const json_t *step, size_t i, struct object **out);
struct flow step_object_of(struct call *c, const json_t *step, size_t i, enum object_type type, struct object **out);

/* A time limit; outlives its block, for those who ask whether it has expired. */
struct scope {
    weft_timeout limit;
    const struct future *owner;
};
/* The time limit in a slot. Its calls belong to the task that opened it: asking from elsewhere is Unsupported. */
struct flow slot_scope(struct call *c, const char *name, struct scope **out);
void callbacks_release(struct run *run);
void contexts_release(struct run *run);

#endif
