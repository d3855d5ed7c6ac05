/* SPDX-License-Identifier: Apache-2.0 */
/* stress/stress.h -- what a stressor is, and what all of them share.
 *
 * A stressor is a function that does one round: something short and random on one runtime or several, all of it
 * drawn from the round's seed. The program repeats rounds, each with the seed that follows from the one before,
 * until the time is up; a round's seed given as --seed is the first round's, so a failure is replayed by its own
 * round alone.
 *
 * Invariants are told by CHECK, from any thread and from tasks. The first that does not hold is printed with the
 * state of all runtimes; the round goes on to its end if it can, and the stressor has failed. Whatever moves calls
 * stress_progress: twenty seconds without it are a hang, and a failure. */
#ifndef STRESS_STRESS_H
#define STRESS_STRESS_H

#include <stdatomic.h>
#include <weft.h>

/* ---- randomness: one generator for each task, made from the round's seed and a number ---- */

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    /* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators) */
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline struct rng rng_make(uint64_t seed, uint64_t number)
{
    struct rng r = {seed ^ (number * UINT64_C(0xd1342543de82ef95) + 1)};
    (void)rng_next(&r);
    return r;
}

/* 0 .. n - 1 */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

static inline bool rng_chance(struct rng *r, uint32_t percent)
{
    return rng_below(r, 100) < percent;
}

/* Nothing, a yield, or a short sleep; what the call said. */
int stress_pause(struct rng *r, uint32_t at_most_us);

/* ---- a round ---- */

struct round {
    uint64_t seed;
    unsigned workers;
    struct rng rng; /* of the thread that does the round */
};

struct stressor {
    const char *name;
    const char *what;
    void (*round)(struct round *r);
};

/* One runtime with the round's number of workers and otherwise random options: runs body(arg) as its main task. Checks
 * afterwards that as many tasks ended as were created. Returns what weft_run did. */
int stress_run(struct round *r, int (*body)(void *arg), void *arg);
/* The same with `base` for all that is not drawn. */
int stress_run_with(struct round *r, const weft_options *base, int (*body)(void *arg), void *arg);

/* ---- invariants ---- */

#define CHECK(condition, ...) ((condition) ? (void)0 : stress_fail(__FILE__, __LINE__, #condition, __VA_ARGS__))
void stress_fail(const char *file, int line, const char *invariant, const char *format, ...) WEFT_PRINTF(4, 5);
bool stress_failed(void);
/* n operations were done. */
void stress_progress(uint64_t n);

/* What was done, for the trace that a failure prints: its last lines. Any thread; `what` is static. */
void stress_trace(const char *what, long a, long b);

/* An allocation that cannot fail, zeroed. */
void *stress_alloc(size_t count, size_t size);

extern const struct stressor task_stressors[], wait_stressors[], join_stressors[], sync_stressors[], queue_stressors[],
    time_stressors[], thread_stressors[], runtime_stressors[], socket_stressors[], signal_stressors[],
    strand_stressors[], future_stressors[], callback_stressors[], gathering_stressors[], raid_stressors[],
    machine_stressors[], storm_stressors[], fault_stressors[], parking_stressors[];

/* ---- between main.c and support.c ---- */

/* In memory shared by the program and the child that does the rounds. */
struct account {
    _Atomic(uint64_t) operations, late_wakes, rounds, seed;
    _Atomic(uint32_t) workers, failed;
};
extern struct account *stress_account;
extern const char *stress_name;
extern unsigned stress_workers;   /* asked for; 0: random in each round */
extern double stress_seconds;     /* of the whole run, as given */
extern const char *stress_faults; /* a plan for the whole run (weft/testing.h); NULL: none */
/* Do rounds for that long, in this process. */
void stress_do(const struct stressor *s, uint64_t seed, double seconds);
/* The command that repeats the round in the account. */
enum { REPLAY = 1280 }; /* enough for one */
void stress_replay(char *buf, size_t size);

#endif
