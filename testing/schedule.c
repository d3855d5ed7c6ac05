/* SPDX-License-Identifier: Apache-2.0 */
/* testing/schedule.c -- makes the choices of a seeded run (executor/seeded.h) in the place of the library's even draw: evenly, by priorities (PCT), or
 * from a list; and writes down what differs from a calm run.
 *
 * In a calm run nothing comes at a bad moment: the oldest ready item is next, timers fire when nothing is ready, nobody is preempted. A schedule is
 * the list of the choices that were made otherwise, each with its number. So a schedule can be made shorter by leaving something out, which only means
 * "calm here"; the numbers after it may then mean other choices, which is no harm: whether it still fails is found out by running it.
 *
 * PCT. Each task has a priority, drawn from the seed and its number; the ready one with the highest is next, and preempts the running one when that is
 * lower. At `depth` choices, drawn among the `length` that such a run has, the running task falls below all others. What is no task (timers, forked
 * children) has a new priority at each choice. A task that is chosen 64 times in a row though others are ready, or calls weft 500 times while they wait,
 * is waiting for something that only they can do (it yields, or tries again and again): it falls too, else the run would have no end.
 *
 * Threads: the seeded runtime's one worker; use, parse and the rest by the test's, while no run is under way. */
#define _GNU_SOURCE
#include "testing/schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/runtime.h"
#include "testing/testing.h"

#define FALLEN 512
#define IN_A_ROW 64
#define CALLS_IN_A_ROW 500

uint64_t __real_weft__seeded_choose(struct weft__seeded *s, enum weft__choice what, uint64_t n);
uint64_t __wrap_weft__seeded_choose(struct weft__seeded *s, enum weft__choice what, uint64_t n);

static struct weft__schedule *now;
static struct {
    size_t next; /* of the list */
    struct {
        uint64_t who, priority;
    } fallen[FALLEN];
    unsigned fallen_count;
    uint64_t lowest; /* the next one to fall comes below this */
    uint64_t last;
    unsigned in_a_row;
    uint64_t runs;
    unsigned calls; /* by the task that runs, since another did */
} state;

void weft__schedule_use(struct weft__schedule *s)
{
    now = s;
    state.next = 0;
    state.fallen_count = 0;
    state.lowest = 1u << 20;
    state.last = 0;
    state.in_a_row = 0;
    state.runs = 0;
    state.calls = 0;
    if (s != NULL) {
        s->choices = 0;
        weft__list_clear(&s->out);
    }
}

/* ---- lists --------------------------------------------------------------------------------------------------------- */

void weft__list_add(struct weft__list *list, struct weft__deviation d)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity != 0 ? 2 * list->capacity : 64;
        struct weft__deviation *items = weft__testing_alloc(capacity, sizeof *items);
        if (list->count != 0)
            memcpy(items, list->items, list->count * sizeof *items);
        free(list->items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = d;
}

void weft__list_clear(struct weft__list *list)
{
    list->count = 0;
}

char *weft__list_text(const struct weft__list *list)
{
    char *text = weft__testing_alloc(list->count * 22 + 8, 1), *at = text;
    if (list->count == 0)
        strcpy(text, "calm");
    for (size_t i = 0; i < list->count; i++)
        at += sprintf(at, "%s%u=%u", i != 0 ? "," : "", list->items[i].at, list->items[i].value);
    return text;
}

int weft__list_parse(struct weft__list *list, const char *text)
{
    weft__list_clear(list);
    if (strcmp(text, "calm") == 0)
        return 0;
    for (;;) {
        char *end;
        unsigned long at = strtoul(text, &end, 10);
        if (end == text || *end != '=')
            return -EINVAL;
        text = end + 1;
        unsigned long value = strtoul(text, &end, 10);
        if (end == text || at > UINT32_MAX || value > UINT32_MAX)
            return -EINVAL;
        weft__list_add(list, (struct weft__deviation){(uint32_t)at, (uint32_t)value});
        if (*end == '\0')
            return 0;
        if (*end != ',')
            return -EINVAL;
        text = end + 1;
    }
}

/* ---- ranks --------------------------------------------------------------------------------------------------------- */

/* A choice of the next item is told as its rank in the order of arrival; what follows the items (timers, children) keeps its number. */
static uint64_t rank_of(const struct weft__seeded *s, uint64_t index)
{
    size_t count = weft__seeded_count(s);
    if (index >= count)
        return index;
    uint64_t arrival = weft__seeded_arrival(s, index), rank = 0;
    for (size_t i = 0; i < count; i++)
        rank += weft__seeded_arrival(s, i) < arrival;
    return rank;
}

static uint64_t with_rank(const struct weft__seeded *s, uint64_t rank)
{
    size_t count = weft__seeded_count(s);
    if (rank >= count)
        return rank;
    if (rank == 0) {
        size_t oldest = 0;
        for (size_t i = 1; i < count; i++) {
            if (weft__seeded_arrival(s, i) < weft__seeded_arrival(s, oldest))
                oldest = i;
        }
        return oldest;
    }
    for (size_t i = 0; i < count; i++) {
        if (rank_of(s, i) == rank)
            return i;
    }
    return 0;
}

