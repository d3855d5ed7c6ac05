/* SPDX-License-Identifier: Apache-2.0 */
/* intro/intro.h -- what the introductory programs share: asyncio's introduction, in C, each in one file.
 *
 * They run on the real clock. With WEFT_EXAMPLE_VIRTUAL set in the environment they run on the virtual one, which
 * jumps from one deadline to the next: the same output, exact times, and no waiting. */
#ifndef EXAMPLES_INTRO_INTRO_H
#define EXAMPLES_INTRO_INTRO_H

#include <stdio.h>
#include <stdlib.h>
#include <weft.h>

#define INTRO_OPTIONS WEFT_OPTIONS(.clock = getenv("WEFT_EXAMPLE_VIRTUAL") ? WEFT_CLOCK_VIRTUAL : WEFT_CLOCK_REAL)

/* The time since `start` to the nearest tenth of a second: printf(INTRO_ELAPSED, INTRO_SINCE(start)). */
static inline long long intro_tenths(weft_ns start)
{
    return (weft_now() - start + WEFT_MS(50)) / WEFT_MS(100);
}
#define INTRO_ELAPSED "%lld.%lld s"
#define INTRO_SINCE(start) intro_tenths(start) / 10, intro_tenths(start) % 10

#endif
