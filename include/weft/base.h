/* SPDX-License-Identifier: Apache-2.0 */
/* weft/base.h -- durations, instants and error texts.
 *
 * Results. Every weft function that can fail returns 0 or a count when done, or a negative errno value when not.
 * Nothing is ever reported through errno: a task may go on in another thread after it waited, and both compilers
 * cache the address of errno across the call (so does user code: read errno right after the system call, never
 * after a weft call that may suspend). */
#ifndef WEFT_BASE_H
#define WEFT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/attr.h>

WEFT_BEGIN_DECLS

/* A duration, or an instant of the runtime's clock (weft_now), in nanoseconds. */
typedef int64_t weft_ns;

/* Whole or fractional: WEFT_SEC(0.5) is half a second. */
#define WEFT_NS(n) ((weft_ns)(n))
#define WEFT_US(n) ((weft_ns)((n)*INT64_C(1000)))
#define WEFT_MS(n) ((weft_ns)((n)*INT64_C(1000000)))
#define WEFT_SEC(n) ((weft_ns)((n)*INT64_C(1000000000)))
/* "No time limit", wherever a duration or an instant limits a wait (asyncio: timeout=None). */
#define WEFT_FOREVER INT64_MAX

/* The runtime's clock now: CLOCK_MONOTONIC, or the virtual clock of the runtime the caller runs in
 * (weft/run.h, `clock`). Any thread; outside a runtime it is CLOCK_MONOTONIC. Never suspends.
 * asyncio: loop.time(). */
WEFT_API weft_ns weft_now(void);

/* A short English text for a result of this library: 0, a positive count or a negative errno.
 * The text is static. Any thread. Never suspends. */
WEFT_API const char *weft_strerror(int rc);

/* The version of the library that is linked, as "major.minor.patch". Any thread. */
WEFT_API const char *weft_version(void);

WEFT_END_DECLS

#endif
