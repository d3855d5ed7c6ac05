/* SPDX-License-Identifier: Apache-2.0 */
/* executor/ready.h -- see ready.c: a worker's queue of ready items, first in first out, of which only a part lies open to thieves.
 * Items are non-zero words; one with WEFT__READY_PLACELESS set is not asked for by remove. */
#ifndef WEFT_EXECUTOR_READY_H
#define WEFT_EXECUTOR_READY_H

#include "executor/deque.h"

struct weft__ready {
    /* the owner's part; whoever is inside may use it */
    alignas(WEFT__CACHELINE) _Atomic(uint32_t) inside; /* the owner is (pairs: READY-INSIDE) */
    _Atomic(uint32_t) raided;                          /* a thief is, or wants to be (pairs: READY-RAID) */
    _Atomic(int64_t) head, tail;                       /* written inside; read by anybody as a hint */
    _Atomic(int64_t) hunger; /* somebody looks for work: the owner is to share when its tail is above this */
    _Atomic(int64_t) least;  /* what hunger is lowered to: 1; 0 while `lone` lasts */
    _Atomic(int32_t)
        lone; /* above 0: a single item is shared, too. More with each that thieves got, less with each that they did not */
    int64_t mask;
    _Atomic(uintptr_t) *slots;
    int node;    /* of slots; -1: anywhere */
    bool fenced; /* no membarrier here: the owner's accesses have to be ordered by themselves */
    /* the open part: older than all of the above */
    struct weft__deque shared;
};

/* `node`: where its arrays lie (numa.h), -1: anywhere. */
int weft__ready_init(struct weft__ready *r, size_t capacity, int node);
void weft__ready_destroy(struct weft__ready *r);
/* The owner found a thief inside: wait until it has left. */
void weft__ready_wait(struct weft__ready *r);
bool weft__ready_push_slow(struct weft__ready *r, uintptr_t item);
bool weft__ready_grow(struct weft__ready *r);

/* False: a thief is inside, and weft__ready_wait must follow. */
static inline bool weft__ready_try_enter(struct weft__ready *r)
{
    if (weft__unlikely(r->fenced))
        weft__store_seq_cst(&r->inside, 1); /* pairs: READY-INSIDE */
    else
        weft__store_relaxed(&r->inside, 1); /* relaxed: membarrier in raid, see READY-RAID */
    weft__compiler_barrier();
    return weft__likely(weft__load_seq_cst(&r->raided) == 0); /* pairs: READY-RAID */
}
static inline void weft__ready_enter(struct weft__ready *r)
{
    if (weft__unlikely(!weft__ready_try_enter(r)))
        weft__ready_wait(r);
}
static inline void weft__ready_leave(struct weft__ready *r)
{
    weft__store_release(&r->inside, 0); /* pairs: READY-INSIDE */
}

