/* SPDX-License-Identifier: Apache-2.0 */
/* The peer Lace: fork-join whose tasks cannot suspend.    lace_bench fib|skynet|spawn_join|spawn_many N WORKERS */
#include <lace.h>

#include "peer.h"

TASK_1(long, fib, long, n)
{
    if (n < 2)
        return n;
    SPAWN(fib, n - 1);
    long b = CALL(fib, n - 2);
    return SYNC(fib) + b;
}

TASK_2(long, skynet, long, first, long, size)
{
    if (size == 1)
        return first;
    long part = size / 10, sum = 0;
    for (int i = 0; i < 10; i++)
        SPAWN(skynet, first + i * part, part);
    for (int i = 0; i < 10; i++)
        sum += SYNC(skynet);
    return sum;
}

TASK_1(long, same, long, n)
{
    return n;
}

TASK_1(long, spawn_join, long, n)
{
    long sum = 0;
    for (long i = 0; i < n; i++) {
        SPAWN(same, i);
        sum += SYNC(same);
    }
    return sum;
}

TASK_1(long, spawn_many, long, n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        SPAWN(same, i);
    for (long i = 0; i < n; i++)
        sum += SYNC(same);
    return sum;
}

int main(int argc, char **argv)
{
    CHECK(argc > 3);
    const char *bench = argv[1];
    long n = atol(argv[2]);
    int workers = atoi(argv[3]);
    lace_start((unsigned)workers, 4000000);
    double start;
    if (strcmp(bench, "fib") == 0) {
        CHECK(RUN(fib, n - 6) == fib_of(n - 6));
        start = now();
        CHECK(RUN(fib, n) == fib_of(n));
        emit(bench, n, workers, now() - start, (double)(fib_of(n + 1) - 1));
    } else if (strcmp(bench, "skynet") == 0) {
        CHECK(RUN(skynet, 0, n / 10) == triangle(n / 10));
        start = now();
        CHECK(RUN(skynet, 0, n) == triangle(n));
        emit(bench, n, workers, now() - start, (double)n * 10 / 9);
    } else if (strcmp(bench, "spawn_join") == 0) {
        CHECK(RUN(spawn_join, n / 10) == triangle(n / 10));
        start = now();
        CHECK(RUN(spawn_join, n) == triangle(n));
        emit(bench, n, workers, now() - start, (double)n);
    } else if (strcmp(bench, "spawn_many") == 0) {
        for (int pass = 0; pass < 2; pass++) {
            start = now();
            CHECK(RUN(spawn_many, n) == triangle(n));
            emit(pass == 0 ? "spawn_many_cold" : bench, n, workers, now() - start, (double)n);
        }
    } else {
        return 3;
    }
    fflush(stdout);
    lace_stop();
    return 0;
}
