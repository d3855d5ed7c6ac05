/* SPDX-License-Identifier: Apache-2.0 */
/* weft/task.h -- tasks: creating, awaiting, sleeping, cancelling, looking at them.
 *
 * Life of a handle. weft_create_task gives one counted handle; each handle ends in exactly one weft_release (or
 * weft_await_release). The runtime keeps a task alive by itself until it has ended, so releasing a running task only
 * detaches it; it never stops it. A finished task keeps its outcome and its frame for as long as somebody holds a
 * handle; awaiting does not use it up.
 *
 * Outcomes. A task ends OK (its function returned >= 0), with an error (a negative errno), or cancelled
 * (it returned -ECANCELED, or was cancelled before its first step). Cancelled is a third outcome, asked by
 * weft_cancelled(); -ECANCELED is only how it travels.
 *
 * Cancellation. weft_cancel() asks; the task meets it as -ECANCELED from the call it is suspended in (or next suspends
 * in), once per request, and may clean up, awaiting what it needs, before it returns -ECANCELED. Where a task waits for
 * another task by weft_await, the request goes on to that one first and the awaiter goes on when it has ended.
 *
 * Stacks. Each task has at least the stack_size of the options (32 KiB unless said otherwise). Using up more ends the program
 * with a message that names the task; a single local array larger than the guard page can jump over it unless the code is
 * compiled with -fstack-clash-protection, which pkg-config and the CMake package pass for that reason.
 *
 * fork(). In its child no runtime is: weft_run starts a new one, else the child has to end by _exit or exec. A coroutine that
 * returns there ends the child with a sentence.
 *
 * Misuse that cannot be an error code, such as awaiting outside a task, aborts the program with a sentence that names the call.
 *
 * "Suspends" in the texts below means: other tasks may run meanwhile, the calling task may go on in another thread, and
 * a pending cancellation is delivered there. A call that "never suspends" does neither. */
#ifndef WEFT_TASK_H
#define WEFT_TASK_H

#include <weft/coroutine.h>

WEFT_BEGIN_DECLS

typedef struct weft_task weft_task;
typedef struct weft_context weft_context; /* weft/context.h */
typedef struct weft_strand weft_strand;   /* weft/strand.h */

/* How a task may differ from the default; a zero field means the default. */
typedef struct weft_task_options {
    size_t size;       /* set by WEFT_TASK_OPTIONS */
    const char *name;  /* copied; NULL: "Task-N" */
    size_t stack_size; /* bytes guaranteed; 0: the runtime's stack_size; at most WEFT_MAX_STACK */
    bool eager; /* the body runs inside the call that creates the task, up to its first suspension; if it ends there,
                          the task is done on return. asyncio: eager_start */
    weft_context *context; /* run in exactly this context (kept by the task); NULL: a copy of the creator's */
    weft_strand *strand;   /* the task's strand (kept by the task); NULL: none */
    uint32_t where;        /* the place where it may run: WEFT_ANYWHERE (0) or one of those below */
    const weft_task *with; /* the same place as this task's; NULL: as `where` says. Not both */
} weft_task_options;
/* Places. A task that names one never runs elsewhere: it is not stolen, an awaiter runs it on its own stack only at that place, and whoever
 * wakes it sends it home. It takes turns with what else its worker has to do. Tasks it creates are free unless told otherwise, and so are the
 * children that it forks (weft/join.h). Pin what must be near something (a device, a data set, a thread's own state); what is only much is
 * better left to the workers.
 * A place that does not exist (no such worker; a node that is no worker's home; both `where` and `with`; a task of another runtime) is an error
 * of the task: it ends with -EINVAL and never runs; weft_group_start returns -EINVAL. weft_where_check tells beforehand. */
#define WEFT_ANYWHERE UINT32_C(0)
#define WEFT_HERE UINT32_C(0x20000000) /* the worker that runs the caller now: WEFT_ON_WORKER of it */
#define WEFT_ON_WORKER(index) (UINT32_C(0x40000000) | (uint32_t)(index)) /* 0 .. weft_runtime_workers() - 1 */
/* The workers whose home is this NUMA node, as weft_worker_place gives it. */
#define WEFT_ON_NODE(node) (UINT32_C(0x80000000) | (uint32_t)(node))
#ifdef __cplusplus
#define WEFT_TASK_OPTIONS(...)                                                                                         \
    (weft__box<weft_task_options>{{.size = sizeof(weft_task_options), __VA_ARGS__}}.address())
