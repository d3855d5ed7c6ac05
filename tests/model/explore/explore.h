/* SPDX-License-Identifier: Apache-2.0 */
/* explore.h -- runs small programs of two to four threads on the library's own compiled code in every order there is, and with every
 * value that C11's memory model lets a load return, up to a bound. See explore.c for the search, memory.c for the memory.
 *
 * A model is one file: what one execution begins with (setup), what each thread does, and what must be true when all have ended
 * (finish). Everything a thread reads must have been written by setup or by the threads. What a model says is checked by CHECK,
 * in threads and in finish; beyond that every execution fails that has a data race, touches memory that was freed, comes to a
 * stop before all threads have ended, or does not end. */
#ifndef WEFT_TESTS_EXPLORE_H
#define WEFT_TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXPLORE_THREADS = 5 }; /* 0 is setup and finish, 1.. the model's */

struct explore_model {
    const char *name;
    void (*setup)(void);
    void (*thread[EXPLORE_THREADS - 1])(void);
    void (*finish)(void);
    /* How often in one execution a thread is interrupted where it could go on; how often a load returns an old value. */
    unsigned preemptions, stale;
    bool daemons;         /* it may stop with threads asleep, if `finish` says that it is right */
    bool no_membarrier;   /* of a kernel without it */
    unsigned memory_lean; /* the n-th allocation fails; 0: none */
};

/* The program, with options (--help): 0 when every model holds, 1 when one does not. */
int explore_main(int argc, char **argv, const struct explore_model *models, size_t count);

#define CHECK(condition) explore_check((condition), #condition, __FILE__, __LINE__)
void explore_check(bool condition, const char *text, const char *file, int line);

/* In a model's threads: what the machine would do. */
void explore_block(bool (*until)(void *), void *argument); /* sleeps until that is true; it reads plain memory only */
/* One of 0..n-1, all of them in turn. */
unsigned explore_any(unsigned n);
/* What the calling thread has done is known to whoever calls arrive after it (a lock of the kernel's, a join). */
struct explore_sync {
    uint32_t clock[EXPLORE_THREADS];
};
void explore_leave(struct explore_sync *s);
void explore_arrive(const struct explore_sync *s);
/* The number of the calling thread; 0 in setup and finish. */
unsigned explore_self(void);
/* Does it sleep at present (in explore_block or a parker)? */
bool explore_asleep(unsigned thread);

#endif
