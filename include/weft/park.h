/* SPDX-License-Identifier: Apache-2.0 */
/* weft/park.h -- parking: a task that holds no stack while it waits.
 *
 * A suspended task keeps its stack, 4 KiB or more of memory. One that waits long and has nothing on that stack worth keeping, like an idle
 * connection between two requests, can return instead: WEFT_PARK, given by one of the calls below, means "call me again, from the
 * top, when this has come". Until then the task is its descriptor: handle, name, context, strand and frame stay, awaiters and
 * groups wait on as for any task. The frame is all that survives; locals are gone, as at any return.
 *
 *     struct echo { WEFT_FRAME; weft_stream *stream; };
 *     static int echo(struct echo *f)
 *     {
 *         const char *bytes;
 *         ssize_t n;
 *         while ((n = weft_peek_or_park(f->stream, 0, &bytes, WEFT_SEC(60))) > 0) {
 *             if (weft_write(f->stream, bytes, (size_t)n) < 0)    // suspends anywhere, as in any task
 *                 break;
 *             weft_consume(f->stream, (size_t)n);
 *         }
 *         if (n == WEFT_PARK)
 *             return WEFT_PARK;      // nothing there: no stack, no buffer, until bytes, the end, the time limit or a cancellation come
 *         weft_close(f->stream);     // 0: the end; -ETIMEDOUT, -ECANCELED, -EBADF ...
 *         return n == -ECANCELED ? -ECANCELED : 0;
 *     }
 *     WEFT_CORO(echo);
 *
 * Called again. How the parking ended is told once, by what the coroutine does first: weft_parked() returns it; weft_peek_or_park and
 * weft_read_or_park act on it by themselves. A coroutine may be called again for nothing (outcome 0): it looks, and parks again. What it
 * parked at may happen before, while and after it returns: nothing is missed.
 *
 * Cancellation. Parking is a suspension: a cancellation ends it, and is met by the first call that asks (those above), or else by the first that
 * suspends, as -ECANCELED; the coroutine cleans up and returns. Of an event, a time limit and a cancellation that come
 * at once one makes the task ready; a cancellation is met in any case. A coroutine that parks again without having met one gets
 * -ECANCELED from the call that was to park it.
 *
 * Time limits and groups are blocks of code (weft/scope.h): none may be open when the coroutine returns WEFT_PARK. A weft_timeout around
 * a weft_await of the task works as ever; for the task's own waiting there is the `timeout` of these calls.
 *
 * Where. Any task may park: also of a strand (it takes its turn again), started eagerly, a group's, the main one. Whoever can't be without a
 * stack waits on the one it has and is called again just the same: a forked child, a task that runs on its awaiter's stack, one for
 * which memory is short. A callback must not, as it must not wait. A coroutine that is called as a function (weft/coroutine.h) returns WEFT_PARK to
 * its caller, and it is the task's own coroutine that will be called again, if that one returns it too; a WEFT_PARK that is
 * not returned has no effect. Nothing else may be done between a call that gave WEFT_PARK and the return but what never suspends.
 *
 * What for: bytes, connections, descriptors and instants, as below. There is no parking on a queue, a lock, an event or another task: who waits for
 * one of these keeps its stack.
 *
 * asyncio: a Protocol, whose data_received, eof_received and connection_lost are called while nothing is kept but self. */
#ifndef WEFT_PARK_H
#define WEFT_PARK_H

#include <sys/types.h>
#include <weft/coroutine.h>
#include <weft/io.h>

WEFT_BEGIN_DECLS

/* What a coroutine returns in order to be parked, if one of the calls below has just returned it. No errno is like it. */
#define WEFT_PARK (-0x70000000)

/* How the last parking of the calling task ended:
 *   WEFT_READABLE, WEFT_WRITABLE or both    it came, as far as is known: try
 *   -ETIMEDOUT                              the time limit was over first, or the duration of weft_park_for
 *   -ECANCELED                              it was cancelled: with this call the task has met that. (One that is pending for any other reason as well.)
 *   -EBADF                                  somebody has closed the stream or listener: it is gone when this call returns
 *   0                                       it was not parked yet, or is called again for nothing
 * The same until the task parks again. Only inside a task. Never suspends. */
WEFT_API int weft_parked(void);

/* As weft_peek, but where that would have to wait it returns WEFT_PARK: return it, and the task is called again when more has come (or the end, or an
 * error); it then begins with this call again. WEFT_PARK comes only when no more than `have` bytes are there; a stream that has none holds no
 * buffer while the task is parked. Those that are there stay with the stream: who keeps their number in the frame and, called again, passes it as
 * `have`, gets more than that, or is told how it ended (as by weft_peek: *data still has them). Passing 0 gives them again at once, whatever ended
 * the parking: also a time limit that has passed, which only weft_parked() tells then.
 * `timeout`: longest time to be parked, from this call on (WEFT_FOREVER: no limit; zero or less: do not park); when it has passed the call
 * returns -ETIMEDOUT, unless bytes came after all. A limit on a whole request is an instant in the frame:
 *     n = weft_peek_or_park(f->stream, f->have, &data, f->until - weft_now())
 * Also: the errors of weft_peek; -ECANCELED when the task was cancelled while it was parked. While it is parked the task is the
 * stream's reader, any other one gets -EBUSY; weft_close by another task then ends the parking, and this call returns -EBADF without touching the stream.
 * Where the task can't be parked the call waits, and never returns WEFT_PARK. Only inside a task. Suspends only to be fair, or then. */
WEFT_API WEFT_NODISCARD ssize_t weft_peek_or_park(weft_stream *s, size_t have, const char **data, weft_ns timeout);
/* As weft_read, in the same way: 1..n bytes into buf, which may be a local; 0: the end of the stream. */
WEFT_API WEFT_NODISCARD ssize_t weft_read_or_park(weft_stream *s, void *buf, size_t n, weft_ns timeout);

/* The calls below only say what to be parked at: `return weft_park_stream(...)`, after having tried. Each returns WEFT_PARK, or an error: then the
 * task is not parked (-ECANCELED: see above). How it ended is told by weft_parked(). With a timeout of zero or less the task only gives
 * others their turn. None suspends, but where the task can't be parked.
 *
 * Until something has happened in a direction (WEFT_READABLE, WEFT_WRITABLE or both) since the last call on the stream found nothing there,
 * or has closed the stream. -EINVAL; -EBADF: closed already; -EBUSY: another task is its reader, or writer. */
WEFT_API WEFT_NODISCARD int weft_park_stream(weft_stream *s, int interest, weft_ns timeout);
/* Until a connection may be there for weft_accept. -EBADF, -EBUSY. */
WEFT_API WEFT_NODISCARD int weft_park_listener(weft_listener *l, weft_ns timeout);
/* Until a foreign descriptor is readable or writable. Level-triggered. Errors and rules as weft_fd_wait: the descriptor is not to be closed
 * while the task is parked at it. asyncio: add_reader, add_writer. */
WEFT_API WEFT_NODISCARD int weft_park_fd(int fd, int interest, weft_ns timeout);
/* Until the time has passed, or at once when there is no memory for a timer; weft_parked() is -ETIMEDOUT then. WEFT_FOREVER: until it is
 * cancelled. asyncio: call_later. */
WEFT_API WEFT_NODISCARD int weft_park_for(weft_ns duration);

WEFT_END_DECLS

#endif
