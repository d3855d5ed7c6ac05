/* SPDX-License-Identifier: Apache-2.0 */
/* weft/future.h -- futures: an outcome that somebody will set, and that any number of tasks may wait for.
 *
 * A future is waited for, cancelled, gathered, shielded, referenced and released like a task: both names stand for the same
 * type, so every function that takes a weft_task takes a future (asyncio: Task is a Future). What differs: no code of its own
 * runs; its outcome is set from outside; cancelling a pending future ends it at once; so does cancelling a task that awaits
 * it (use weft_shield to prevent that).
 *
 * A future may carry a value, a struct that is declared as a coroutine's frame is:
 *     struct answer { WEFT_FRAME; int code; char text[80]; };
 *     WEFT_VALUE(answer);
 *     weft_future *f = weft_future_create_of(answer);
 *     weft_future_set_value(f, answer, .code = 42);       // once, by anybody
 *     rc = weft_await(f); ... weft_result(answer, f)->code
 *
 * An awaiter that is cancelled just after the set gets -ECANCELED although the value is there, as in asyncio. If the value owns something,
 * look: `if (rc == -ECANCELED && weft_status(f) >= 0) give_back(weft_result(conn, f));`
 *
 * Everything before the set happens before whatever it wakes. Setting never runs an awaiter inside the call. */
#ifndef WEFT_FUTURE_H
#define WEFT_FUTURE_H

#include <weft/run.h>
#include <weft/task.h>

WEFT_BEGIN_DECLS

typedef weft_task weft_future;

/* Once after the struct: its description, and run-time type tag. */
#define WEFT_VALUE(type) WEFT_UNUSED static const weft_coro type##_coro_ = {NULL, sizeof(struct type), #type, NULL}

/* A pending future without a value. One handle, to be released; NULL when memory is short. Inside a task, a callback or a
 * weft_to_thread function. Never suspends. A future that is released unset by everybody is just gone. asyncio: Future(),
 * loop.create_future(). */
WEFT_API WEFT_NODISCARD weft_future *weft_future_create(void);
/* A pending future for a value of `struct type`. */
#define weft_future_create_of(type) weft_future_create_(&type##_coro_)
WEFT_API WEFT_NODISCARD weft_future *weft_future_create_(const weft_coro *type);

/* End a pending future with success: `rc` (>= 0) is what awaiting it returns. 0; -EALREADY when it has ended already (set or
 * cancelled); -EPERM for a task, or the future of a gather, which end by themselves; -EINVAL for rc < 0; -ENOMEM for NULL. Any thread. At the
 * end of the run what is still pending ends cancelled (-ESHUTDOWN: that is under way). Never suspends. asyncio: set_result. */
WEFT_API int weft_future_set_result(weft_future *f, int rc);
/* The same with a value, copied into the future: weft_future_set_value(f, answer, .code = 42). Also -EINVAL when the future was not
 * made for that type. Two setters at once: one wins. */
#define weft_future_set_value(f, ...) weft__SET_VALUE(f, __VA_ARGS__, )
#define weft__SET_VALUE(f, type, ...) weft_future_set_value_((f), weft__FRAME(type, __VA_ARGS__))
WEFT_API int weft_future_set_value_(weft_future *f, const weft_frame *value);
/* End a pending future with an error (negative; -ECANCELED ends it cancelled). Returns as weft_future_set_result; -EINVAL for
 * error >= 0. An error that nobody asks for is reported when the future is released. asyncio: set_exception. */
WEFT_API int weft_future_set_error(weft_future *f, int error);

WEFT_END_DECLS

#endif
