/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/threads.h -- for tests of what threads share: run a body in several threads that start together, sizes
 * that fit the tool the test runs under, and a process that is short of memory.
 * cmocka's assertions belong in the main thread: a body records, the test asserts after threads_run has returned. */
#ifndef WEFT_TESTS_SUPPORT_THREADS_H
#define WEFT_TESTS_SUPPORT_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREADS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREADS_SANITIZED 1
#endif
#endif
#ifndef THREADS_SANITIZED
#define THREADS_SANITIZED 0
#endif

#define THREADS_MAX 16

/* n, or less where everything is slow (valgrind, or WEFT_TEST_SMALL set): never less than 1. */
static inline unsigned threads_scale(unsigned n)
{
    unsigned divisor = RUNNING_ON_VALGRIND || getenv("WEFT_TEST_SMALL") ? 200 : THREADS_SANITIZED ? 5 : 1;
    return n / divisor ? n / divisor : 1;
}

struct threads_one {
    pthread_t thread;
    pthread_barrier_t *start;
    void (*body)(void *shared, unsigned index);
    void *shared;
    unsigned index;
};

static inline void *threads_entry(void *argument)
{
    struct threads_one *one = argument;
    pthread_barrier_wait(one->start);
    one->body(one->shared, one->index);
    return NULL;
}

/* Runs body(shared, 0) ... body(shared, n - 1), each in a thread of its own; returns when all have ended. */
static inline void threads_run(unsigned n, void (*body)(void *shared, unsigned index), void *shared)
{
    struct threads_one all[THREADS_MAX];
    pthread_barrier_t start;
    if (n > THREADS_MAX || pthread_barrier_init(&start, NULL, n) != 0)
        abort();
    for (unsigned i = 0; i < n; i++) {
        all[i] = (struct threads_one){.start = &start, .body = body, .shared = shared, .index = i};
        if (pthread_create(&all[i].thread, NULL, threads_entry, &all[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(all[i].thread, NULL);
    pthread_barrier_destroy(&start);
}

/* True if nothing can be starved here: the tools need address space of their own. */
static inline bool threads_cannot_starve(void)
{
    return THREADS_SANITIZED || RUNNING_ON_VALGRIND;
}

/* Runs body in a child process that may map `extra` bytes more than the parent has now; returns the child's exit
 * status: what body returned, or -1 if it died. */
static inline int threads_run_starved(size_t extra, int (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        unsigned long pages = 0;
        FILE *statm = fopen("/proc/self/statm", "re");
        if (!statm || fscanf(statm, "%lu", &pages) != 1)
            _exit(99);
        fclose(statm);
        struct rlimit limit;
        limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + extra;
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(98);
        _exit(body());
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

#endif
