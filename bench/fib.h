/* SPDX-License-Identifier: Apache-2.0 */
/* bench/fib.h -- the trees that several workloads grow: fork one call, call the other, join. A copy for each file, so that the
 * compiler sees in each what a user's compiler would. */
#ifndef BENCH_FIB_H
#define BENCH_FIB_H

#include <weft.h>

struct fib {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib(struct fib *f);
WEFT_CORO(fib);
static int fib(struct fib *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    struct fib a = {.n = f->n - 1}, b = {.n = f->n - 2};
    weft_child child;
    weft_fork(&child, fib, &a);
    int rb = fib(&b);
    int ra = weft_join(&child);
    f->result = a.result + b.result;
    return ra < 0 ? ra : rb;
}

/* The same with counted tasks. */
struct fib_task {
    WEFT_FRAME;
    int n;
    long result;
};
static int fib_task(struct fib_task *f);
WEFT_CORO(fib_task);
static int fib_task(struct fib_task *f)
{
    if (f->n < 2) {
        f->result = f->n;
        return 0;
    }
    weft_task *t = weft_create_task(fib_task, .n = f->n - 1);
    struct fib_task b = {.n = f->n - 2};
    int rb = fib_task(&b);
    int ra = weft_await(t);
    f->result = (ra == 0 ? weft_result(fib_task, t)->result : 0) + b.result;
    weft_release(t);
    return ra < 0 ? ra : rb;
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

/* Forked children in the tree of n. */
static inline double fib_forks(long n)
{
    return (double)(fib_of(n + 1) - 1);
}

#endif
