/* SPDX-License-Identifier: Apache-2.0 */
/* executor/ready.c -- a worker's queue of ready items.
 *
 * Two parts: an open deque (deque.c) with the older items, which thieves take from, and a closed ring with the newer ones, which
 * the owner uses without a locked instruction. As long as nobody looks for work everything is in the ring: to create a task and
 * to await it, to yield, to wake somebody who runs next, touches one cache line of the owner's. Who looks for work asks
 * (hunger), and the owner's next push or pop that has two items or more moves the older half into the deque. The newest item is
 * never opened: it is the owner's own next turn, and to lose it costs more than it brings (a worker that creates and awaits one
 * task at a time would hand each to the thief). But a raid that finds a single item neglected learns that this owner wakes somebody and
 * then computes: its next single items are shared at once, if somebody is hungry (`lone`, `least`), until the owner has got LONE_TIMES more of them
 * back itself than thieves have got.
 *
 * The ring is under a biased lock, so that what an owner leaves behind when it goes into a long step is not out of reach:
 *     owner:  1 inside = 1 (plain store)            thief (raid):  1 raided = 1
 *             2 compiler barrier                                   2 membarrier: every running thread executes a full barrier
 *             3 raided? wait until it is 0                         3 inside? give up
 *             4 use the ring                                       4 use the ring
 *             5 inside = 0 (release)                               5 raided = 0 (release)
 * READY-RAID: the barrier falls somewhere between two instructions of the owner. Before 1: then the owner sees `raided` in 3.
 * After 1: then the thief sees `inside` in 3. So never both use the ring. What the last one did is seen by the next:
 * READY-INSIDE (5 of the owner -> 3 of the thief) and READY-RAID (5 of the thief -> 3 of the owner). A raid costs the thief about
 * 10 us and the owner 6: it is for work that has waited longer (steal.c). Where the kernel has no membarrier the owner's
 * store is sequentially consistent instead (fenced). Modelled in docs/models/raid.pml.
 *
 * READY-HUNGER: satisfied() raises hunger (seq_cst) and its caller then looks for sleepers; who goes to sleep announces that
 * first, then lowers hunger. At least one sees the other. So a push need not look for sleepers: hunger tells (PARK in idle.c).
 *
 * A fiber that yields goes to the end of the ring before its context is saved, and its worker stays inside over the switch
 * (weft__ready_exchange, fiber.c): then `inside` keeps thieves out until whoever was switched to has left.
 *
 * Invariants: 0 <= head <= tail; items are in [head, tail), item i in slot i & mask, 0 for one that was removed; an empty ring has
 * head = tail = 0; all in the deque is older than all in the ring.
 *
 * Threads: as each function says. init and destroy by one thread while nobody else uses the queue. */
#include "executor/ready.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "executor/membarrier.h"
#include "executor/numa.h"

#define SHARE_MOST 256 /* items opened in one go */
#define LONE_TIMES 8   /* that a single item is opened in vain after one was found neglected */
#define LONE_MOST 64

int weft__ready_init(struct weft__ready *r, size_t capacity, int node)
{
    size_t rounded = 1;
    while (rounded < capacity)
        rounded *= 2;
    r->node = node;
    r->slots = weft__numa_alloc(rounded * sizeof *r->slots, node);
    if (r->slots == NULL)
        return -ENOMEM;
    if (weft__deque_init(&r->shared, rounded, node) < 0) {
        weft__numa_free(r->slots, rounded * sizeof *r->slots, node);
        return -ENOMEM;
    }
    r->mask = (int64_t)rounded - 1;
    r->fenced = !weft__membarrier_prepare();
    /* relaxed, all: nobody else knows it yet */
    weft__store_relaxed(&r->inside, 0);
    weft__store_relaxed(&r->raided, 0);
    weft__store_relaxed(&r->head, 0);
    weft__store_relaxed(&r->tail, 0);
    weft__store_relaxed(&r->hunger, INT64_MAX);
    weft__store_relaxed(&r->least, 1);
    weft__store_relaxed(&r->lone, 0);
    return 0;
}

void weft__ready_destroy(struct weft__ready *r)
{
    if (r->slots != NULL)
        weft__numa_free(r->slots, ((size_t)r->mask + 1) * sizeof *r->slots, r->node);
    r->slots = NULL;
    weft__deque_destroy(&r->shared);
}

