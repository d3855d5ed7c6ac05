/* SPDX-License-Identifier: Apache-2.0 */
/* testing/explore.c -- a coroutine under one schedule after the other, until one fails; then the schedule made short.
 *
 * Shrinking is delta debugging (Zeller): leave out larger and then smaller pieces of the list of deviations, and keep what still fails in the same way
 * (a complaint stays a complaint, a result the same result). It ends when no single one can be left out, or after SHRINKS runs.
 *
 * Threads: the test's. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing/schedule.h"
#include "testing/testing.h"

#define RUNS 1000
#define SHRINKS 2000
#define LONGEST 4000 /* of a schedule that is printed */

struct search {
    const weft_explore_options *options;
    struct weft__test test;
    struct weft__schedule schedule;
    char complaint[256]; /* of the last run; "": none */
    int rc;
    unsigned shrinks;
};

/* True: it has failed. */
static bool fails(struct search *s, uint64_t number)
{
    weft_test_run run = {.size = sizeof run, .number = number, .landed = true};
    s->test.seed = s->schedule.seed;
    weft__schedule_use(&s->schedule);
    const char *complaint = weft__test_run(&s->test, &run);
    weft__schedule_use(NULL);
    s->rc = run.rc;
    if (complaint == NULL && s->options->after != NULL)
        complaint = s->options->after(s->options->user, &run);
    else if (complaint == NULL && run.rc < 0)
        complaint = weft_strerror(run.rc);
    snprintf(s->complaint, sizeof s->complaint, "%s", complaint != NULL ? complaint : "");
    return complaint != NULL;
}

static void settle(struct search *s, uint64_t seed, unsigned index, uint64_t length)
{
    unsigned strategy = s->options->strategy;
    if (strategy == WEFT_EXPLORE_BOTH)
        strategy = index % 2 == 0 ? WEFT_EXPLORE_RANDOM : WEFT_EXPLORE_PCT;
    s->schedule.seed = seed;
    s->schedule.chooser = strategy == WEFT_EXPLORE_PCT ? WEFT__CHOOSE_PCT : WEFT__CHOOSE_EVENLY;
    s->schedule.depth = s->options->depth != 0 ? s->options->depth : 1 + index / 2 % 3;
    s->schedule.length = length != 0 ? length : 64;
    const char *how = strategy == WEFT_EXPLORE_PCT ? "pct" : "random";
    snprintf(s->test.what, sizeof s->test.what, "seed %" PRIu64 " (%s)", seed, how);
    snprintf(s->test.replay, sizeof s->test.replay, "WEFT_SCHEDULE=%s:%s/%" PRIu64 "/%u/%" PRIu64, s->test.name, how,
             seed, s->schedule.depth, s->schedule.length);
}

/* "random/7/1/400", "pct/7/2/400", or a list. */
static int take_schedule(struct search *s, const char *text)
{
    struct weft__schedule *sch = &s->schedule;
    bool pct = strncmp(text, "pct/", 4) == 0, evenly = strncmp(text, "random/", 7) == 0;
    int rc, end = 0;
    snprintf(s->test.what, sizeof s->test.what, "a given schedule");
    snprintf(s->test.replay, sizeof s->test.replay, "WEFT_SCHEDULE=%s:%s", s->test.name, text);
    if (pct || evenly) {
        const char *numbers = text + (pct ? 4 : 7);
        (void)sscanf(numbers, "%" SCNu64 "/%u/%" SCNu64 "%n", &sch->seed, &sch->depth, &sch->length, &end);
        sch->chooser = pct ? WEFT__CHOOSE_PCT : WEFT__CHOOSE_EVENLY;
        rc = end != 0 && numbers[end] == '\0' ? 0 : -EINVAL;
    } else {
        sch->chooser = WEFT__CHOOSE_LISTED;
        sch->seed = 1;
        rc = weft__list_parse(&sch->in, text);
    }
    if (rc < 0)
        weft__test_say(&s->test, "%s: '%s' is no schedule: calm, CHOICE=VALUE,..., random|pct/SEED/DEPTH/LENGTH",
                       s->test.name, text);
    return rc;
}

/* A choice that the run did not come to says nothing about the program. */
static void tell_unreached(struct search *s)
{
    const struct weft__list *in = &s->schedule.in;
    for (size_t i = 0; s->schedule.chooser == WEFT__CHOOSE_LISTED && i < in->count; i++) {
        if (in->items[i].at >= s->schedule.choices) {
            weft__test_say(&s->test, "%s: choice %u of the schedule was not reached: the run had %" PRIu64,
                           s->test.name, in->items[i].at, s->schedule.choices);
            return;
        }
    }
}

