/* SPDX-License-Identifier: Apache-2.0 */
/* executor/waitlist.h -- the first-come-first-served list of waiters inside weft_lock, weft_queue and their like.
 * All functions but `lock` want the guard held. */
#ifndef WEFT_EXECUTOR_WAITLIST_H
#define WEFT_EXECUTOR_WAITLIST_H

#include <weft/sync.h>

#include "executor/guard.h"
#include "executor/wait.h"

static inline void weft__waitlist_lock(weft__waitlist *l)
{
    weft__guard_lock(&l->guard_);
}
static inline void weft__waitlist_unlock(weft__waitlist *l)
{
    weft__guard_unlock(&l->guard_);
}
static inline bool weft__waitlist_empty(const weft__waitlist *l)
{
    return l->first_ == NULL;
}

/* weft__wait_begin for the calling fiber, and its node, which is given, at the end of the list. */
static inline void weft__waitlist_append(weft__waitlist *l, struct weft__wait_node *node, struct weft__fiber *f,
                                         const struct weft__wait_kind *kind, void *object)
{
    node->fiber = f;
    node->woken = false;
    node->listed = true;
    node->value = 0;
    node->next = NULL;
    node->previous = l->last_;
    node->ticket = weft__wait_begin(f, kind, object);
    if (l->last_ != NULL)
        ((struct weft__wait_node *)l->last_)->next = node;
    else
        l->first_ = node;
    l->last_ = node;
    l->count_++;
}

/* The same with the node looked up. Returns it. */
static inline struct weft__wait_node *weft__waitlist_join(weft__waitlist *l, struct weft__fiber *f,
                                                          const struct weft__wait_kind *kind, void *object)
{
    struct weft__wait_node *node = weft__fiber_node(f);
    weft__waitlist_append(l, node, f, kind, object);
    return node;
}

/* Take a node off, wherever it stands. A node already off is left alone. */
static inline void weft__waitlist_leave(weft__waitlist *l, struct weft__wait_node *node)
{
    if (!node->listed)
        return;
    if (node->previous != NULL)
        node->previous->next = node->next;
    else
        l->first_ = node->next;
    if (node->next != NULL)
        node->next->previous = node->previous;
    else
        l->last_ = node->previous;
    node->listed = false;
    l->count_--;
}

/* Wake the first node that has not been woken; it stays listed until it leaves by itself. A node whose fiber was already
 * woken otherwise (cancelled, timed out) is passed over. Returns whether one was woken. */
static inline bool weft__waitlist_wake_next(weft__waitlist *l)
{
    for (struct weft__wait_node *node = l->first_; node != NULL; node = node->next) {
        if (node->woken)
            continue;
        if (weft__wake(node->fiber, node->ticket, WEFT__WOKEN)) {
            node->woken = true;
            return true;
        }
    }
    return false;
}

#endif
