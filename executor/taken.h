/* SPDX-License-Identifier: Apache-2.0 */
/* executor/taken.h -- see taken.c: what is waited for, and lies open to thieves or was taken by one. */
#ifndef WEFT_EXECUTOR_TAKEN_H
#define WEFT_EXECUTOR_TAKEN_H

#include "executor/runtime.h"

/* The running task on f is about to wait for t, which may have begun elsewhere: for a moment it may look on. True: t has ended by then. */
bool weft__taken_ends(struct weft__fiber *f, struct weft_task *t);
/* Owner. t has not begun: claim it, PLAIN, if it lies open, the oldest there, and is w's creation. False: nothing is done. */
bool weft__taken_back(struct weft__worker *w, struct weft_task *t);
/* Owner. Take t's entry out of w's queue, wherever in that it lies. */
bool weft__taken_entry(struct weft__worker *w, const struct weft_task *t);

#endif
