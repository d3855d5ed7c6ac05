/* SPDX-License-Identifier: Apache-2.0 */
/* executor/joins.c -- the stack of forked children: the owner's pushes and pops are a few plain stores. Those of a program in C are
 * inline in weft/join.h, which knows bottom, floor, limit, mask and slots; what is here takes over where they can't go on.
 *
 *      top        end = floor              bottom       limit
 *       |  open     |       closed            |           |   children have indices; the owner works at the bottom, thieves at the top
 *
 * The closed part is the owner's alone. The open part is a Chase-Lev deque (deque.c) with `end` for its bottom: what leaves it at
 * the top leaves by a CAS of top, and the owner takes its newest back by lowering end and then looking at top (JOINS-LAST, proved as
 * DEQUE-LAST there). The owner opens the older half of the closed part when somebody asks, at its next push: `limit` is lowered
 * by the one who asks, and the push compares with it anyhow, for want of room. It never opens its newest child: that one is the next
 * thing it does itself. So a fork that nobody steals costs no locked instruction and no line that a thief reads.
 *
 * An owner in a long step answers nobody. Then a thief raids: it moves the floor up itself.
 *     owner, pop:  1 bottom = b (plain)      raid, under the guard:  1 floor = f (above what is closed now)
 *                  2 compiler barrier                                2 membarrier: all running threads execute a full barrier
 *                  3 floor > b? the slow way                         3 read bottom; end = floor = the lesser of f and bottom
 * JOINS-FLOOR: the barrier falls between two instructions of the owner. Before its 1: its 3 sees the new floor, goes the slow way, and waits
 * for the guard. After its 1: the thief's 3 sees that bottom, and opens nothing from b up. Thieves read `end` only, which is not
 * moved before that is settled. Modelled, with what happens when one step is left out, in docs/models/raid.pml. Without membarrier
 * nobody raids, and the owner shares at each push (weft__joins_watched).
 *
 * JOINS-LIMIT: satisfied() raises limit (seq_cst) and its caller then looks for sleepers; who goes to sleep announces that first,
 * then lowers limit. At least one sees the other (but for the time a plain push takes to be seen: PARK in idle.c).
 *
 * Invariants: top <= end <= floor <= bottom, but inside the owner's pop and a raid; only the owner writes bottom, slots and array; an array
 * that was ever in use stays until destroy, since a thief may still read it.
 *
 * Threads: as each function says. */
#include "executor/joins.h"

#include <errno.h>
#include <stdlib.h>

#include "executor/guard.h"
#include "executor/membarrier.h"
#include "executor/numa.h"

struct weft__joins_array {
    int64_t capacity; /* a power of two */
    struct weft__joins_array *older;
    alignas(WEFT__CACHELINE) _Atomic(uintptr_t) slots[];
};

static size_t array_bytes(int64_t capacity)
{
    return sizeof(struct weft__joins_array) + (size_t)capacity * sizeof(uintptr_t);
}

static struct weft__joins_array *array_create(int64_t capacity, struct weft__joins_array *older, int node)
{
    struct weft__joins_array *a = weft__numa_alloc(array_bytes(capacity), node);
    if (a == NULL)
        return NULL;
    a->capacity = capacity;
    a->older = older;
    for (int64_t i = 0; i < capacity; i++)    /* the inline join of an empty stack looks at the last one */
        weft__store_relaxed(&a->slots[i], 0); /* relaxed: published as array */
    return a;
}

static void use_array(struct weft__joins *j, struct weft__joins_array *a)
{
    weft__store_release(&j->array, a); /* pairs: JOINS-ARRAY */
    j->mask = a->capacity - 1;
    j->slots = a->slots;
}

int weft__joins_init(struct weft__joins *j, size_t capacity, int node)
{
    int64_t rounded = 1;
    while ((size_t)rounded < capacity)
        rounded *= 2;
    struct weft__joins_array *a = array_create(rounded, NULL, node);
    if (a == NULL)
        return -ENOMEM;
    j->node = (int16_t)node;
    use_array(j, a);
    j->guard = 0;
    j->watched = false;
    /* relaxed, all: nobody else knows it yet */
    weft__store_relaxed(&j->bottom, 0);
    weft__store_relaxed(&j->floor, 0);
    weft__store_relaxed(&j->limit, rounded);
    weft__store_relaxed(&j->pushes, 0);
    weft__store_relaxed(&j->top, 0);
    weft__store_relaxed(&j->end, 0);
    return 0;
}

