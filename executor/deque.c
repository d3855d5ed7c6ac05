/* SPDX-License-Identifier: Apache-2.0 */
/* executor/deque.c -- the work-stealing deque: one owner, any number of thieves, no lock, no limit. It is the open part of a worker's
 * ready queue (ready.c); the stack of forked children (joins.c) has the same rules at its top. What nobody has asked for never
 * comes here: so the prices below are paid for work that thieves want.
 *
 * After Chase and Lev ("Dynamic circular work-stealing deque", 2005), in the C11 form of Le, Pop, Cohen and Nardelli
 * (2013), with seq_cst accesses in the place of their fences. Items have indices; those in [top, bottom) are in the
 * deque, item i in slot i mod capacity. The owner pushes and pops at the bottom by plain stores; everything that leaves
 * at the top, whoever takes it, leaves by a CAS of top from i to i + 1. The two meet only at the last item.
 *
 * Invariants
 *   1 Only the owner writes bottom, array and slots. top only grows, by 1, only by CAS: no ABA. Indices have 64
 *     bits and never wrap (10^9 pushes a second: 292 years).
 *   2 0 <= bottom - top <= capacity, but for the owner's moment inside pop_newest, when it may be -1.
 *   3 An array that was ever published stays until destroy: a thief may still read it. Arrays double, so the old ones
 *     together are smaller than the newest. The deque never shrinks.
 *
 * Threads: push, pop_* by the owner (a deque may change owner if the change itself synchronises), steal and size by
 * anyone, init and destroy by one thread while nobody else uses it.
 *
 * Orders, and the labels in the code
 *   DEQUE-ITEM   store of bottom in push -> load of bottom in steal: who sees the index sees the slot's content, what
 *                it points to and an array that holds it.
 *   DEQUE-LAST   both may want the last item. Each first writes its side, then reads the other's:
 *                    owner, pop_newest: 1 bottom = b      2 read top
 *                    thief, steal:      1 read top = t    2 read bottom    3 CAS top t -> t + 1
 *                All are seq_cst, so they have one order for everybody. See the proof.
 *   DEQUE-FREE   CAS of top -> load of top in push: a slot is written again only after its last reader has read it.
 *   DEQUE-ARRAY  store of array in grow -> load of array in steal: the copied slots are seen.
 *
 * Each item is taken exactly once (sketch). Let x be the item pushed with index i.
 *   Two takers by CAS: both swap top from i to i + 1; top only grows: one of them fails.
 *   The owner without CAS (pop_newest reads top < i after it wrote bottom = i) and a thief by CAS: the thief had read
 *   top = i. top grows, so that read comes after the owner's in the single order, and so its read of bottom comes after
 *   bottom = i: it sees i (empty for it), or what the owner wrote later. If that is greater than i, the owner has
 *   pushed another item with index i meanwhile; the thief takes that one, and reads it by DEQUE-ITEM. Not x.
 *   A thief that read a wrong slot: slot i holds x until an item i + capacity is pushed there, or the array is replaced
 *   (then the old one keeps x). That push saw top > i (DEQUE-FREE), so the thief's CAS from i fails and what it read is
 *   dropped.
 *   None is lost: bottom falls below an item, and top passes it, only in a call that returns it.
 *
 * Rejected
 *   - A fixed ring with an overflow list (Go, Tokio): cheaper by the growth check, but the overflow needs a lock or a
 *     second queue that thieves must know, a burst of spawns pays for moving half the ring, and order is lost.
 *   - A split deque with a packed head (Lace, Tokio's two heads) here: the split is in ready.c and joins.c, above this, where
 *     thieves make themselves noticed at the owner's next push, and raid an owner that is in a long step.
 *   - Stand-alone fences: the same instructions on x86-64, but thread sanitizer does not see them.
 *   - pop_newest with a plain store and an asymmetric fence (membarrier) in the thief: microseconds for each steal. It is
 *     right for raids, which are rare. */
#include "executor/deque.h"

#include <errno.h>

#include "executor/numa.h"