WEFT__COLD void weft__ready_wait(struct weft__ready *r)
{
    do {
        weft__store_release(&r->inside, 0);                                      /* pairs: READY-INSIDE */
        for (unsigned turns = 0; weft__load_acquire(&r->raided) != 0; turns++) { /* pairs: READY-RAID */
            if (turns < 128)
                weft__cpu_relax();
            else
                sched_yield();
        }
        weft__store_seq_cst(&r->inside, 1);        /* pairs: READY-INSIDE */
    } while (weft__load_seq_cst(&r->raided) != 0); /* pairs: READY-RAID */
}

WEFT__COLD bool weft__ready_grow(struct weft__ready *r)
{
    int64_t capacity = r->mask + 1;
    size_t size = (size_t)capacity * sizeof *r->slots;
    weft__ready_enter(r);
    _Atomic(uintptr_t) *slots = weft__numa_grow(r->slots, size, 2 * size, r->node); /* mostly pages that only move */
    if (slots != NULL) {
        int64_t t = weft__load_relaxed(&r->tail); /* relaxed: inside */
        r->slots = slots;
        r->mask = 2 * capacity - 1;
        for (int64_t i = weft__load_relaxed(&r->head); i < t; i++) /* relaxed: inside */
            if (i & capacity)                                      /* its place is one of the new ones */
                weft__store_relaxed(&slots[i & r->mask],
                                    weft__load_relaxed(&slots[i & (capacity - 1)])); /* relaxed: inside */
    }
    weft__ready_leave(r);
    return slots != NULL;
}

WEFT__COLD bool weft__ready_push_slow(struct weft__ready *r, uintptr_t item)
{
    int64_t place;
    return weft__ready_grow(r) && weft__ready_push(r, item, &place);
}

void weft__ready_lone(struct weft__ready *r, int32_t more)
{
    int32_t lone = weft__load_relaxed(&r->lone) + more; /* relaxed: a hint, a change that is lost does no harm */
    lone = lone < 0 ? 0 : lone > LONE_MOST ? LONE_MOST : lone;
    weft__store_relaxed(&r->lone, lone);              /* relaxed: as above */
    weft__store_relaxed(&r->least, lone > 0 ? 0 : 1); /* relaxed: as above */
}

int64_t weft__ready_share(struct weft__ready *r)
{
    int64_t open = weft__deque_size(&r->shared);
    weft__ready_enter(r);
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    int64_t n = (t - h) / 2;
    if (n > SHARE_MOST)
        n = SHARE_MOST;
    if (weft__unlikely(t - h == 1 && weft__load_relaxed(&r->lone) > 0)) { /* relaxed: a hint */
        n = 1;
        weft__ready_lone(r, 1); /* two less if the owner gets it back */
    }
    for (; n > 0; n--, h++) {
        uintptr_t item = weft__load_relaxed(&r->slots[h & r->mask]); /* relaxed: inside */
        if (item != 0 && !weft__deque_push(&r->shared, item))
            break;
        open += item != 0;
    }
    if (h == t) {
        h = 0;
        weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
    }
    weft__store_relaxed(&r->head, h); /* relaxed: inside */
    weft__ready_leave(r);
    return open;
}

void weft__ready_satisfied(struct weft__ready *r)
{
    weft__store_seq_cst(&r->hunger, INT64_MAX); /* pairs: READY-HUNGER */
}

bool weft__ready_raid_begin(struct weft__ready *r)
{
    if (weft__exchange_seq_cst(&r->raided, 1) != 0) /* pairs: READY-RAID */
        return false;                               /* another thief's raid: its flag stays up */
    if ((r->fenced || weft__membarrier()) && weft__load_seq_cst(&r->inside) == 0) /* pairs: READY-INSIDE */
        return true;
    weft__ready_raid_end(r);
    return false;
}

void weft__ready_raid_end(struct weft__ready *r)
{
    weft__store_release(&r->raided, 0); /* pairs: READY-RAID */
}

unsigned weft__ready_raid(struct weft__ready *r, uintptr_t *items, unsigned most)
{
    unsigned n = 0;
    if (!weft__ready_raid_begin(r))
        return 0;
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    int64_t wanted = (t - h + 1) / 2;
    if (t - h == 1)
        weft__ready_lone(r, LONE_TIMES);
    for (; n < most && (int64_t)n < wanted && h < t; h++) {
        items[n] = weft__load_relaxed(&r->slots[h & r->mask]); /* relaxed: inside */
        n += items[n] != 0;
    }
    if (h == t) {
        h = 0;
        weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
    }
    weft__store_relaxed(&r->head, h); /* relaxed: inside */
    weft__ready_raid_end(r);
    return n;
}

int64_t weft__ready_size(const struct weft__ready *r)
{
    return weft__deque_size(&r->shared) + weft__ready_closed(r);
}