void weft__joins_destroy(struct weft__joins *j)
{
    struct weft__joins_array *a = weft__load_relaxed(&j->array); /* relaxed: nobody else uses it any more */
    while (a != NULL) {
        struct weft__joins_array *older = a->older;
        weft__numa_free(a, array_bytes(a->capacity), j->node);
        a = older;
    }
    weft__store_relaxed(&j->array, NULL); /* relaxed: as above */
}

static bool grow(struct weft__joins *j, struct weft__joins_array *old, int64_t top, int64_t bottom)
{
    struct weft__joins_array *a = array_create(2 * old->capacity, old, j->node);
    if (a == NULL)
        return false;
    for (int64_t i = top; i < bottom; i++)
        weft__store_relaxed(
            &a->slots[i & (a->capacity - 1)],
            weft__load_relaxed(&old->slots[i & (old->capacity - 1)])); /* relaxed: own; published as array */
    use_array(j, a);
    return true;
}

/* Owner: let thieves have the older half of what is closed; never the newest. */
bool weft__joins_share(struct weft__joins *j)
{
    weft__guard_lock(&j->guard);
    int64_t floor = weft__load_relaxed(&j->floor);   /* relaxed: under the guard */
    int64_t bottom = weft__load_relaxed(&j->bottom); /* relaxed: own */
    int64_t opened = (bottom - floor) / 2;
    if (opened > 0) {
        weft__store_relaxed(&j->floor, floor + opened); /* relaxed: under the guard, and the owner's own pops */
        weft__store_seq_cst(&j->end, floor + opened);   /* pairs: JOINS-ITEM, JOINS-LAST */
    }
    weft__guard_unlock(&j->guard);
    return opened > 0;
}

bool weft__joins_push_slow(struct weft__joins *j, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&j->bottom);                  /* relaxed: own */
    int64_t t = weft__load_acquire(&j->top);                     /* pairs: JOINS-FREE */
    struct weft__joins_array *a = weft__load_relaxed(&j->array); /* relaxed: own */
    if (b - t >= a->capacity && !grow(j, a, t, b))
        return false;
    weft__store_relaxed(&j->slots[b & j->mask], item); /* relaxed: opening it publishes it */
    weft__count(&j->pushes, 1);
    weft__store_release(&j->bottom, b + 1); /* pairs: JOINS-FLOOR */
    weft__joins_satisfied(j);
    return true;
}

void weft__joins_satisfied(struct weft__joins *j)
{
    int64_t t = weft__load_acquire(&j->top);                                  /* pairs: JOINS-FREE */
    weft__store_seq_cst(&j->limit, j->watched ? INT64_MIN : t + j->mask + 1); /* pairs: JOINS-LIMIT */
}

void weft__joins_ask(struct weft__joins *j, int64_t pending)
{
    int64_t limit = weft__load_relaxed(&j->floor) + pending; /* relaxed: a hint */
    /* An old question must not pass for the answer to come: so this load is in the single order, too. */
    if (weft__load_seq_cst(&j->limit) > limit) /* pairs: JOINS-LIMIT */
        weft__store_seq_cst(&j->limit, limit); /* pairs: JOINS-LIMIT */
}

bool weft__joins_pop_open(struct weft__joins *j, int64_t b)
{
    /* bottom is b already. A raid that goes on will not open item b now, one that is over may have. */
    weft__guard_lock(&j->guard);
    if (weft__load_relaxed(&j->floor) <= b) { /* relaxed: under the guard */
        weft__guard_unlock(&j->guard);
        return true; /* the raid took its floor back */
    }
    int64_t t = weft__load_relaxed(&j->top); /* relaxed: a guess, see below */
    int64_t half = b - (b - t) / 2;
    if (half <
        b) { /* take back the newer half of what is open: sound if top is still below it when end has been lowered */
        weft__store_seq_cst(&j->end, half);       /* pairs: JOINS-LAST */
        if (weft__load_seq_cst(&j->top) < half) { /* pairs: JOINS-LAST */
            weft__store_relaxed(&j->floor, half); /* relaxed: under the guard */
            weft__guard_unlock(&j->guard);
            return true;
        }
    }
    weft__store_relaxed(&j->floor, b);                                     /* relaxed: under the guard */
    weft__store_seq_cst(&j->end, b);                                       /* pairs: JOINS-LAST, JOINS-ITEM */
    t = weft__load_seq_cst(&j->top);                                       /* pairs: JOINS-LAST */
    bool got = t < b || (t == b && weft__cas_seq_cst(&j->top, &t, b + 1)); /* pairs: JOINS-LAST */
    if (t >= b) {                               /* the open part is empty now: all indices meet above it */
        weft__store_relaxed(&j->floor, b + 1);  /* relaxed: under the guard */
        weft__store_release(&j->bottom, b + 1); /* pairs: JOINS-FLOOR */
        weft__store_release(&j->end, b + 1);    /* pairs: JOINS-ITEM */
    }
    weft__guard_unlock(&j->guard);
    return got;
}

