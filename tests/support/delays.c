/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/delays.c -- a library that dawdles: with -DWEFT_DELAYS=ON each atomic operation of weft is now and then
 * preceded by a pause, so that what takes a rare preemption elsewhere happens all the time here.
 *
 * One operation in WEFT_DELAY_RATE (environment; 200 without it, 0: none) pauses: gives the CPU to somebody else, or sleeps
 * 1 us to 8 ms. Short ones and long ones are equally frequent, so that one thread may stand still between two operations
 * while another goes through many pauses of its own; the longest are longer than those that tests take themselves. Threads
 * differ from run to run; there is no seed to give.
 *
 * Any thread, also in a signal handler and in the child of a fork: only plain system calls. */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

void weft__seam(void);

static uint64_t rate = 200;
static _Thread_local uint64_t random_state;

__attribute__((constructor)) static void read_rate(void)
{
    const char *text = getenv("WEFT_DELAY_RATE");
    if (text != NULL)
        rate = strtoull(text, NULL, 10);
}

static uint64_t draw(void)
{
    uint64_t x = random_state;
    if (x == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        x = ((uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)&random_state) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    random_state = x;
    return x >> 11;
}

void weft__seam(void)
{
    if (rate == 0 || draw() % rate != 0)
        return;
    int saved = errno; /* the operation may stand between a system call and the look at its result */
    unsigned length = (unsigned)(draw() % 24);
    if (length < 10)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 1L << length}, NULL);
    errno = saved;
}
