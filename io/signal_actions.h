/* SPDX-License-Identifier: Apache-2.0 */
/* io/signal_actions.h -- see signal_actions.c: whose a signal is. */
#ifndef WEFT_IO_SIGNAL_ACTIONS_H
#define WEFT_IO_SIGNAL_ACTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "executor/atomic.h"

#define WEFT__LAST_SIGNAL 64

struct weft__io;

/* What the handler knows of a runtime. */
struct weft__signal_source {
    struct weft__signal_source *next; /* constant */
    bool used;                        /* under the table's guard */
    _Atomic(int) event;               /* -1: none. pairs: SIGNAL-HANDLER */
    _Atomic(uint64_t) wanted;         /* weft__signal_bit. pairs: SIGNAL-HANDLER */
    _Atomic(uint64_t) came;           /* likewise. pairs: SIGNAL-CAME: marked before the eventfd is written */
    _Atomic(uint64_t)
        older; /* likewise: what is kept of it may be older than another runtime's keeping. pairs: SIGNAL-HANDLER */
    _Atomic(uint32_t) interrupt; /* see signal_actions.c. pairs: SIGNAL-HANDLER */
};

static inline uint64_t weft__signal_bit(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

/* Tasks. From now on these come to this runtime. 0 or a negative errno. */
int weft__signals_take_over(struct weft__io *io, const int signals[], size_t n);
/* Tasks. No more; those that came and nobody has had are sent again. 0; -EBUSY: somebody waits for one of them, and nothing is done. */
int weft__signals_give_back(struct weft__io *io, uint64_t mask);
/* Tasks. One that was given back before its receiver could have it. */
void weft__signal_send_again(struct weft__io *io, int signo);

#endif