static uint64_t calm(enum weft__choice what)
{
    return what == WEFT__CHOOSE_INLINE || what == WEFT__CHOOSE_PREEMPT ? 1 : 0;
}

/* ---- PCT ----------------------------------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t drawn(uint64_t with)
{
    return mixed(now->seed ^ mixed(with + UINT64_C(0x5bd1e995)));
}

static uint64_t priority_of(uint64_t who)
{
    for (unsigned i = 0; i < state.fallen_count; i++) {
        if (state.fallen[i].who == who)
            return state.fallen[i].priority;
    }
    return drawn(who) | UINT64_C(1) << 40;
}

static void fall(uint64_t who)
{
    unsigned i = 0;
    while (i < state.fallen_count && state.fallen[i].who != who)
        i++;
    if (i == FALLEN)
        i = (unsigned)(now->choices % FALLEN);
    else if (i == state.fallen_count)
        state.fallen_count++;
    state.fallen[i].who = who;
    state.fallen[i].priority = state.lowest--;
}

static bool moment(void)
{
    for (unsigned i = 0; i < now->depth; i++) {
        if (drawn(UINT64_C(0xc4a96e) << 20 | i) % (now->length != 0 ? now->length : 1) == now->choices)
            return true;
    }
    return false;
}

/* The ready item with the highest priority; n: what can be chosen in all. */
static uint64_t highest(const struct weft__seeded *s, uint64_t n, uint64_t *priority)
{
    size_t count = weft__seeded_count(s);
    uint64_t best = 0;
    *priority = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t p = i < count ? priority_of(weft__seeded_who(s, i)) : drawn(now->choices << 8 | i);
        if (i == 0 || p > *priority) {
            best = i;
            *priority = p;
        }
    }
    return best;
}

static uint64_t next_by_priority(struct weft__seeded *s, uint64_t n)
{
    uint64_t priority, best = highest(s, n, &priority);
    uint64_t who = best < weft__seeded_count(s) ? weft__seeded_who(s, best) : 0;
    state.in_a_row = who == state.last && n > 1 ? state.in_a_row + 1 : 0;
    state.last = who;
    if (who != 0 && state.in_a_row > IN_A_ROW) {
        fall(who);
        state.in_a_row = 0;
        best = highest(s, n, &priority);
    }
    return best;
}

static uint64_t preempt_by_priority(struct weft__seeded *s)
{
    weft__seeded_gather(weft__worker_self());
    uint64_t priority, running = weft__seeded_running();
    size_t count = weft__seeded_count(s);
    state.calls = running == state.runs ? state.calls + 1 : 0;
    state.runs = running;
    if (moment() || (state.calls > CALLS_IN_A_ROW && count != 0)) {
        fall(running);
        state.calls = 0;
    }
    if (count == 0)
        return 1;
    (void)highest(s, count, &priority);
    return priority > priority_of(running) ? 0 : 1;
}

static uint64_t by_priority(struct weft__seeded *s, enum weft__choice what, uint64_t n)
{
    if (what == WEFT__CHOOSE_NEXT)
        return next_by_priority(s, n);
    if (what == WEFT__CHOOSE_PREEMPT)
        return preempt_by_priority(s);
    return drawn(now->choices << 8 | what) % n;
}

/* ---- all ----------------------------------------------------------------------------------------------------------- */

static uint64_t listed(const struct weft__seeded *s, enum weft__choice what, uint64_t n)
{
    uint64_t value = calm(what);
    while (state.next < now->in.count && now->in.items[state.next].at < now->choices)
        state.next++;
    if (state.next < now->in.count && now->in.items[state.next].at == now->choices)
        value = now->in.items[state.next].value % n;
    return what == WEFT__CHOOSE_NEXT ? with_rank(s, value) : value;
}

uint64_t __wrap_weft__seeded_choose(struct weft__seeded *s, enum weft__choice what, uint64_t n)
{
    if (now == NULL)
        return __real_weft__seeded_choose(s, what, n);
    uint64_t value = now->chooser == WEFT__CHOOSE_EVENLY ? __real_weft__seeded_choose(s, what, n)
                     : now->chooser == WEFT__CHOOSE_PCT  ? by_priority(s, what, n)
                                                         : listed(s, what, n);
    uint64_t told = what == WEFT__CHOOSE_NEXT ? rank_of(s, value) : value;
    /* Any other than 0 is the same for a preemption. */
    if (what == WEFT__CHOOSE_PREEMPT ? told == 0 : told != calm(what))
        weft__list_add(&now->out, (struct weft__deviation){(uint32_t)now->choices, (uint32_t)told});
    now->choices++;
    return value;
}
