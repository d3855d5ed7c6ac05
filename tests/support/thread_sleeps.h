/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/thread_sleeps.h -- does a thread of this process sleep in the kernel right now? Any thread. */
#ifndef WEFT_TESTS_SUPPORT_THREAD_SLEEPS_H
#define WEFT_TESTS_SUPPORT_THREAD_SLEEPS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* False, too, where /proc does not tell. */
static inline bool thread_sleeps(int tid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "re");
    size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'S';
}

#endif
