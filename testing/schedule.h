/* SPDX-License-Identifier: Apache-2.0 */
/* testing/schedule.h -- see schedule.c: who makes the choices of an explored run, and the list of those that were made. */
#ifndef WEFT_TESTING_SCHEDULE_H
#define WEFT_TESTING_SCHEDULE_H

#include <stdint.h>

#include <weft/base.h>

enum weft__chooser {
    WEFT__CHOOSE_AS_EVER, /* not under test */
    WEFT__CHOOSE_EVENLY,
    WEFT__CHOOSE_PCT,
    WEFT__CHOOSE_LISTED, /* calm, but for what is in the list */
};

/* The choice number `at` was not the calm one but `value` (of WEFT__CHOOSE_NEXT: the rank in the order in which things became ready). */
struct weft__deviation {
    uint32_t at, value;
};

struct weft__list {
    size_t count, capacity;
    struct weft__deviation *items;
};

struct weft__schedule {
    enum weft__chooser chooser;
    uint64_t seed;        /* PCT */
    unsigned depth;       /* PCT: moments at which the running task falls to the end */
    uint64_t length;      /* PCT: the choices of a run, about */
    struct weft__list in; /* LISTED */
    /* filled in by the run */
    struct weft__list out;
    uint64_t choices;
};

/* The next seeded run is made by this one; NULL: as ever. The test's thread, while no run is under way. */
void weft__schedule_use(struct weft__schedule *s);
void weft__list_add(struct weft__list *list, struct weft__deviation d);
void weft__list_clear(struct weft__list *list);
/* "12=3,40=0"; "calm" when it is empty. To be freed. */
char *weft__list_text(const struct weft__list *list);
/* -EINVAL */
int weft__list_parse(struct weft__list *list, const char *text);

#endif
