/* SPDX-License-Identifier: Apache-2.0 */
/* executor/sight.h -- what a wait tells of itself for weft_dump_tasks (dump_tasks.c).
 *
 * A wait that has more to tell than its name has a `tell` in its weft__wait_kind. It is called while the fiber is held LOCKED (fiber.h): whatever
 * happens, the fiber does not go on before that is over, so all that a waiting task keeps alive is there: the object it waits for, its frames, the
 * handles it awaits. The object itself is others' too: its guard, or whatever protects it, is taken as ever. Nobody waits for LOCKED while holding
 * a guard, so that is safe. `tell` says one phrase ("waits for ..."), suspends not, wakes nobody. Any thread. */
#ifndef WEFT_EXECUTOR_SIGHT_H
#define WEFT_EXECUTOR_SIGHT_H

#include <weft/sync.h>

#include "executor/fiber.h"

struct weft__sight;

#define WEFT__SIGHT_NAMED 4   /* so many of the tasks that a wait is for are named */
#define WEFT__SIGHT_MOST 1000 /* so many are looked at: their lines then say who awaits them */

/* Add to the phrase. What does not fit is cut off. */
void weft__sight_say(struct weft__sight *s, const char *format, ...) WEFT_PRINTF(2, 3);
/* Name a task (it is there as long as the wait): "Task-12 (fetch)". Its own line will say who awaits it. */
void weft__sight_task(struct weft__sight *s, struct weft_task *t);
/* The i-th (from 0) of the tasks that are waited for: only the first ones are named. */
void weft__sight_one_of(struct weft__sight *s, size_t i, struct weft_task *t);
/* "sleeps 1.250 s more": until that timer fires. */
void weft__sight_sleep(struct weft__sight *s, struct weft__timer *timer);
/* The time until an instant, "1.250 s", with what stands before and after it. */
void weft__sight_time(struct weft__sight *s, const char *before, weft_ns instant, const char *after);
/* timeout.c: of the held fiber's task t, its next time limit. */
void weft__scopes_tell(struct weft__fiber *f, const struct weft_task *t, struct weft__sight *s);
/* What an object remembers of who took it, with the option debug; and " by Task-7 (session)" from that, nothing for 0. */
uint32_t weft__sight_number(const struct weft_runtime *rt, uint64_t id);
void weft__sight_owner(struct weft__sight *s, uint32_t number);
/* ", 2 others wait", of a list with its guard held. */
void weft__sight_others(struct weft__sight *s, const weft__waitlist *l);

/* ---- what dump_tasks.c and sight.c share ---- */

/* Tasks that are alike: how many of which function are at what. */
struct weft__sight_kind {
    const char *function, *how, *what;
    size_t count;
};

#define WEFT__SIGHT_PHRASE 640 /* longest, with its end */
#define WEFT__SIGHT_NONE SIZE_MAX

/* Who awaits a task. */
struct weft__sight_edge {
    uint64_t awaited, awaiter; /* ids */
};

/* A forked child that is suspended. */
struct weft__sight_child {
    uint64_t root; /* the counted task that it or its parents were forked by */
    unsigned depth;
    const void *address;
    const char *function;
    size_t text;
};

struct weft__sight {
    struct weft_runtime *rt;
    weft_ns now;
    struct weft_task *const *tasks; /* those that are told, referenced, by number */
    size_t task_count;
    char phrase[WEFT__SIGHT_PHRASE];
    size_t used;
    uint64_t teller;        /* whose phrase it is: the counted task, or the one that a child belongs to */
    const char *how, *what; /* the same in short, without names and numbers, for the summary: "waits for ", "lock" */
    bool sleeps;            /* the phrase tells the time already */
    bool failed;            /* memory was short */
    struct weft__sight_edge *edges;
    size_t edge_count, edge_capacity;
    struct weft__sight_child *children;
    size_t child_count, child_capacity;
    char *pool; /* phrases, as offsets */
    size_t pool_used, pool_capacity;
};

/* Room for `more` after `count` of `size` bytes in the array that `array` points to; false: memory, and `failed` is set. */
bool weft__sight_reserve(struct weft__sight *s, void *array, size_t *capacity, size_t count, size_t more, size_t size);
/* A new phrase, of that task (its number). And its end: its place in the pool; NONE: memory. */
void weft__sight_begin(struct weft__sight *s, uint64_t teller);
size_t weft__sight_end(struct weft__sight *s);
/* Name a task, no more. Its name, with a number if somebody gave it one: others may have the same. */
void weft__sight_name(struct weft__sight *s, struct weft_task *t);
void weft__sight_name_of(const struct weft_task *t, char *name, size_t size);
const char *weft__sight_function(const struct weft_task *t);
/* Bring n kinds of one task each together, the most frequent first: so many are left. */
size_t weft__sight_gather(struct weft__sight_kind *kinds, size_t n);

#endif
