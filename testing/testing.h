/* SPDX-License-Identifier: Apache-2.0 */
/* testing/testing.h -- what the parts of libweft_testing know of each other. */
#ifndef WEFT_TESTING_TESTING_H
#define WEFT_TESTING_TESTING_H

#include <stdatomic.h>
#include <stdint.h>

#include <weft/task.h>
#include <weft/testing.h>

/* ---- faults.c: does this call fail? ---- */

enum weft__call {
    WEFT__MALLOC,
    WEFT__CALLOC,
    WEFT__REALLOC,
    WEFT__ALIGNED_ALLOC,
    WEFT__MMAP,
    WEFT__MADVISE,
    WEFT__MPROTECT,
    WEFT__EPOLL_CREATE,
    WEFT__EPOLL_CTL,
    WEFT__EPOLL_WAIT,
    WEFT__EVENTFD,
    WEFT__SOCKET,
    WEFT__BIND,
    WEFT__LISTEN,
    WEFT__ACCEPT,
    WEFT__CONNECT,
    WEFT__RECV,
    WEFT__SEND,
    WEFT__READ,
    WEFT__WRITE,
    WEFT__GETADDRINFO,
    WEFT__PTHREAD_CREATE,
    WEFT__OPEN,
    WEFT__CALLS
};

#define WEFT__SHORT (-1) /* beside errno values */

/* Some plan is in force, or calls are counted for a sweep. */
extern _Atomic(bool) weft__faults_on;
/* 0: go on; else the errno to fail with, or WEFT__SHORT. fd -1: none. Any thread; never blocks. */
int weft__fault_now(enum weft__call call, int fd);
static inline int weft__fault(enum weft__call call, int fd)
{
    return atomic_load_explicit(&weft__faults_on, memory_order_relaxed) ? weft__fault_now(call, fd) : 0;
}

/* For sweeps: the k-th call of the `calls` that could fail does (k 0: none), or the one with the name `where` ("recv@session#3", NULL: by number), and
 * with `persistent` all of its kind after it. -EINVAL: the names. */
int weft__faults_aim(uint64_t k, const char *where, const char *calls, const char *faults, bool persistent);
/* The word of `calls` or `faults` that is no name, after -EINVAL. */
extern char weft__faults_unknown[64];
/* No more. Returns how many calls could have failed; *name: the call that was hit, NULL: none was. */
uint64_t weft__faults_aimed(const char **name, int *error);
/* Now, for messages out of signal handlers. */
const char *weft__faults_hit(int *error);
/* The name of what was hit, in this aim or the last; "" if nothing was. */
void weft__faults_where(char *buf, size_t size);

/* ---- memory.c: what is allocated and not freed, by the program's and weft's objects ---- */

void weft__memory_watch(void);
/* The number of blocks allocated since then that live; *size: of one of them. */
size_t weft__memory_left(size_t *size);
/* memory of our own, which is not watched and does not fail */
void *weft__testing_alloc(size_t count, size_t size);

/* ---- run.c: one run of a program, checked ---- */

typedef void weft__program(void *argument);

struct weft__test {
    const char *name;
    weft__program *program;
    void *argument;
    /* what to change in the options of its run */
    unsigned workers;
    uint64_t seed;
    bool seeded, real_clock, keeps_memory,
        faulty;      /* faulty: the runtime may fail to start, reports are no complaints */
    bool deadlocked; /* of the last run: nobody could go on, so its tasks were given up where they waited */
    void (*before)(void *user);
    const char *(*after)(void *user, const weft_test_run *run);
    void *user;
    void (*report)(void *user, const char *line);
    void (*main_begins)(weft_task *main_task); /* its first step */
    char what[160];                            /* which run it is */
    char replay[4200];                         /* what makes it run again */
};

/* Is that the main task of the run under way? */
bool weft__testing_is_main(const weft_task *t);
/* What makes this run again: by the name of the call that failed, if one did. Quoted for the shell where it has to be. */
void weft__test_replay(const struct weft__test *t, char *buf, size_t size);
/* Runs it once. Fills run->rc; returns NULL, or what is wrong beside the outcome: a broken weft_expect, something left. */
const char *weft__test_run(struct weft__test *t, weft_test_run *run);
/* The default judgement, or t->after's: `complaint` is weft__test_run's. */
void weft__test_say(struct weft__test *t, const char *format, ...) WEFT_PRINTF(2, 3);
/* Of the last run, if nobody could go on: who waits for what, each line with its end; else "". And say such lines. */
const char *weft__test_lines(void);
void weft__test_hanging(struct weft__test *t, const char *lines);
/* Around a number of runs: their signal handlers. */
void weft__tests_begin(void);
void weft__tests_end(void);
/* A program that runs a frame: argument of the struct. */
struct weft__framed {
    const weft_frame *frame;
    size_t size;
};
void weft__run_framed(void *argument);

/* ---- explore.c ---- */

#endif
