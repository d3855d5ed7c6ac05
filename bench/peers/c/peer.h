/* SPDX-License-Identifier: Apache-2.0 */
/* bench/peers/c/peer.h -- what the peer programs in C share: the clock, the line they print, the expected answers.
 * PROGRAM BENCH N WORKERS prints  name,n,workers,seconds,ns_per_op,ops_per_s,max_rss_kib  or ends non-zero. */
#ifndef PEER_H
#define PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void emit(const char *name, long n, int workers, double seconds, double operations)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double ns = seconds * 1e9 / operations;
    printf("%s,%ld,%d,%.6f,%.3f,%.0f,%ld\n", name, n, workers, seconds, ns, ns > 0 ? 1e9 / ns : 0, u.ru_maxrss);
}

static inline long fib_of(long n)
{
    long a = 0, b = 1;
    while (n-- > 0) {
        long c = a + b;
        a = b;
        b = c;
    }
    return a;
}

static inline long triangle(long n)
{
    return n * (n - 1) / 2;
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "check failed: %s\n", #condition);                                                         \
            exit(2);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
