/* SPDX-License-Identifier: Apache-2.0 */
/* executor/seeded_choose.c -- one choice of a seeded run (seeded.c), in a file of its own so that a program may be linked with another one:
 * testing/ explores schedules that way (weft/testing.h). The library's own is an even draw.
 *
 * Threads: the runtime's one worker. */
#include "executor/seeded.h"

uint64_t weft__seeded_choose(struct weft__seeded *s, enum weft__choice what, uint64_t n)
{
    (void)what;
    return weft__seeded_random(s, n);
}