/* One schedule, once. 1: it fails. */
static int replay(struct search *s, const char *text)
{
    int rc = take_schedule(s, text);
    if (rc < 0)
        return rc;
    bool failed = fails(s, 1);
    tell_unreached(s);
    weft_explored *out = s->options->found;
    if (out != NULL)
        *out = (weft_explored){.size = sizeof *out, .runs = 1, .rc = s->rc, .choices = (unsigned)s->schedule.choices};
    if (!failed)
        return 0;
    weft__test_say(&s->test, "%s fails with %s: %s", s->test.name, s->test.what, s->complaint);
    weft__test_hanging(&s->test, weft__test_lines());
    if (out != NULL) {
        size_t size = strlen(text) + 1;
        out->seed = s->schedule.chooser == WEFT__CHOOSE_LISTED ? 0 : s->schedule.seed;
        out->matter = (unsigned)s->schedule.in.count;
        out->schedule = memcpy(weft__testing_alloc(size, 1), text, size);
    }
    return 1;
}

static void copy(struct weft__list *to, const struct weft__list *from, size_t skip, size_t skipped)
{
    weft__list_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        if (i < skip || i >= skip + skipped)
            weft__list_add(to, from->items[i]);
    }
}

/* The schedule that has just failed, as a list, and as short as can be found. */
static void shrink(struct search *s)
{
    struct weft__list best = {0};
    int rc = s->rc;
    copy(&best, &s->schedule.out, 0, 0);
    s->schedule.chooser = WEFT__CHOOSE_LISTED;
    size_t piece = best.count;
    while (piece > 0 && s->options->as_found == 0) {
        bool less = false;
        for (size_t at = 0; at < best.count && s->shrinks < SHRINKS;) {
            copy(&s->schedule.in, &best, at, piece);
            s->shrinks++;
            if (fails(s, 1) && s->rc == rc) {
                copy(&best, &s->schedule.in, 0, 0);
                less = true;
            } else {
                at += piece;
            }
        }
        if (s->shrinks >= SHRINKS)
            break;
        piece = less && piece == 1 ? 1 : piece / 2;
    }
    copy(&s->schedule.in, &best, 0, 0);
    free(best.items);
}

static void tell(struct search *s, unsigned runs, uint64_t seed, unsigned choices)
{
    char found[256];
    snprintf(found, sizeof found, "%s", s->complaint);
    int rc = s->rc;
    size_t size = strlen(weft__test_lines()) + 1;
    char *lines = memcpy(weft__testing_alloc(size, 1), weft__test_lines(), size);
    shrink(s);
    char *text = weft__list_text(&s->schedule.in);
    weft__test_say(&s->test, "%s fails with %s, run %u: %s", s->test.name, s->test.what, runs, found);
    weft__test_hanging(&s->test, lines);
    free(lines);
    weft__test_say(&s->test, "%zu of %u choices matter; to run this schedule alone: WEFT_SCHEDULE=%s:%s",
                   s->schedule.in.count, choices, s->test.name,
                   strlen(text) < LONGEST ? text : strchr(s->test.replay, ':') + 1);
    weft_explored *out = s->options->found;
    if (out != NULL)
        *out = (weft_explored){.size = sizeof *out,
                               .runs = runs,
                               .seed = seed,
                               .rc = rc,
                               .choices = choices,
                               .matter = (unsigned)s->schedule.in.count,
                               .schedule = text};
    else
        free(text);
}

static int search(struct search *s)
{
    unsigned runs = s->options->runs != 0 ? s->options->runs : RUNS;
    uint64_t first = s->options->seed != 0 ? s->options->seed : 1, length = 0;
    for (unsigned i = 0; i < runs; i++) {
        settle(s, first + i, i, length);
        bool failed = fails(s, first + i);
        if (s->schedule.choices > length)
            length = s->schedule.choices;
        if (failed) {
            tell(s, i + 1, first + i, (unsigned)s->schedule.choices);
            return 1;
        }
    }
    if (s->options->found != NULL)
        s->options->found->runs = runs;
    return 0;
}

int weft_explore_(const weft_explore_options *options, const weft_frame *frame, size_t frame_size)
{
    static const weft_explore_options defaults = {.size = sizeof defaults};
    const weft_explore_options *o = options != NULL ? options : &defaults;
    if (o->size != sizeof *o || o->strategy > WEFT_EXPLORE_PCT)
        return -EINVAL;
    if (o->found != NULL)
        *o->found = (weft_explored){.size = sizeof *o->found};
    struct weft__framed framed = {frame, frame_size};
    struct search *s = weft__testing_alloc(1, sizeof *s);
    *s = (struct search){.options = o};
    s->test = (struct weft__test){.name = frame->coro->name,
                                  .program = weft__run_framed,
                                  .argument = &framed,
                                  .workers = 1,
                                  .seeded = true,
                                  .keeps_memory = true,
                                  .before = o->before,
                                  .after = o->after,
                                  .user = o->user,
                                  .report = o->report};
    const char *given = o->schedule, *asked = getenv("WEFT_SCHEDULE");
    size_t n = strlen(s->test.name);
    if (asked != NULL && strncmp(asked, s->test.name, n) == 0 && asked[n] == ':')
        given = asked + n + 1;
    else if (asked != NULL)
        weft__test_say(&s->test, "%s: WEFT_SCHEDULE=%s is about another", s->test.name, asked);
    weft__tests_begin();
    int rc = given != NULL ? replay(s, given) : search(s);
    weft__tests_end();
    free(s->schedule.in.items);
    free(s->schedule.out.items);
    free(s);
    return rc;
}