struct weft__deque_array {
    int64_t capacity;                /* a power of two */
    struct weft__deque_array *older; /* the one it replaced */
    alignas(WEFT__CACHELINE) _Atomic(uintptr_t) slots[];
};

#define DEQUE_MAX ((size_t)1 << 40)

_Static_assert(offsetof(struct weft__deque, top) % WEFT__CACHELINE == 0, "thieves' line apart from the owner's");

static inline _Atomic(uintptr_t) *deque_slot(struct weft__deque_array *a, int64_t index)
{
    return &a->slots[index & (a->capacity - 1)];
}

static size_t array_bytes(size_t capacity)
{
    return sizeof(struct weft__deque_array) + capacity * sizeof(uintptr_t);
}

static struct weft__deque_array *array_create(size_t capacity, struct weft__deque_array *older, int node)
{
    if (capacity > DEQUE_MAX)
        return NULL;
    struct weft__deque_array *a = weft__numa_alloc(array_bytes(capacity), node);
    if (!a)
        return NULL;
    a->capacity = (int64_t)capacity;
    a->older = older;
    return a;
}

int weft__deque_init(struct weft__deque *d, size_t capacity, int node)
{
    if (capacity > DEQUE_MAX)
        return -ENOMEM;
    size_t rounded = 1;
    while (rounded < capacity)
        rounded *= 2;
    struct weft__deque_array *a = array_create(rounded, NULL, node);
    if (!a)
        return -ENOMEM;
    d->node = node;
    d->mask = a->capacity - 1;
    d->slots = a->slots;
    d->limit = a->capacity;
    /* relaxed, all three: nobody else knows the deque yet */
    weft__store_relaxed(&d->bottom, 0);
    weft__store_relaxed(&d->array, a);
    weft__store_relaxed(&d->top, 0);
    return 0;
}

void weft__deque_destroy(struct weft__deque *d)
{
    struct weft__deque_array *a = weft__load_relaxed(&d->array); /* relaxed: nobody else uses it any more */
    while (a) {
        struct weft__deque_array *older = a->older;
        weft__numa_free(a, array_bytes((size_t)a->capacity), d->node);
        a = older;
    }
    weft__store_relaxed(&d->array, NULL); /* relaxed: as above */
}

/* Thieves go on in the old array undisturbed: what it holds in [top, bottom) never changes again. */
static struct weft__deque_array *deque_grow(struct weft__deque *d, struct weft__deque_array *old, int64_t top,
                                            int64_t bottom)
{
    struct weft__deque_array *a = array_create(2 * (size_t)old->capacity, old, d->node);
    if (!a)
        return NULL;
    for (int64_t i = top; i < bottom; i++) {
        uintptr_t item = weft__load_relaxed(deque_slot(old, i)); /* relaxed: written by this thread */
        weft__store_relaxed(deque_slot(a, i), item);             /* relaxed: the store of array publishes it */
    }
    weft__store_release(&d->array, a); /* pairs: DEQUE-ARRAY */
    d->mask = a->capacity - 1;
    d->slots = a->slots;
    return a;
}

bool weft__deque_push_slow(struct weft__deque *d, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&d->bottom);                  /* relaxed: the owner is the only writer */
    int64_t t = weft__load_acquire(&d->top);                     /* pairs: DEQUE-FREE */
    struct weft__deque_array *a = weft__load_relaxed(&d->array); /* relaxed: the owner is the only writer */
    if (b - t >= a->capacity && (a = deque_grow(d, a, t, b)) == NULL)
        return false;
    d->limit = t + a->capacity;
    weft__store_relaxed(deque_slot(a, b), item); /* relaxed: the store of bottom publishes it */
    weft__store_release(&d->bottom, b + 1);      /* pairs: DEQUE-ITEM */
    return true;
}

