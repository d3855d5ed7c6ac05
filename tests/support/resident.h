/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/resident.h -- how much memory this process has, to the page. /proc/self/statm will not do: kernels sum its numbers up from parts that
 * each CPU or thread keeps for itself for a while, and are wrong by up to 64 pages for each of these. */
#ifndef WEFT_TESTS_SUPPORT_RESIDENT_H
#define WEFT_TESTS_SUPPORT_RESIDENT_H

#include <stdio.h>
#include <unistd.h>

/* In pages; below 0: it can't be had. Any thread; reads a file, so not where descriptors are counted. */
static inline long resident_pages_now(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    long kib = -1;
    while (f != NULL && kib < 0 && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "Rss: %ld kB", &kib) != 1)
            kib = -1;
    if (f != NULL)
        fclose(f);
    return kib < 0 ? -1 : kib * 1024 / sysconf(_SC_PAGESIZE);
}

/* Memory that does not grow with what is done: does it again and again until once it has not grown by `most` pages or more. What is filled only now
 * and then (malloc's caches, a worker's that has had no turn so far) is full at some time; what is lost is lost in each round. */
static inline bool resident_settles(long most, int (*round)(void *), void *argument, int *rounds)
{
    for (*rounds = 1; *rounds <= 10; ++*rounds) {
        long before = resident_pages_now();
        if (round(argument) != 0)
            return false;
        if (before < 0 || resident_pages_now() - before < most)
            return true;
    }
    return false;
}

#endif
