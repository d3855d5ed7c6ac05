/* SPDX-License-Identifier: Apache-2.0 */
/* interp.h -- the interpreter of the conformance language: what its parts share.
 *
 *   a program   names coroutines; each is a list of steps (JSON, read where it lies)
 *   a run       one execution of a program on a fresh runtime: slots, objects, tasks, trace
 *   a call      one call of a coroutine, or of a callback's steps; knows whose task it is
 *   a step      leaves by a flow: on to the next step, or return, break, raise, as exceptions would
 *   a future    whatever can be awaited and named by a slot: a task, a future, a gather, a shield
 *
 * Only weft's public headers are used: what works here works for every program.
 *
 * Threads. Steps run in tasks on any worker, steps of different tasks at the same time. What they share is the
 * slots (slots.h), the codes (codes.h), the memory (memory.h), the register of futures and the trace (both under
 * run->lock); the rest belongs to one task, or does not change once it is known to others. No lock is held where a
 * task may suspend. */
#ifndef CONFORMANCE_INTERP_H
#define CONFORMANCE_INTERP_H

#include <errno.h>
#include <stdatomic.h>
#include <weft.h>

#include "codes.h"
#include "slots.h"

/* ---- options ----------------------------------------------------------------------------------------------------- */

struct settings {
    unsigned workers;
    enum weft_order order;
    enum weft_inlining inlining;
    enum weft_sched sched;
    uint64_t seed;
    bool structured; /* children that are waited for where they are made are forked, not created */
    unsigned limit;  /* seconds of real time for one program */
};

/* ---- a run ------------------------------------------------------------------------------------------------------- */

struct future;
struct object;
struct callback;
struct event;
struct error_report;
struct site;

struct base_name {
    const char *name;
    unsigned count;
    struct base_name *next;
};

struct run {
    struct memory memory;
    struct codes codes;
    const struct settings *settings;
    const json_t *program;
    struct slots *globals;
    struct object *objects;
    const struct site *sites;          /* steps that fork (structured.h); NULL: none */
    _Atomic(const char *) unsupported; /* what the program wants and the interpreter has not; NULL: nothing */
    _Atomic(weft_ns) now;              /* when the last step ran: the clock cannot be asked after a deadlock */
    bool deadlocked;

    pthread_mutex_t lock; /* of all below */
    struct future *futures, **futures_end;
    struct future *tasks, **tasks_end; /* those with an identity, in order of creation */
    struct base_name *base_names;
    struct callback *callbacks;
    struct context_ref *contexts;
    struct event *events, **events_end;
    struct error_report *reports, **reports_end;
    struct future *releasing; /* at the end: whose handle is being given back */
};

/* Run a program and return its result object, with the trace as the array "trace". A new reference. (run.c) */
json_t *run_program(const json_t *program, const struct settings *settings);

/* ---- leaving a step ---------------------------------------------------------------------------------------------- */

enum flow_kind { FLOW_NEXT, FLOW_RETURN, FLOW_BREAK, FLOW_RAISE };

struct flow {
    enum flow_kind kind;
    int error;           /* FLOW_RAISE: a code, or -ECANCELED */
    const char *message; /* of a cancellation; NULL: none */
};

#define NEXT ((struct flow){.kind = FLOW_NEXT})

static inline struct flow raise_code(int code)
{
    return (struct flow){.kind = FLOW_RAISE, .error = code};
}

struct call {
    struct run *run;
    struct future *me; /* NULL in a callback */
    struct slots *locals;
    const struct flow *handling; /* what the innermost handler handles */
    struct value returned;       /* with FLOW_RETURN */
};

/* What a result of the library means: 0 or a count is NEXT, a code and -ECANCELED are raised; `rc` is raised as
 * `code`; anything else shows up as an error that no program expects. Right after the call: asks for the
 * cancellation's message. */
struct flow flow_of(struct call *c, int rc, int errno_value, int code);
static inline struct flow flow_plain(struct call *c, int rc)
{
    return flow_of(c, rc, 0, 0);
}
/* The other way: a flow as the result of a coroutine; sets the cancellation's message. */
int flow_leave(const struct flow *f);

/* ---- steps (block.c, steps.c, steps_*.c) ------------------------------------------------------------------------- */

typedef struct flow step_function(struct call *c, const json_t *step);

struct step_kind {
    const char *name;
    step_function *run;
    unsigned names;      /* which words must be names, a bit for each: bit 1 is the first after the step's own */
    bool suspends;       /* may not stand in a callback */
    unsigned block_arg;  /* this argument is a block of steps; 0: none */
    unsigned block_arg2; /* and this one */
    bool callback_block; /* the block is a callback's */
};

const struct step_kind *step_kind_named(const char *name);

/* NULL when every step of the program is known, else what is not. (check.c) */
const char *program_check(struct memory *m, const json_t *program);

struct flow block_run(struct call *c, const json_t *steps);
/* Call a coroutine inside the current task; *result may be NULL. */
struct flow coroutine_call(struct run *run, struct future *me, const char *name, struct value *result);

/* The i-th word of a step; NULL when it has none, or null. */
static inline const json_t *argument(const json_t *step, size_t i)
{
    const json_t *json = json_array_get(step, i);
    return json_is_null(json) ? NULL : json;
}
static inline const char *argument_name(const json_t *step, size_t i)
{
    return json_string_value(argument(step, i));
}
weft_ns ns_of_json(const json_t *ms); /* program milliseconds; NULL: WEFT_FOREVER */
int64_t ms_now(void);

/* Slots, as a step names them. "self" is the current task. */
struct flow slot_read(struct call *c, const char *name, struct value *out);
struct flow slot_future(struct call *c, const char *name, struct future **out);
void slot_write(struct call *c, const char *name, struct value v); /* no name: dropped */
/* Into the slot that argument i names, if it has that argument. */
void store(struct call *c, const json_t *step, size_t i, struct value v);
/* The same when the flow is NEXT; returns it. */
struct flow store_if_next(struct call *c, struct flow f, const json_t *step, size_t i, struct value v);
struct flow unsupported(struct call *c, const char *what);

/* ---- the trace (trace.c) ----------------------------------------------------------------------------------------- */

void trace(struct call *c, struct value label, const struct value *v);
/* The current task's identity; "callback". */
const char *identity(struct call *c);
/* Events as JSON, in the order in which they happened. A new reference. */
json_t *trace_to_json(struct run *run);
/* The option exception_handler of the runtime; `user` is the run. */
void report_error(void *user, const weft_exception *e);
json_t *reports_to_json(struct run *run);

/* ---- objects (objects.c) ----------------------------------------------------------------------------------------- */

enum object_type {
    OBJECT_LOCK,
    OBJECT_EVENT,
    OBJECT_CONDITION,
    OBJECT_SEMAPHORE,
    OBJECT_BARRIER,
    OBJECT_QUEUE,
    OBJECT_FUTURE,
    OBJECT_CONTEXT_VAR,
};

struct object {
    struct object *next;
    const char *name;
    enum object_type type;
    weft_lock *lock; /* of a lock, a condition: whose lock it is */
    weft_lock own_lock;
    weft_event event;
    weft_condition condition;
    weft_semaphore semaphore;
    weft_barrier barrier;
    weft_queue *queue;
    int64_t bound; /* parties, maxsize */
    weft_context_var variable;
    struct value default_value;
};

/* Make the program's objects: context variables before main, the rest in main. NEXT, or the error that the making
 * raises. */
struct flow objects_make(struct call *c, bool variables);
void objects_free(struct run *run); /* after the run */
struct object *object_named(struct run *run, const char *name);

#endif
