/* SPDX-License-Identifier: Apache-2.0 */
/* executor/canary.h -- see canary.c: notices ready work that is left lying although somebody could run it. */
#ifndef WEFT_EXECUTOR_CANARY_H
#define WEFT_EXECUTOR_CANARY_H

#include "executor/base.h"

struct weft_runtime;
struct weft__canary;

/* NULL: memory; then nothing is noticed. */
struct weft__canary *weft__canary_create(const struct weft_runtime *rt);
void weft__canary_destroy(struct weft__canary *c);
/* One look, at each tick. */
void weft__canary_look(struct weft__canary *c, struct weft_runtime *rt, weft_ns now);

#endif
