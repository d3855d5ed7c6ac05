/* SPDX-License-Identifier: Apache-2.0 */
/* executor/queue_look.c -- a getter or putter that looks for a while before it waits (look.h), and the getter that is given its item
 * meanwhile (queue.h: LOOKS, taker). The caller is a task; it holds the guard, and lets go of it while it looks. */
#include "executor/queue.h"

enum {
    LOOK = 512,
    LOOK_MOST = 128,
    PATIENCE = 14,
    FEW = 4,
    EIGHT = 8,
};

/* Without the guard, and only when nobody has it: who comes for it too early has to pause. */
static inline bool nobody_inside(const weft_queue *q)
{
    return (weft__guard_glance(&q->guard) & WEFT__GUARD_HELD) == 0;
}
static inline bool is_shut(const weft_queue *q)
{
    return (weft__guard_glance(&q->special) & WEFT__QUEUE_SHUT_DOWN) != 0;
}
static inline bool may_have_item(const void *queue)
{
    const weft_queue *q = queue;
    return (weft__guard_glance_size(&q->store.count) != 0 || is_shut(q)) && nobody_inside(q);
}
static inline bool may_have_room(const void *queue)
{
    const weft_queue *q = queue;
    return (weft__guard_glance_size(&q->store.count) < q->maxsize || is_shut(q)) && nobody_inside(q);
}

/* For how many pauses may this task look? */
static inline unsigned look_length(const struct weft__fiber *f, const int32_t *patience)
{
    unsigned length = weft__may_look(f) ? weft__look_length(weft__queue_patience(patience), LOOK) : 0;
    return length < LOOK_MOST ? length : LOOK_MOST;
}
static inline void learn(int32_t *patience, enum weft__looked how)
{
    int32_t now = weft__queue_patience(patience), next = now;
    if (now <= WEFT__QUEUE_FRESH)
        next = now > WEFT__QUEUE_FRESH - EIGHT * FEW ? now - EIGHT : WEFT__PATIENCE_PROBE_FOR;
    else if (how != WEFT__LOOK_LEFT)
        next = weft__look_learn(now, how == WEFT__LOOK_FOUND, PATIENCE);
    if (next != now)
        weft__queue_set_patience(patience, next);
}

/* Give what this task came for a while to come. The guard is held before and after, not between. */
static inline __attribute__((always_inline)) void look(weft_queue *q, struct weft__fiber *f, int32_t *patience,
                                                       bool (*there)(const void *))
{
    if (!weft__may_look(f))
        return;
    unsigned length = look_length(f, patience);
    enum weft__looked how = WEFT__LOOK_VAIN;
    if (length != 0) {
        q->looking++;
        weft__guard_unlock(&q->guard);
        how = weft__look(f, length, 4, there, q);
        weft__guard_lock(&q->guard);
        q->looking--;
    }
    learn(patience, how);
}

static inline bool was_given(const weft_queue *q)
{
    return (weft__guard_see(&q->special) & WEFT__QUEUE_LOOKS) == 0 && /* pairs: QUEUE-GIVEN */
           (weft__guard_see(&q->guard) & WEFT__GUARD_HELD) == 0;      /* pairs: GUARD */
}
static inline bool was_given_or_shut(const void *queue)
{
    return was_given(queue) || is_shut(queue);
}

/* The same for a getter that may be given an item, into *item: true, and the guard is not held any more. */
static inline __attribute__((always_inline)) bool look_as_taker(weft_queue *q, struct weft__fiber *f, void *item,
                                                                unsigned length)
{
    weft__guard_hint(&q->taker, 1);
    weft__queue_mark(q, WEFT__QUEUE_LOOKS, true);
    weft__guard_unlock(&q->guard);
    enum weft__looked how = weft__look(f, length, 1, was_given_or_shut, q);
    bool given = was_given(q);
    if (weft__unlikely(!given)) {
        weft__guard_lock(&q->guard);
        given = (q->special & WEFT__QUEUE_LOOKS) == 0;
        if (!given) {
            weft__queue_mark(q, WEFT__QUEUE_LOOKS, false);
            weft__guard_hint(&q->taker, 0);
            learn(&q->getters_patience, how);
            return false;
        }
        weft__guard_unlock(&q->guard);
    }
    memcpy(item, &q->given, sizeof q->given);
    learn(&q->getters_patience, WEFT__LOOK_FOUND);
    weft__guard_tell(&q->taker, 0); /* pairs: QUEUE-TAKER */
    return true;
}
bool weft__queue_look_for_room(weft_queue *q, struct weft__fiber *f)
{
    look(q, f, &q->putters_patience, may_have_room);
    return !weft__queue_full(q) || (q->special & WEFT__QUEUE_SHUT_DOWN) != 0;
}
int weft__queue_look_for_item(weft_queue *q, struct weft__fiber *f, void *item)
{
    unsigned length = look_length(f, &q->getters_patience);
    if (weft__likely(length != 0 && !(q->special & WEFT__QUEUE_OTHER) &&
                     weft__guard_see(&q->taker) == 0)) { /* pairs: QUEUE-TAKER */
        if (look_as_taker(q, f, item, length))
            return WEFT__QUEUE_GIVEN;
    } else {
        look(q, f, &q->getters_patience, may_have_item);
    }
    return q->store.count != 0 || (q->special & WEFT__QUEUE_SHUT_DOWN) != 0 ? WEFT__QUEUE_THERE : WEFT__QUEUE_NOTHING;
}
