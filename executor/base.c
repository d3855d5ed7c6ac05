/* SPDX-License-Identifier: Apache-2.0 */
/* executor/base.c -- the clock, error texts, and the two ways to die.
 * Any thread. Nothing here suspends or allocates. */
#define _GNU_SOURCE /* strerrordesc_np */
#include "executor/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

weft_ns weft__monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return WEFT_SEC(now.tv_sec) + now.tv_nsec;
}

/* One write, so that the lines of threads that die together do not mix. */
static _Noreturn void die(char *text, int length, size_t size)
{
    size_t used = length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1;
    if (used == size - 1)
        text[used - 1] = '\n';
    ssize_t written = write(STDERR_FILENO, text, used);
    (void)written;
    abort();
}

void weft__bug(const char *file, int line, const char *what)
{
    char text[512];
    die(text, snprintf(text, sizeof text, "weft: bug in the library at %s:%d: %s\n", file, line, what), sizeof text);
}

void weft__misuse(const char *call, const char *what)
{
    char text[512];
    die(text, snprintf(text, sizeof text, "weft: %s: %s\n", call, what), sizeof text);
}

const char *weft_strerror(int rc)
{
    /* What these mean here is not what the system's texts say. */
    switch (rc) {
    case -ECANCELED:
        return "cancelled";
    case -ETIMEDOUT:
        return "timed out";
    case -ESHUTDOWN:
        return "shut down";
    case -EDEADLK:
        return "deadlock: nobody can go on, or a task would wait for itself";
    default:
        break;
    }
    if (rc >= 0)
        return "success";
    const char *text = NULL;
    if (rc >= -4095) /* the range of the kernel's error numbers; also keeps -INT_MIN away */
#if defined(__GLIBC__)
        text = strerrordesc_np(-rc); /* strerror writes into a buffer that other calls overwrite */
#else
        text = strerror(-rc); /* musl: static texts */
#endif
    return text != NULL ? text : "unknown error";
}

const char *weft_version(void)
{
    return WEFT_VERSION_STRING;
}

int *weft__errno_location(void)
{
    return __errno_location();
}
