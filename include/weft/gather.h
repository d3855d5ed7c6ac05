/* SPDX-License-Identifier: Apache-2.0 */
/* weft/gather.h -- waiting for several tasks, or for one in another way than weft_await. */
#ifndef WEFT_GATHER_H
#define WEFT_GATHER_H

#include <weft/future.h>

#ifdef __cplusplus
#include <initializer_list>
#endif

WEFT_BEGIN_DECLS

/* call(tasks, n) for tasks given one by one. */
#ifdef __cplusplus
#define weft__ON_LIST(call, ...) weft__on_list((call), {__VA_ARGS__})
static inline int weft__on_list(int (*call)(weft_task *const *, size_t), std::initializer_list<weft_task *> tasks)
{
    return call(tasks.begin(), tasks.size());
}
#else
#define weft__ON_LIST(call, ...)                                                                                       \
    call((weft_task *const[]){__VA_ARGS__}, sizeof((weft_task *const[]){__VA_ARGS__}) / sizeof(weft_task *))
#endif

/* Wait for all the tasks:    int rc = weft_gather(a, b, c);
 * Results stay in the tasks (weft_result), so they are in the order of the arguments whatever the order of completion.
 * 0 when all ended well. The first task to fail ends the wait at once with its error, and the others run on,
 * uncancelled. A task that ends cancelled ends the wait with -ECANCELED in the same way. A task given twice counts once.
 * On cancellation of the caller all unfinished tasks are cancelled; the caller goes on with the first of them to end
 * otherwise than with a value, with -ECANCELED or that one's error (the others may still be cleaning up: see
 * weft_gather_settled), or when all have ended, with -ECANCELED. -EDEADLK: a task that gathers itself. -EXDEV, here and in all calls of
 * this header: a task of another runtime that has not ended. -ENOMEM: memory is short, and to see the first failure of several takes some; it does not
 * wait, cancels nothing, and the tasks run on (weft_gather_settled and weft_await need no memory).
 * The caller's handles of the tasks have to stay until the call returns. Only inside a task. asyncio: await gather(...). */
#define weft_gather(...) weft__ON_LIST(weft_gather_n, __VA_ARGS__)
WEFT_API int weft_gather_n(weft_task *const tasks[], size_t n);

/* The same, but errors and cancellations of the tasks are only outcomes to look at (weft_status, weft_cancelled):
 * returns, when all have ended, the number of tasks that did not end well (a count: nothing for weft_strerror); or -ECANCELED when the caller was cancelled, also
 * then only when all have ended. It needs no memory: so it can always wait for tasks that must have ended before the caller goes on.
 * (-EXDEV and -EDEADLK, as above, come at once.)
 * asyncio: await gather(..., return_exceptions=True). */
#define weft_gather_settled(...) weft__ON_LIST(weft_gather_settled_n, __VA_ARGS__)
WEFT_API int weft_gather_settled_n(weft_task *const tasks[], size_t n);

enum weft_return_when {
    WEFT_ALL_COMPLETED = 0,
    WEFT_FIRST_COMPLETED,
    WEFT_FIRST_EXCEPTION, /* the first that fails (a cancelled one does not count), else all */
};

/* Wait until some or all of the tasks have ended, or `timeout` nanoseconds have passed (WEFT_FOREVER: no limit).
 * Raises no error of the tasks, cancels nothing. Returns how many of the n have ended (ask weft_done which), -EINVAL for
 * n == 0, -ECANCELED when the caller was cancelled, -EDEADLK when it would wait for itself without a limit, or -ENOMEM when memory is short (at once;
 * never with WEFT_ALL_COMPLETED, which needs none). Only inside a task. asyncio: wait. */
WEFT_API int weft_wait(weft_task *const tasks[], size_t n, enum weft_return_when when, weft_ns timeout);

/* Await a task, but no longer than `timeout`: then it is cancelled, waited for until it has ended, and the result is
 * -ETIMEDOUT; if it answers the cancellation with a value or an error, that is the result. On cancellation of
 * the caller as weft_await. A timeout of zero or less never starts an unstarted task, and then a cancellation of the caller ends the wait at
 * once, while the task may still be cleaning up, as in asyncio. -ENOMEM, unless that is the task's own: memory is short, and nothing was done. A coroutine that is called directly is limited by weft_timeout_begin
 * (weft/scope.h). asyncio: wait_for. */
WEFT_API int weft_wait_for(weft_task *t, weft_ns timeout);

/* Await a task without passing one's own cancellation on: -ECANCELED when the caller is cancelled, and the task runs on.
 * asyncio: await shield(task). */
WEFT_API int weft_shield(weft_task *t);

/* ---- the same as futures: started now, awaited (gathered, shielded, cancelled ...) later or elsewhere ---------------- */

/* A future of all the tasks: awaiting it gives what weft_gather_n (or with `return_exceptions` weft_gather_settled_n, except that
 * it returns 0) would. Cancelling it cancels every unfinished task and ends it when they have ended; false when all have ended already.
 * n may be 0: ended at once. One that can't be (a task of another runtime that has not ended) is ended with -EXDEV. One handle, to be
 * released; it keeps the tasks. NULL: memory is short. Inside a task or callback.
 * asyncio: gather without await. */
WEFT_API WEFT_NODISCARD weft_future *weft_gather_future(weft_task *const tasks[], size_t n, bool return_exceptions);
/* A future of t that can be cancelled without touching t. t itself, with one handle more, when it has ended. Ended with
 * -EXDEV when t is another runtime's and has not ended. NULL: memory is short, or t is NULL. asyncio: shield. */
WEFT_API WEFT_NODISCARD weft_future *weft_shield_future(weft_task *t);

/* ---- one after the other, as they end ---------------------------------------------------------------------------- */

/*     weft_as_completed it;
 *     rc = weft_as_completed_begin(&it, tasks, n, WEFT_SEC(5));
 *     while ((rc = weft_as_completed_next(&it, &t)) > 0)
 *         use(t);
 *     weft_as_completed_end(&it);
 * Each task comes once, in the order in which they end (those that had ended before come first, in the order given); one given twice
 * comes once. Nothing is cancelled, neither by the time limit nor by leaving early. asyncio: as_completed. */
typedef struct weft_as_completed {
    void *state_;
} weft_as_completed;
/* `timeout` from now limits the whole iteration (WEFT_FOREVER: no limit). 0, -ENOMEM or -EXDEV (then next gives that too). Only inside a task. */
WEFT_API int weft_as_completed_begin(weft_as_completed *it, weft_task *const tasks[], size_t n, weft_ns timeout);
/* Wait for the next one: 1 and *out (borrowed, ended; NULL for a NULL task), 0 when all have come, -ETIMEDOUT, -ECANCELED when the caller was
 * cancelled (the iteration may go on). */
WEFT_API WEFT_NODISCARD int weft_as_completed_next(weft_as_completed *it, weft_task **out);
/* On every way out, once. Never suspends. */
WEFT_API void weft_as_completed_end(weft_as_completed *it);

WEFT_END_DECLS

#endif
