/* SPDX-License-Identifier: Apache-2.0 */
/* executor/burst.c -- is it worth while to wake somebody for forked children?
 *
 * To wake a sleeper costs the waker 3 to 10 us, and he comes late: fork and join of less than BRIEF is done sooner by one worker. How long it
 * will take nobody knows beforehand; but a worker whose bursts were brief many times in a row will mostly find the next one brief. A burst is
 * what a worker has to do from the moment when it first could wake somebody for its children until it runs dry.
 *
 * | the bursts before              | children could be shared, somebody sleeps         | the worker runs dry                          |
 * | not `needed` brief ones in a row | he is woken, and the time taken after that      | brief + 1, or 0 if it took BRIEF or longer   |
 * | as many or more                | alone: he sleeps on; asked again when the stack   | brief + 1; it took longer: brief = 0, and    |
 * |                                | is twice as high, and woken then if BRIEF is over | twice as many are needed, up to MOST         |
 *
 * What is taken for brief and is not has to do without help until its stack has grown, or until the reactor thread's tick finds its children
 * (as those of a worker in a long step). Since each such error doubles what is needed for the next one, they are few: where one burst of
 * twenty is long, nothing is left alone any more after the first. Half as many are needed again after FORGIVEN times as many brief ones.
 *
 * With the virtual clock nothing is left alone: there runs do not depend on the time they take.
 *
 * Threads: the worker's own; fresh any. */
#include "executor/burst.h"

#include "executor/runtime.h"

#define BRIEF WEFT_US(30)
#define LEAST 16
#define MOST 4096
#define FORGIVEN 16

void weft__burst_init(struct weft__burst *b)
{
    *b = (struct weft__burst){.needed = LEAST};
}

/* It was taken for brief. */
static void was_wrong(struct weft__burst *b)
{
    weft__store_relaxed(&b->alone, 0); /* relaxed: a hint for others */
    b->brief = 0;
    if (b->needed < MOST)
        b->needed *= 2;
}

bool weft__burst_alone(struct weft__worker *w)
{
    struct weft__burst *b = &w->burst;
    int64_t height = weft__joins_size(&w->joins);
    weft_ns alone = weft__load_relaxed(&b->alone); /* relaxed: own */
    if (b->since == 0 && b->brief >= b->needed && !w->rt->is_virtual) {
        b->since = alone = weft__monotonic();
        weft__store_relaxed(&b->alone, alone); /* relaxed: a hint for others */
        b->again = 2 * height;
    } else if (alone == 0) {
        return false;
    } else if (height >= b->again) {
        if (weft__monotonic() - alone >= BRIEF) {
            was_wrong(b);
            return false;
        }
        b->again = 2 * height;
    }
    weft__joins_ask(&w->joins, b->again - 1);
    return true;
}

void weft__burst_shared(struct weft__burst *b)
{
    if (b->since == 0)
        b->since = weft__monotonic(); /* the wake is no part of it */
}

void weft__burst_end(struct weft__worker *w)
{
    struct weft__burst *b = &w->burst;
    bool alone = weft__load_relaxed(&b->alone) != 0; /* relaxed: own */
    if (weft__monotonic() - b->since < BRIEF) {
        b->brief += b->brief < UINT32_MAX;
    } else {
        b->brief = 0;
        if (alone)
            was_wrong(b);
    }
    if (b->needed > LEAST && b->brief / FORGIVEN >= b->needed) {
        b->needed /= 2;
        b->brief = b->needed;
    }
    b->since = 0;
    if (!alone)
        return;
    weft__store_relaxed(&b->alone, 0);                /* relaxed: a hint for others */
    if (weft__load_seq_cst(&w->rt->idle.parked) != 0) /* pairs: PARK, JOINS-LIMIT */
        weft__joins_ask(&w->joins, 1);                /* who sleeps does not ask again */
}

bool weft__burst_fresh(const struct weft__burst *b)
{
    weft_ns alone = weft__load_relaxed(&b->alone); /* relaxed: a hint */
    return alone != 0 && weft__monotonic() - alone < BRIEF;
}
