/* SPDX-License-Identifier: Apache-2.0 */
/* executor/parker.h -- one thread sleeps, others wake it: an event count (ck_ec), with a deadline.
 *     sleeper: ticket = ticket(p); announce; look again at every source of work; wait(p, ticket, deadline)
 *     waker:   make work visible; post(p)
 * A post after the ticket was taken makes the wait return at once: no wake is lost. */
#ifndef WEFT_EXECUTOR_PARKER_H
#define WEFT_EXECUTOR_PARKER_H

#include <ck_ec.h>

#include "executor/base.h"

struct weft__parker {
    alignas(WEFT__CACHELINE) struct ck_ec32 count;
};

void weft__parker_init(struct weft__parker *p);
uint32_t weft__parker_ticket(const struct weft__parker *p);
/* Owner only. Sleeps until the count differs from ticket or `deadline` (CLOCK_MONOTONIC instant, WEFT_FOREVER: none) has
 * passed. Goes to the kernel at once: no spin (the caller decides about spinning). True: the count differs. */
bool weft__parker_wait(struct weft__parker *p, uint32_t ticket, weft_ns deadline);
/* Any thread. A system call only when the owner sleeps. */
void weft__parker_post(struct weft__parker *p);

#endif
