/* SPDX-License-Identifier: Apache-2.0 */
/* executor/parker.c -- one thread sleeps, others wake it: ck_ec's event count over a private futex.
 *
 * The count is a 31-bit number and a flag, "somebody sleeps on it". wait sets the flag by CAS and asks the kernel to
 * sleep while the word is unchanged; post adds one and calls the kernel only when it found the flag. All of it happens
 * on one word, so it has one order: a post comes before the CAS, which then fails, or after it, and then sees the flag.
 *
 * Invariants
 *   1 A post that comes after the ticket was taken makes the wait for that ticket return (but for exactly 2^31 posts
 *     between ticket and wait).
 *   2 Nobody waits, no system call: post clears the flag before it wakes, and a wait that timed out clears it too. (A
 *     post that comes between the timeout and that moment wakes nobody, once.)
 *   3 A sleeping thread sleeps: no wake-ups but a post, the deadline and signals (built for thread sanitizer: see takes_signals).
 *
 * Threads: ticket and wait by the owner, post by anyone. A post may still touch the count when the owner has already
 * seen it: the parker's memory must outlive every post, not only the wait.
 *
 * What had to be bent in ck_ec. Its slow path spins 100 times and then sleeps in growing portions (2 ms, 16 ms, 128
 * ms), a safety net for its single-producer mode, where a plain increment can wipe out the flag. In multi-producer
 * mode, the only one here, increments are atomic and the net is not needed: the spin is set to its least (one pause),
 * and our wait operation sleeps to the caller's deadline, not to the portion's (ck hands us the caller's through
 * `data`). And ck says "changed" when only the flag did: a poster that was held up between its increment and its
 * clearing of the flag may clear it in the owner's next wait. So wait looks at the number itself, and waits again.
 *
 * Thread sanitizer does not see ck's inline assembly: the annotations tell it what post orders before wait. */
#include "executor/parker.h"

#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if WEFT__TSAN
#include <sanitizer/tsan_interface.h>
#define PARKER_SLICE 20000000 /* ns */
#define PARKER_ACQUIRE(p) __tsan_acquire((void *)(uintptr_t) & (p)->count)
#define PARKER_RELEASE(p) __tsan_release(&(p)->count)
#else
#define PARKER_ACQUIRE(p) ((void)0)
#define PARKER_RELEASE(p) ((void)0)
#endif

#define PARKER_FLAG (UINT32_C(1) << 31)

static int parker_gettime(const struct ck_ec_ops *ops, struct timespec *out)
{
    (void)ops;
    return clock_gettime(CLOCK_MONOTONIC, out);
}

#if WEFT__TSAN
/* Thread sanitizer puts signals off until their thread is in a call that it knows, and the futex is none: a thread that takes signals comes to such a
 * call now and then. Workers block them all, and sleep on. */
static bool takes_signals(void)
{
    sigset_t blocked;
    return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && !sigismember(&blocked, SIGTERM);
}
static const struct timespec *at_most_a_slice(const struct timespec *deadline, struct timespec *slice)
{
    clock_gettime(CLOCK_MONOTONIC, slice);
    slice->tv_nsec += PARKER_SLICE;
    slice->tv_sec += slice->tv_nsec / 1000000000;
    slice->tv_nsec %= 1000000000;
    bool earlier = deadline == NULL || slice->tv_sec < deadline->tv_sec ||
                   (slice->tv_sec == deadline->tv_sec && slice->tv_nsec < deadline->tv_nsec);
    return earlier ? slice : deadline;
}
#endif

/* May return early for any reason (a changed word, a signal): ck looks again. `portion`: see the head. */
static void parker_sleep(const struct ck_ec_wait_state *state, const uint32_t *word, uint32_t expected,
                         const struct timespec *portion)
{
    (void)portion;
    const struct timespec *deadline = state->data; /* NULL: none */
#if WEFT__TSAN
    struct timespec slice;
    bool takes = takes_signals();
    if (takes)
        deadline = at_most_a_slice(deadline, &slice);
#endif
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
#if WEFT__TSAN
    if (takes)
        (void)usleep(0);
#endif
}

static void parker_wake(const struct ck_ec_ops *ops, const uint32_t *word)
{
    (void)ops;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static const struct ck_ec_ops parker_ops = {
    .gettime = parker_gettime,
    .wait32 = parker_sleep,
    .wake32 = parker_wake,
    .busy_loop_iter = 1, /* 0 would mean 100 */
};
static const struct ck_ec_mode parker_mode = {.ops = &parker_ops, .single_producer = false};

void weft__parker_init(struct weft__parker *p)
{
    ck_ec32_init(&p->count, 0);
}

uint32_t weft__parker_ticket(const struct weft__parker *p)
{
    uint32_t ticket = ck_ec32_value(&p->count);
    PARKER_ACQUIRE(p);
    return ticket;
}

bool weft__parker_wait(struct weft__parker *p, uint32_t ticket, weft_ns deadline)
{
    /* An instant before the clock's start is as good as zero, for ck "only look". */
    weft_ns instant = deadline > 0 ? deadline : 0;
    struct timespec until = {.tv_sec = instant / 1000000000, .tv_nsec = instant % 1000000000};
    struct timespec *limit = deadline == WEFT_FOREVER ? NULL : &until;
    bool posted = false, expired = false;
    while (!posted && !expired) {
        expired = ck_ec32_wait_pred(&p->count, &parker_mode, ticket, NULL, limit, limit) != 0;
        posted = ck_ec32_value(&p->count) != ticket; /* ck's "changed" may be the flag alone: see the head */
    }
    /* The flag is left from the sleep. Only the owner sets it, so it may clear it: invariant 2. */
    if (!posted && ck_ec32_has_waiters(&p->count))
        ck_pr_and_32(&p->count.counter, ~PARKER_FLAG);
    PARKER_ACQUIRE(p);
    return posted;
}

void weft__parker_post(struct weft__parker *p)
{
    PARKER_RELEASE(p);
    ck_ec32_inc(&p->count, &parker_mode);
}
