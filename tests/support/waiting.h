/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/waiting.h -- a task that waits for a future, and what it saw. For tests with support/actors.h. */
#ifndef WEFT_TESTS_SUPPORT_WAITING_H
#define WEFT_TESTS_SUPPORT_WAITING_H

#include <weft/future.h>

struct waiting {
    weft_future *f;
    int rc, after;      /* what the wait returned, and the next suspension */
    _Atomic(bool) back; /* the wait has returned */
};

/* For start(await_it, &w): the task has one outcome with the wait. */
static inline int await_it(void *argument)
{
    struct waiting *w = argument;
    w->rc = weft_await(w->f);
    w->back = true;
    w->after = weft_yield();
    return w->rc < 0 ? w->rc : w->after;
}

#endif
