/* SPDX-License-Identifier: Apache-2.0 */
/* weft/strand.h -- strands: tasks that never run at the same time.
 *
 * asyncio promises, without saying so, that nothing else runs between two awaits. On many workers that holds for the tasks of
 * one strand among themselves: at most one of them runs at any moment, from one suspension to its next, and they take their turns in
 * the order in which they became ready. Data that only tasks of one strand touch needs no lock (and what one wrote before it suspended
 * the next one sees). Different strands run in parallel, and so do tasks without one.
 *
 *     weft_strand *s = weft_strand_create();
 *     weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), session, .peer = p);
 *     weft_create_task_with(WEFT_TASK_OPTIONS(.strand = s), heartbeat, .peer = p);
 *     weft_strand_release(s);          // the tasks keep it
 *
 * Callbacks (weft/callback.h) and weft_to_thread functions belong to no strand, even if one of its tasks registered them: they may run beside
 * its tasks. Where a callback is to touch the strand's data, let it create a task of the strand, or let a task of the strand await instead.
 *
 * A task belongs to its strand for life. Tasks it creates belong to none, unless told so. Its forked children (weft/join.h) may run in
 * parallel with the strand: they were asked for. Across a suspension (weft_await, weft_sleep, a lock that is taken) others of the
 * strand run, as in asyncio. Boost: strand; asyncio: the event loop itself. */
#ifndef WEFT_STRAND_H
#define WEFT_STRAND_H

#include <weft/task.h>

WEFT_BEGIN_DECLS

/* A new strand, counted. NULL: memory is short. Inside a task, or any thread. */
WEFT_API WEFT_NODISCARD weft_strand *weft_strand_create(void);
WEFT_API weft_strand *weft_strand_ref(weft_strand *s);
/* NULL is allowed. Tasks of the strand keep it alive by themselves. */
WEFT_API void weft_strand_release(weft_strand *s);
/* The strand of the calling task, NULL without one; in a forked child that of the task that forked it, whose turn it need not have.
 * Borrowed. */
WEFT_API weft_strand *weft_strand_current(void);

WEFT_END_DECLS

#endif
