/* SPDX-License-Identifier: Apache-2.0 */
/* executor/strand.h -- see strand.c: the turn of a strand goes from one of its tasks to the next. */
#ifndef WEFT_EXECUTOR_STRAND_H
#define WEFT_EXECUTOR_STRAND_H

#include <weft/strand.h>

#include "executor/inbox.h"

/* Something of the strand became ready: true if it has the turn now and goes into a ready queue; false: it waits in the strand. */
bool weft__strand_arrive(weft_strand *s, struct weft__link *link);
/* Whoever had the turn has left the CPU, or will never run: the next one, to be put into a ready queue with the turn; NULL: nobody waits. */
struct weft__link *weft__strand_leave(weft_strand *s);

#endif
