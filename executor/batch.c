/* SPDX-License-Identifier: Apache-2.0 */
/* executor/batch.c -- weft_batch: what a task makes ready becomes ready at the end, as one.
 *
 * An open batch is the worker's hold (worker.c) while its task runs, and a bit in the fiber: whoever takes the task off the CPU, or ends it,
 * closes the batch first. So a hold never outlives the stretch of running in which it was opened, nor leaves its worker.
 *
 * Threads: the running task's or callback's. */
#include "executor/runtime.h"

_Static_assert(sizeof(struct weft__hold) <= sizeof(weft_batch), "a batch has room for a hold");

static struct weft__hold *hold_of(weft_batch *batch)
{
    return (struct weft__hold *)(void *)batch->opaque_;
}

void weft_batch_begin(weft_batch *batch)
{
    struct weft__fiber *f = weft__fiber_require("weft_batch_begin");
    weft__hold_begin(hold_of(batch));
    if (hold_of(batch)->outermost)
        f->unusual |= WEFT__FIBER_BATCH;
}

void weft__batch_close(struct weft__fiber *f)
{
    f->unusual &= ~(uint32_t)WEFT__FIBER_BATCH;
    if (f->worker->hold != NULL)
        weft__hold_end(f->worker->hold);
}

void weft_batch_end(weft_batch *batch)
{
    struct weft__fiber *f = weft__fiber_require("weft_batch_end");
    /* Only the outermost, and only if it has not been closed by a suspension since. */
    if ((f->unusual & WEFT__FIBER_BATCH) && f->worker->hold == hold_of(batch))
        weft__batch_close(f);
}
