/* SPDX-License-Identifier: Apache-2.0 */
/* io/park.h -- see park.c: what the reactor's driver knows of parked tasks. Private to io/. */
#ifndef WEFT_IO_PARK_H
#define WEFT_IO_PARK_H

#include "executor/parked.h"

uint32_t weft__park_arm(struct weft__park *park, struct weft__fiber *f, struct weft_task *t, uint32_t ticket);
int weft__park_resume(struct weft__park **park);
void weft__park_end(struct weft__park *park);
extern const char *const weft__park_names[];

#endif