#else
#define WEFT_TASK_OPTIONS(...) (&(weft_task_options){.size = sizeof(weft_task_options), __VA_ARGS__})
#endif

/* Create a task that runs the coroutine concurrently:    weft_task *t = weft_create_task(fetch, .url = u);
 * The arguments are copied; the body has not begun when the call returns on one worker, and may begin at once on
 * another worker with several. Everything done before the call happens before the body's first step.
 * Returns one handle, to be released; NULL when memory is short, or when options are given whose size is none that
 * WEFT_TASK_OPTIONS sets, or whose stack_size is above WEFT_MAX_STACK. NULL is a legal argument of weft_await, weft_gather,
 * weft_release and so on, and counts as a task that ended with -ENOMEM, so one check, where you wait, is enough.
 * Only inside a task (foreign threads: weft_submit). Never suspends. asyncio: create_task. */
#define weft_create_task(...) weft__CREATE(NULL, __VA_ARGS__, )
#define weft_create_task_with(options, ...) weft__CREATE(options, __VA_ARGS__, )
#define weft__CREATE(options, fn, ...) weft_create_task_((options), weft__FRAME(fn, __VA_ARGS__))
WEFT_API WEFT_NODISCARD weft_task *weft_create_task_(const weft_task_options *options, const weft_frame *frame);

/* Make several things ready as one:
 *     weft_batch batch;
 *     weft_batch_begin(&batch);
 *     for (...) tasks[i] = weft_create_task(...);
 *     weft_batch_end(&batch);
 * What the calling task makes ready in between (tasks it creates, waiters it wakes by a lock, an event, a queue, a cancellation) begins to
 * run only at the end, or when the task suspends if that comes first: on no worker can one of them run before the last has been made
 * ready, as in asyncio, and sleeping workers are called once for all. End it in the function that began it; a coroutine that returns with a
 * batch open ends it. Batches may nest; the outermost one decides. Only inside a task or
 * callback; never suspends. */
typedef struct weft_batch {
    void *opaque_[6];
} weft_batch;
WEFT_API void weft_batch_begin(weft_batch *batch);
WEFT_API void weft_batch_end(weft_batch *batch);

/* Wait until the task has ended, and return its outcome: its function's result, -ECANCELED if it ended cancelled.
 * Does not suspend if it has ended already. An unstarted task may run right here, on the caller's stack.
 * On cancellation of the caller the awaited task is cancelled, and the caller goes on when that one has ended: with
 * -ECANCELED, or with whatever outcome the task chose instead. -EDEADLK: a task awaiting itself. -ENOMEM: t is NULL.
 * -EXDEV: a task of another runtime.
 * Any number of tasks may await one task. Only inside a task (threads: weft_block_on). asyncio: await task. */
WEFT_API int weft_await(weft_task *t);

/* weft_await, then weft_release, also when cancelled. For a handle that is needed no longer. */
WEFT_API int weft_await_release(weft_task *t);

/* One more handle to the same task. Returns t. Any thread. Never suspends. */
WEFT_API weft_task *weft_ref(weft_task *t);
/* Give a handle back: one that was given, by weft_create_task or weft_ref, once. What weft_current_task returns is somebody else's. The task goes
 * on if it has not ended. One time too often ends the program with a sentence that names the task, mostly: at the latest when the last of those
 * who hold it lets go, unless its memory has become another task's by then. NULL is allowed. Any thread. Never suspends. */
WEFT_API void weft_release(weft_task *t);

/* Let other ready work run, then go on. 0, or -ECANCELED. asyncio: sleep(0). */
WEFT_API int weft_yield(void);

/* Suspend for a duration; zero or less is weft_yield. Returns 0 not earlier than asked, or -ECANCELED at once when the
 * task is cancelled. Only inside a task. asyncio: sleep. */