/* Owner only. Adds at the end; *place is where, for remove. False when memory is short. */
static inline bool weft__ready_push(struct weft__ready *r, uintptr_t item, int64_t *place)
{
    weft__ready_enter(r);
    int64_t t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    *place = t;
    if (weft__unlikely(t - weft__load_relaxed(&r->head) > r->mask)) { /* relaxed: inside */
        weft__ready_leave(r);
        return weft__ready_push_slow(r, item);
    }
    weft__store_relaxed(&r->slots[t & r->mask], item); /* relaxed: inside */
    weft__store_relaxed(&r->tail, t + 1);              /* relaxed: inside */
    weft__ready_leave(r);
    return true;
}
/* The same, false also when there is no room: then nothing is done. */
static inline bool weft__ready_push_quick(struct weft__ready *r, uintptr_t item)
{
    weft__ready_enter(r);
    int64_t t = weft__load_relaxed(&r->tail), mask = r->mask; /* relaxed: inside */
    bool room = t - weft__load_relaxed(&r->head) <= mask;     /* relaxed: inside */
    if (weft__likely(room)) {
        weft__store_relaxed(&r->slots[t & mask], item); /* relaxed: inside */
        weft__store_relaxed(&r->tail, t + 1);           /* relaxed: inside */
    }
    weft__ready_leave(r);
    return room;
}
/* Owner only. Room for one more; false when memory is short. */
static inline bool weft__ready_reserve(struct weft__ready *r)
{
    int64_t n = weft__load_relaxed(&r->tail) - weft__load_relaxed(&r->head); /* relaxed: thieves only make it less */
    return weft__likely(n <= r->mask) || weft__ready_grow(r);
}
/* Owner only. The oldest item, 0 when empty. */
static inline uintptr_t weft__ready_pop_own(struct weft__ready *r)
{
    int64_t h = weft__load_relaxed(&r->head); /* relaxed: a thief can only have made it emptier */
    if (h == weft__load_relaxed(&r->tail))    /* relaxed: as above */
        return 0;
    weft__ready_enter(r);
    h = weft__load_relaxed(&r->head);         /* relaxed: inside */
    int64_t t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    uintptr_t item = 0;
    while (item == 0 && h < t)
        item = weft__load_relaxed(&r->slots[h++ & r->mask]); /* relaxed: inside; 0: it was removed */
    if (h >= t) {
        h = 0;
        weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
    }
    weft__store_relaxed(&r->head, h); /* relaxed: inside */
    weft__ready_leave(r);
    return item;
}
/* Any thread: how many lie in the closed part; a moment's view, never negative. */
static inline int64_t weft__ready_closed(const struct weft__ready *r)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: a hint */
    return t > h ? t - h : 0;
}
/* Owner only: does anything lie open? */
static inline bool weft__ready_open(const struct weft__ready *r)
{
    return weft__load_relaxed(&r->shared.top) <
           weft__load_relaxed(&r->shared.bottom); /* relaxed: the owner adds, others only take */
}
/* Owner only, inside: take the oldest of the closed part, and put `item` at its end. 0, and nothing is done: it is empty, or its oldest is a hole
 * or an item without the lowest bit. */