uintptr_t weft__joins_pop(struct weft__joins *j, uintptr_t item)
{
    int64_t b = weft__load_relaxed(&j->bottom) - 1; /* relaxed: own */
    if (weft__load_relaxed(&j->top) > b)            /* relaxed: empty is empty for good, only the owner fills it */
        return 0;
    uintptr_t newest = weft__load_relaxed(&j->slots[b & j->mask]); /* relaxed: own */
    if (item != 0 && newest != item)
        return 0;
    weft__store_release(&j->bottom, b); /* pairs: JOINS-FLOOR */
    weft__compiler_barrier();
    if (weft__load_seq_cst(&j->floor) > b && !weft__joins_pop_open(j, b)) /* pairs: JOINS-FLOOR */
        return 0;
    return newest;
}

uintptr_t weft__joins_pop_oldest(struct weft__joins *j)
{
    uintptr_t item;
    for (;;) {
        enum weft__steal how = weft__joins_steal(j, &item);
        if (how == WEFT__STEAL_GOT)
            return item;
        if (how == WEFT__STEAL_EMPTY && !weft__joins_share(j))
            return weft__joins_pop(j, 0);
    }
}

enum weft__steal weft__joins_steal(struct weft__joins *j, uintptr_t *item)
{
    int64_t t = weft__load_seq_cst(&j->top); /* pairs: JOINS-LAST; before the load of end */
    int64_t e = weft__load_seq_cst(&j->end); /* pairs: JOINS-LAST, JOINS-ITEM */
    if (t >= e)
        return WEFT__STEAL_EMPTY;
    struct weft__joins_array *a = weft__load_acquire(&j->array);            /* pairs: JOINS-ARRAY */
    uintptr_t found = weft__load_relaxed(&a->slots[t & (a->capacity - 1)]); /* relaxed: JOINS-ITEM published it */
    if (!weft__cas_seq_cst(&j->top, &t, t + 1))                             /* pairs: JOINS-LAST, JOINS-FREE */
        return WEFT__STEAL_LOST;
    *item = found;
    return WEFT__STEAL_GOT;
}

bool weft__joins_raid(struct weft__joins *j)
{
    if (!weft__guard_try_lock(&j->guard))
        return false;
    int64_t floor = weft__load_relaxed(&j->floor);   /* relaxed: under the guard */
    int64_t bottom = weft__load_acquire(&j->bottom); /* pairs: JOINS-FLOOR */
    int64_t wanted = floor + (bottom - floor + 1) / 2;
    bool opened = false;
    if (wanted > floor) {
        weft__store_seq_cst(&j->floor, wanted); /* pairs: JOINS-FLOOR */
        bool seen = weft__membarrier();
        bottom = weft__load_seq_cst(&j->bottom); /* pairs: JOINS-FLOOR */
        if (!seen || bottom < floor)
            bottom = floor;
        if (bottom < wanted)
            wanted = bottom;
        weft__store_seq_cst(&j->floor, wanted); /* pairs: JOINS-FLOOR */
        weft__store_seq_cst(&j->end, wanted);   /* pairs: JOINS-ITEM, JOINS-LAST */
        opened = wanted > floor;
    }
    weft__guard_unlock(&j->guard);
    return opened;
}

int64_t weft__joins_open(const struct weft__joins *j)
{
    int64_t e = weft__load_seq_cst(&j->end); /* pairs: JOINS-ITEM, PARK */
    int64_t t = weft__load_seq_cst(&j->top); /* pairs: JOINS-LAST */
    return e > t ? e - t : 0;
}

int64_t weft__joins_size(const struct weft__joins *j)
{
    int64_t b = weft__load_seq_cst(&j->bottom); /* pairs: JOINS-FLOOR, PARK */
    int64_t t = weft__load_seq_cst(&j->top);    /* pairs: JOINS-LAST */
    return b > t ? b - t : 0;
}
