/* SPDX-License-Identifier: Apache-2.0 */
/* executor/inbox.h -- see inbox.c: a list that any thread adds to and any thread may claim as a whole. */
#ifndef WEFT_EXECUTOR_INBOX_H
#define WEFT_EXECUTOR_INBOX_H

#include "executor/atomic.h"
#include "executor/base.h"

struct weft__link {
    struct weft__link *next;
};

struct weft__inbox {
    alignas(WEFT__CACHELINE) _Atomic(struct weft__link *) head; /* newest first */
};

void weft__inbox_init(struct weft__inbox *b);
/* Any thread. Seq_cst: a pusher that then looks for sleepers misses none that looked here (INBOX-PARK). */
void weft__inbox_push(struct weft__inbox *b, struct weft__link *item);
/* Any thread: add a whole list, first..last linked by next, as if pushed in that order. */
void weft__inbox_push_list(struct weft__inbox *b, struct weft__link *first, struct weft__link *last);
/* Any thread: take everything, oldest first; NULL when empty. */
struct weft__link *weft__inbox_claim(struct weft__inbox *b);
bool weft__inbox_empty(const struct weft__inbox *b); /* seq_cst */

#endif