static inline uintptr_t weft__ready_exchange(struct weft__ready *r, uintptr_t item)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail), mask = r->mask; /* relaxed: inside */
    uintptr_t oldest = weft__load_relaxed(&r->slots[h & mask]);                                 /* relaxed: inside */
    if (weft__unlikely(h == t || !(oldest & 1)))
        return 0;
    weft__store_relaxed(&r->slots[t & mask], item); /* relaxed: inside; a full ring has its oldest there */
    weft__store_relaxed(&r->head, h + 1);           /* relaxed: inside */
    weft__store_relaxed(&r->tail, t + 1);           /* relaxed: inside */
    return oldest;
}
/* Owner only: the oldest of the closed part; 0, and nothing is done: it is empty, or its oldest is a hole. */
static inline uintptr_t weft__ready_pop_quick(struct weft__ready *r)
{
    weft__ready_enter(r);
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    uintptr_t oldest = weft__load_relaxed(&r->slots[h & r->mask]);              /* relaxed: inside */
    if (weft__unlikely(h == t || oldest == 0)) {
        oldest = 0;
    } else {
        if (++h == t) {
            weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
            h = 0;
        }
        weft__store_relaxed(&r->head, h); /* relaxed: inside */
    }
    weft__ready_leave(r);
    return oldest;
}
/* Owner only, inside: `item` comes to the end, where there is room. */
static inline void weft__ready_append(struct weft__ready *r, uintptr_t item)
{
    int64_t t = weft__load_relaxed(&r->tail);          /* relaxed: inside; an empty one has head = tail = 0 */
    weft__store_relaxed(&r->slots[t & r->mask], item); /* relaxed: inside */
    weft__store_relaxed(&r->tail, t + 1);              /* relaxed: inside */
}
/* Owner only: a look at the oldest item; 0: there is none, or it is not known. */
static inline uintptr_t weft__ready_oldest(struct weft__ready *r)
{
    if (weft__ready_open(r))
        return weft__load_relaxed(
            &r->shared.slots[weft__load_relaxed(&r->shared.top) & r->shared.mask]);           /* relaxed: a hint */
    int64_t h = weft__load_relaxed(&r->head);                                                 /* relaxed: a hint */
    return h < weft__load_relaxed(&r->tail) ? weft__load_relaxed(&r->slots[h & r->mask]) : 0; /* relaxed: a hint */
}
/* Is it worth while to share single items? So much more or less than before. */
void weft__ready_lone(struct weft__ready *r, int32_t more);
/* Owner only: a look at the item that many places behind the oldest; 0: there is none, or it is not known. */
static inline uintptr_t weft__ready_later(const struct weft__ready *r, int64_t n)
{
    int64_t top = weft__load_relaxed(&r->shared.top),
            open = weft__load_relaxed(&r->shared.bottom) - top; /* relaxed: a hint */
    if (weft__unlikely(open > n))
        return weft__load_relaxed(&r->shared.slots[(top + n) & r->shared.mask]); /* relaxed: a hint */
    int64_t place = weft__load_relaxed(&r->head) + n - (open > 0 ? open : 0);    /* relaxed: a hint */
    return place < weft__load_relaxed(&r->tail) ? weft__load_relaxed(&r->slots[place & r->mask])
                                                : 0; /* relaxed: a hint */
}
static inline uintptr_t weft__ready_pop(struct weft__ready *r)
{
    if (weft__unlikely(weft__ready_open(r))) {
        uintptr_t item = weft__deque_pop_oldest(&r->shared);
        if (weft__unlikely(weft__load_relaxed(&r->lone) > 0) && item != 0) /* relaxed: a hint */
            weft__ready_lone(r, -2);
        if (item != 0)
            return item;
    }
    return weft__ready_pop_own(r);
}
/* Owner, inside, or who raids. Does this item lie at this place (any number will do to ask)? */
static inline bool weft__ready_at(const struct weft__ready *r, uintptr_t item, int64_t place)
{
    return place >= weft__load_relaxed(&r->head) && place < weft__load_relaxed(&r->tail) && /* relaxed: inside */
           weft__load_relaxed(&r->slots[place & r->mask]) == item;                          /* relaxed: inside */
}
/* Owner only, inside. Take out what lies at this place; it is not the newest. */
static inline void weft__ready_take_older(struct weft__ready *r, int64_t place)
{
    int64_t h = weft__load_relaxed(&r->head); /* relaxed: inside */
    if (weft__unlikely(place != h)) {
        weft__store_relaxed(&r->slots[place & r->mask], 0); /* relaxed: inside; a hole */
        return;
    }
    do
        h++;
    while (
        weft__unlikely(weft__load_relaxed(&r->slots[h & r->mask]) == 0)); /* relaxed: inside; the newest is no hole */
    weft__store_relaxed(&r->head, h);                                     /* relaxed: inside */
}
/* Owner only, inside. Take this item out if it is the newest of the closed part. */
static inline bool weft__ready_take_newest(struct weft__ready *r, uintptr_t item)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail) - 1; /* relaxed: inside */
    bool found = t >= h && weft__load_relaxed(&r->slots[t & r->mask]) == item;      /* relaxed: inside */
    if (weft__likely(found)) {
        if (t == h) {
            weft__store_relaxed(&r->head, 0); /* relaxed: inside */
            t = 0;
        } else if (weft__unlikely(weft__load_relaxed(&r->slots[(t - 1) & r->mask]) == 0)) { /* relaxed: inside */
            do
                t--;
            while (t > h && weft__load_relaxed(&r->slots[(t - 1) & r->mask]) == 0); /* relaxed: inside */
            if (t == h) { /* all below it were holes, that a share or a raid has left at the head */
                weft__store_relaxed(&r->head, 0); /* relaxed: inside */
                t = 0;
            }
        }
        weft__store_relaxed(&r->tail, t); /* relaxed: inside */
    }
    return found;
}
/* Owner only, inside. Take this item out if it is the oldest of the closed part. */
static inline bool weft__ready_take_oldest(struct weft__ready *r, uintptr_t item)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    bool found = h < t && weft__load_relaxed(&r->slots[h & r->mask]) == item;   /* relaxed: inside */
    if (weft__likely(found)) {
        do
            h++;
        while (h < t && weft__load_relaxed(&r->slots[h & r->mask]) == 0); /* relaxed: inside */
        if (h == t) {
            h = 0;
            weft__store_relaxed(&r->tail, 0); /* relaxed: inside */
        }
        weft__store_relaxed(&r->head, h); /* relaxed: inside */
    }
    return found;
}
/* Owner, inside, or who raids. Take this item out if it lies at this place (any number will do to ask). */
static inline bool weft__ready_take(struct weft__ready *r, uintptr_t item, int64_t place)
{
    int64_t h = weft__load_relaxed(&r->head), t = weft__load_relaxed(&r->tail); /* relaxed: inside */
    bool found =
        place >= h && place < t && weft__load_relaxed(&r->slots[place & r->mask]) == item; /* relaxed: inside */
    if (weft__likely(found)) {
        if (place == t - 1) {
            do
                t--;
            while (t > h && weft__load_relaxed(&r->slots[(t - 1) & r->mask]) == 0); /* relaxed: inside */
        } else if (place == h) {
            do
                h++;
            while (h < t && weft__load_relaxed(&r->slots[h & r->mask]) == 0); /* relaxed: inside */
        } else {
            weft__store_relaxed(&r->slots[place & r->mask], 0); /* relaxed: inside; a hole */
        }
        if (h == t)
            h = t = 0;
        weft__store_relaxed(&r->head, h); /* relaxed: inside */
        weft__store_relaxed(&r->tail, t); /* relaxed: inside */
    }
    return found;
}
/* Owner only: both, not inside yet. */
static inline bool weft__ready_remove_newest(struct weft__ready *r, uintptr_t item)
{
    weft__ready_enter(r);
    bool found = weft__ready_take_newest(r, item);
    weft__ready_leave(r);
    return found;
}
static inline bool weft__ready_remove(struct weft__ready *r, uintptr_t item, int64_t place)
{
    weft__ready_enter(r);
    bool found = weft__ready_take(r, item, place);
    weft__ready_leave(r);
    return found;
}
/* Owner only: does somebody want a part of what is here? */
static inline bool weft__ready_asked(const struct weft__ready *r)
{
    return weft__load_relaxed(&r->tail) > weft__load_relaxed(&r->hunger); /* relaxed: a hint */
}
/* Owner only: open the older half to thieves, never the newest item, unless a raid has just found a single one neglected. Returns how many lie
 * open now. */
int64_t weft__ready_share(struct weft__ready *r);
/* Owner only: nobody is hungry as far as the owner knows; it must look again after this. */
void weft__ready_satisfied(struct weft__ready *r);
/* Any thread: ask the owner to share, once it has two items or more. */
static inline void weft__ready_ask(struct weft__ready *r)
{
    int64_t least = weft__load_relaxed(&r->least); /* relaxed: a hint */
    if (weft__load_seq_cst(&r->hunger) >
        least) /* pairs: READY-HUNGER; an old question must not pass for the answer to come */
        weft__store_seq_cst(&r->hunger, least); /* pairs: READY-HUNGER */
}
/* A thief, when the owner has not answered for long: take up to half of the closed part, at most `most`. Costs microseconds, also the
 * owner's. Returns how many (0 also when the owner stands inside, or another thief). */
unsigned weft__ready_raid(struct weft__ready *r, uintptr_t *items, unsigned most);
/* The parts of a raid: true, and whoever asked is inside in the owner's place until the end; false as above. Not for the owner. */
bool weft__ready_raid_begin(struct weft__ready *r);
void weft__ready_raid_end(struct weft__ready *r);
/* Any thread; a moment's view, never negative. */
int64_t weft__ready_size(const struct weft__ready *r);

#endif