uintptr_t weft__deque_pop_newest(struct weft__deque *d)
{
    int64_t b = weft__load_relaxed(&d->bottom) - 1; /* relaxed: the owner is the only writer */
    /* Empty is empty for good, only the owner fills it: no need to write then. relaxed: top only grows, so an old value
     * can at worst send us the long way. */
    if (weft__load_relaxed(&d->top) > b)
        return 0;
    uintptr_t item = weft__load_relaxed(&d->slots[b & d->mask]); /* relaxed: written by this thread */
    weft__store_seq_cst(&d->bottom, b);                          /* pairs: DEQUE-LAST */
    int64_t t = weft__load_seq_cst(&d->top);                     /* pairs: DEQUE-LAST */
    if (t < b)
        return item; /* others remain above top: no thief can reach this one */
    /* The last one, if it is still there: whoever moves top has it. */
    if (t > b || !weft__cas_seq_cst(&d->top, &t, b + 1)) /* pairs: DEQUE-LAST */
        item = 0;
    weft__store_release(&d->bottom, b + 1); /* pairs: DEQUE-ITEM (empty now; a thief that reads it knows all pushes) */
    return item;
}

bool weft__deque_pop_newest_if(struct weft__deque *d, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&d->bottom) - 1; /* relaxed: the owner is the only writer */
    if (weft__load_relaxed(&d->top) > b)            /* relaxed: a hint, pop_newest decides */
        return false;
    if (weft__load_relaxed(&d->slots[b & d->mask]) != item) /* relaxed: written by this thread */
        return false;
    /* The newest item stays the newest: only the owner could push another. So: item, or 0 if it was stolen. */
    return weft__deque_pop_newest(d) == item;
}

uintptr_t weft__deque_pop_oldest(struct weft__deque *d)
{
    int64_t b = weft__load_relaxed(&d->bottom); /* relaxed: the owner is the only writer */
    int64_t t = weft__load_relaxed(&d->top);    /* relaxed: the CAS finds out if it is old */
    while (t < b) {
        uintptr_t item = weft__load_relaxed(&d->slots[t & d->mask]); /* relaxed: written by this thread */
        /* bottom stands still, so there is no last-item question: a race among takers at the top only. */
        if (weft__likely(weft__cas_seq_cst(&d->top, &t, t + 1))) /* pairs: DEQUE-LAST, DEQUE-FREE */
            return item;
    }
    return 0;
}

bool weft__deque_pop_oldest_if(struct weft__deque *d, uintptr_t item)
{
    int64_t t = weft__load_relaxed(&d->top);                     /* relaxed: the CAS finds out if it is old */
    return t < weft__load_relaxed(&d->bottom) &&                 /* relaxed: the owner is the only writer */
           weft__load_relaxed(&d->slots[t & d->mask]) == item && /* relaxed: written by this thread */
           weft__cas_seq_cst(&d->top, &t, t + 1);                /* pairs: DEQUE-LAST, DEQUE-FREE */
}

enum weft__steal weft__deque_steal(struct weft__deque *d, uintptr_t *item)
{
    int64_t t = weft__load_seq_cst(&d->top);    /* pairs: DEQUE-LAST; before the load of bottom */
    int64_t b = weft__load_seq_cst(&d->bottom); /* pairs: DEQUE-LAST, DEQUE-ITEM */
    if (t >= b)
        return WEFT__STEAL_EMPTY;
    struct weft__deque_array *a = weft__load_acquire(&d->array); /* pairs: DEQUE-ARRAY */
    /* Read before the claim: after it the owner may write the slot. relaxed: DEQUE-ITEM, DEQUE-ARRAY published it. */
    uintptr_t found = weft__load_relaxed(deque_slot(a, t));
    if (!weft__cas_seq_cst(&d->top, &t, t + 1)) /* pairs: DEQUE-LAST, DEQUE-FREE */
        return WEFT__STEAL_LOST;
    *item = found;
    return WEFT__STEAL_GOT;
}

int64_t weft__deque_size(const struct weft__deque *d)
{
    int64_t b = weft__load_seq_cst(&d->bottom); /* pairs: DEQUE-ITEM, PARK */
    int64_t t = weft__load_seq_cst(&d->top); /* pairs: DEQUE-LAST; items that top passed since were found by others */
    return b > t ? b - t : 0;
}
