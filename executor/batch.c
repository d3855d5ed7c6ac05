/* SPDX-License-Identifier: Apache-2.0 */
/* executor/batch.c -- weft_batch: what a task makes ready becomes ready at the end, as one.
 *
 * An open batch is the worker's hold (worker.c) while its task runs, and a bit in the fiber; what it keeps lies in the worker, not in the
 * program's struct, which may be gone when a careless coroutine has returned: whoever takes the task off the CPU, or ends it,
 * closes the batch first. So a hold never outlives the stretch of running in which it was opened, nor leaves its worker.
 *
 * Threads: the running task's or callback's. */
#include "executor/runtime.h"

/* What the program's struct says: whose batch it opened. A batch inside another opens none. */
struct opened {
    struct weft__worker *worker; /* NULL: none */
    uint64_t number;
};
_Static_assert(sizeof(struct opened) <= sizeof(weft_batch), "a batch has room for this");

void weft_batch_begin(weft_batch *batch)
{
    struct weft__fiber *f = weft__fiber_require("weft_batch_begin");
    struct weft__worker *w = f->worker;
    struct opened *o = (struct opened *)(void *)batch->opaque_;
    o->worker = NULL;
    if (w->hold != NULL)
        return;
    weft__hold_begin(&w->batch);
    weft__fiber_set(f, WEFT__FIBER_BATCH);
    o->worker = w;
    o->number = ++w->batches;
}

void weft__batch_close(struct weft__fiber *f)
{
    weft__fiber_clear(f, WEFT__FIBER_BATCH);
    weft__hold_end(&f->worker->batch);
}

void weft_batch_end(weft_batch *batch)
{
    struct weft__fiber *f = weft__fiber_require("weft_batch_end");
    const struct opened *o = (const struct opened *)(const void *)batch->opaque_;
    /* Only if this one is open still: a suspension has closed it, and another may have been opened since. */
    if ((f->unusual & WEFT__FIBER_BATCH) && o->worker == f->worker && o->number == f->worker->batches)
        weft__batch_close(f);
}
