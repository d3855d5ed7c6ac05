/* SPDX-License-Identifier: Apache-2.0 */
/* executor/base.h -- what every file of the library may use: sizes, clock, reports of bugs and of misuse. */
#ifndef WEFT_EXECUTOR_BASE_H
#define WEFT_EXECUTOR_BASE_H

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/base.h>

/* What the library is compiled with. */
#define WEFT__ASAN 0
#define WEFT__TSAN 0
#if defined(__SANITIZE_ADDRESS__)
#undef WEFT__ASAN
#define WEFT__ASAN 1
#elif defined(__SANITIZE_THREAD__)
#undef WEFT__TSAN
#define WEFT__TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef WEFT__ASAN
#define WEFT__ASAN 1
#elif __has_feature(thread_sanitizer)
#undef WEFT__TSAN
#define WEFT__TSAN 1
#endif
#endif

#define WEFT__CACHELINE 128 /* two lines: the prefetcher fetches them in pairs */
#define WEFT__PAGE ((size_t)4096)
#define weft__container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define weft__likely(x) __builtin_expect(!!(x), 1)
#define weft__unlikely(x) __builtin_expect(!!(x), 0)
#define WEFT__COLD __attribute__((noinline, cold))
#define WEFT__NOINLINE __attribute__((noinline))

/* glibc declares the address of errno constant, so compilers ask for it once in a function, also one that another was inlined
 * into and that suspends between two reads: the second would be of another thread's errno. This function they must call. */
int *weft__errno_location(void);
#undef errno
#define errno (*weft__errno_location())

/* CLOCK_MONOTONIC in nanoseconds, whatever clock the runtime has. */
weft_ns weft__monotonic(void);

/* A broken invariant of the library: says so and aborts. Never returns. */
_Noreturn WEFT__COLD void weft__bug(const char *file, int line, const char *what);
/* A mistake of the program that cannot be an error code: `call` is the public function's name. Aborts. */
_Noreturn WEFT__COLD void weft__misuse(const char *call, const char *what);

#define WEFT__BUG_ON(condition)                                                                                        \
    do {                                                                                                               \
        if (weft__unlikely(condition))                                                                                 \
            weft__bug(__FILE__, __LINE__, #condition);                                                                 \
    } while (0)
/* Checked in debug and sanitizer builds only. */
#ifdef WEFT_DEBUG
#define WEFT__ASSERT(condition) WEFT__BUG_ON(!(condition))
#else
#define WEFT__ASSERT(condition) ((void)0)
#endif

/* A small fast random generator (xorshift64*); state must not be 0. Not for secrets. */
static inline uint64_t weft__random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

#endif