WEFT_API int weft_sleep(weft_ns duration);
/* The same until an instant of weft_now(). */
WEFT_API int weft_sleep_until(weft_ns instant);

/* Ask a task to end. Returns true when the request was taken, false when the task had ended already.
 * The request is delivered when the task is suspended or next suspends; a task that ends successfully with a request
 * undelivered ends cancelled; one not yet started ends cancelled without running. Any thread. Never suspends, never
 * blocks. asyncio: Task.cancel. */
WEFT_API bool weft_cancel(weft_task *t);
/* The same with a message for the one who is cancelled: a text that stays valid for as long as anybody may ask for it (a
 * literal, normally). asyncio: cancel(msg). */
WEFT_API bool weft_cancel_with(weft_task *t, const char *message);
/* The message of the cancellation that the calling task met last, be it its own or that of a task it awaited; NULL without one.
 * Of several requests before delivery, the first that reached what the task waits for counts. The first awaiter of a cancelled
 * task is handed its message, later ones get none. asyncio: CancelledError.args. */
WEFT_API const char *weft_cancel_message(void);
/* Replace it: a task that now returns -ECANCELED ends with this message (NULL: none). asyncio: raise CancelledError(msg). */
WEFT_API void weft_set_cancel_message(const char *message);
/* The number of requests made and not taken back. Any thread. asyncio: Task.cancelling. */
WEFT_API unsigned weft_cancelling(const weft_task *t);
/* Take one request back, for code that handled a cancellation by itself; returns the number left. At zero a request not
 * yet delivered is dropped. Any thread. asyncio: Task.uncancel. */
WEFT_API unsigned weft_uncancel(weft_task *t);

/* Has it ended? Any thread. When true, everything the task did is visible to the caller. asyncio: Task.done. */
WEFT_API bool weft_done(const weft_task *t);
/* Has it ended cancelled? asyncio: Task.cancelled. */
WEFT_API bool weft_cancelled(const weft_task *t);
/* The outcome: as weft_await returns it; -EINPROGRESS while the task has not ended. Any thread, never suspends. */
WEFT_API int weft_status(const weft_task *t);

/* The frame of an ended task, to read results from:    weft_result(fetch, t)->length
 * Valid while the caller holds a handle; nobody may write to it. Aborts with a message when t is not a fetch or has
 * not ended. A fetch whose WEFT_CORO stands in a header is another one in each file: WEFT_CORO_DECLARE. asyncio: Task.result(). */
#define weft_result(fn, t) ((const struct fn *)weft_result_((t), &fn##_coro_))
WEFT_API const void *weft_result_(const weft_task *t, const weft_coro *coro);

/* The place that a task was given, to be used as `where`. Any thread that holds a handle; never suspends. */
WEFT_API uint32_t weft_task_where(const weft_task *t);

/* The task that runs the caller; NULL outside a task. Borrowed: never weft_release it, but weft_ref it to keep it. In a forked child (weft/join.h)
 * it is the counted task that forked it. asyncio: current_task. */
WEFT_API weft_task *weft_current_task(void);

/* Copy the task's name into buf (always terminated, cut if it does not fit). Default names are "Task-N"; the main task of a run is
 * Task-1, as in asyncio, and so is a runner's first; each worker draws further numbers in blocks (with the option debug one by one). Futures and callbacks
 * have none, "". Returns the length of the whole name. Any thread. asyncio: get_name, set_name. */
WEFT_API size_t weft_task_name(const weft_task *t, char *buf, size_t size);
/* Set the name (copied). 0 or -ENOMEM. Any thread. */
WEFT_API int weft_task_set_name(weft_task *t, const char *name);

/* Call `visit` for each task of the caller's runtime that has not ended, in order of creation, until it returns non-zero;
 * returns that value, or 0, or -ENOMEM. A snapshot: each task that lived through the whole call is in it. The handle is
 * borrowed for the call of `visit`. Only inside a task. Never suspends. asyncio: all_tasks. */
WEFT_API int weft_all_tasks(int (*visit)(void *user, weft_task *t), void *user);

WEFT_END_DECLS

#endif
