/* SPDX-License-Identifier: Apache-2.0 */
/* testing/sweep.c -- a program run once for each of its suspensions, cancelled there, and once for each call that can fail, failing there.
 *
 * Every suspension of every task goes through weft__fiber_switch_away (weft__parked_leave, if it parks), whatever it waits for; --wrap brings it here. Suspensions are counted over all
 * tasks of the program (not the runtime's root task, and none that left itself out). At the k-th the victim is cancelled: just before the switch (the
 * wait is announced, the task not asleep), or just after it, on the next context (it is asleep). With one worker and the virtual clock a program
 * suspends in the same order each time, so k = 1, 2, ... up to the number that an undisturbed run counts are all its waits, each exactly once;
 * that is checked. With several the order may differ from run to run: then k goes on until a run ends without a k-th suspension.
 *
 * At most one cancellation is made in a run, so `shot` has one writer, and who reads it comes after the switch. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executor/fiber.h"
#include "testing/testing.h"

#define LEFT_OUT 16
#define MOST_RUNS 3000
#define REPEATS 30 /* of a run with several workers, until it goes wrong again */

enum landing { LAND_ARMED, LAND_PARKED, LANDINGS };

static struct {
    uint64_t k; /* 0: undisturbed */
    enum landing landing;
    unsigned victim;
    _Atomic(uint64_t) suspensions;
    _Atomic(bool) under_way; /* a sweep is */
    _Atomic(bool) landed, counting;
    _Atomic(weft_task *) main_task, left_out[LEFT_OUT];
} aim;

void weft_sweep_leave_out(void)
{
    weft_task *self = weft_current_task();
    if (!atomic_load(&aim.under_way)) /* nobody would empty the places again */
        return;
    for (size_t i = 0; i < LEFT_OUT; i++) {
        weft_task *there = NULL;
        if (atomic_compare_exchange_strong(&aim.left_out[i], &there, self) || there == self)
            return;
    }
    weft_expect_failed(__FILE__, __LINE__, "at most 16 tasks leave themselves out");
}

/* ---- the landing --------------------------------------------------------------------------------------------------- */

typedef void after_switch(struct weft__worker *w, void *argument);
void __real_weft__fiber_switch_away(struct weft__fiber *f, after_switch *after, void *argument);
void __wrap_weft__fiber_switch_away(struct weft__fiber *f, after_switch *after, void *argument);

static struct shot {
    after_switch *after;
    void *argument;
    weft_task *victim;
} shot;

static bool is_the_programs(weft_task *t)
{
    if (t == NULL || (weft__load_relaxed(&t->flags) & WEFT__TASK_HIDDEN))
        return false;
    for (size_t i = 0; i < LEFT_OUT; i++) {
        if (atomic_load(&aim.left_out[i]) == t)
            return false;
    }
    return true;
}

/* What is told of the landing, for the report. Small stacks: nothing is formatted here. */
static struct {
    uint64_t id;
    const char *function, *wait;
    char name[40];
} landed;

static void note_landing(const weft_task *self, const char *wait)
{
    struct weft__task_extra *x = weft__task_has_extra(self);
    const char *name = x != NULL ? weft__load_acquire(&x->name) : NULL; /* pairs: TASK-NAME */
    size_t n = name != NULL ? strnlen(name, sizeof landed.name - 1) : 0;
    if (n != 0)
        memcpy(landed.name, name, n);
    landed.name[n] = '\0';
    landed.id = self->id;
    landed.function = self->frame->coro->name;
    landed.wait = wait;
}

/* Is this suspension the k-th? Then whom to cancel, with a handle. */
static weft_task *victim_of(weft_task *self)
{
    if (!atomic_load_explicit(&aim.counting, memory_order_relaxed))
        return NULL;
    if (!is_the_programs(self) || atomic_fetch_add(&aim.suspensions, 1) + 1 != aim.k)
        return NULL;
    atomic_store(&aim.landed, true);
    return weft_ref(aim.victim == WEFT_VICTIM_MAIN ? atomic_load(&aim.main_task) : self);
}

/* On the next context: first what was to be done there, then the task sleeps, then it is cancelled. */
static void cancel_parked(struct weft__worker *w, void *argument)
{
    struct shot s = *(struct shot *)argument;
    if (s.after != NULL)
        s.after(w, s.argument);
    weft_cancel(s.victim);
    weft_release(s.victim);
}

void __wrap_weft__fiber_switch_away(struct weft__fiber *f, after_switch *after, void *argument)
{
    weft_task *victim = victim_of(weft_current_task());
    const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: its own */
    if (victim != NULL)
        note_landing(weft_current_task(), kind != NULL ? kind->name : "yield");
    if (victim == NULL) {
        __real_weft__fiber_switch_away(f, after, argument);
    } else if (aim.landing == LAND_ARMED) {
        weft_cancel(victim);
        weft_release(victim);
        __real_weft__fiber_switch_away(f, after, argument);
    } else {
        shot = (struct shot){after, argument, victim};
        __real_weft__fiber_switch_away(f, cancel_parked, &shot);
    }
}

/* A task parks: it has left its fiber already, so its handle is taken before others can have it. */
void __real_weft__parked_leave(struct weft__fiber *f, struct weft_task *t);
void __wrap_weft__parked_leave(struct weft__fiber *f, struct weft_task *t);

void __wrap_weft__parked_leave(struct weft__fiber *f, struct weft_task *t)
{
    weft_task *victim = victim_of(t);
    if (victim != NULL)
        note_landing(t, "parked");
    if (victim != NULL && aim.landing == LAND_ARMED)
        weft_cancel(victim);
    __real_weft__parked_leave(f, t);
    if (victim != NULL && aim.landing == LAND_PARKED)
        weft_cancel(victim);
    weft_release(victim);
}

static void main_begins(weft_task *main_task)
{
    atomic_store(&aim.main_task, main_task);
    atomic_store(&aim.counting, true);
}

/* ---- one run ------------------------------------------------------------------------------------------------------- */

struct sweep {
    const weft_sweep *options;
    struct weft__test test;
    bool cancels; /* else faults */
    unsigned most;
    const char *where; /* a call's name, to be run in place of a number; NULL: none */
    long runs;
    int undisturbed; /* how that run ended */
};

static bool right(const struct sweep *s, const weft_test_run *run)
{
    if (run->rc == s->undisturbed)
        return true;
    return run->number != 0 && (s->cancels ? run->rc == -ECANCELED : run->rc < 0);
}

/* Who was cancelled, and in which wait. */
static void tell_landing(struct sweep *s)
{
    char who[96];
    if (landed.name[0] != '\0')
        snprintf(who, sizeof who, "%s#%" PRIu64 " (%s)", landed.name, landed.id, landed.function);
    else
        snprintf(who, sizeof who, "Task-%" PRIu64 " (%s)", landed.id, landed.function);
    if (aim.victim == WEFT_VICTIM_MAIN)
        weft__test_say(&s->test, "    cancelled: the main task, at the wait \"%s\" of %s", landed.wait, who);
    else
        weft__test_say(&s->test, "    cancelled: %s, at its wait \"%s\"", who, landed.wait);
}

/* True: as it should be. */
static bool judged(struct sweep *s, weft_test_run *run, const char *complaint)
{
    char text[200];
    if (complaint == NULL && s->options->after != NULL)
        complaint = s->options->after(s->options->user, run);
    else if (complaint == NULL && s->test.deadlocked && run->rc == -EDEADLK) {
        complaint = "nobody could go on (-EDEADLK)";
    } else if (complaint == NULL && !right(s, run)) {
        snprintf(text, sizeof text, "ended with %d (%s), undisturbed with %d", run->rc, weft_strerror(run->rc),
                 s->undisturbed);
        complaint = text;
    }
    if (complaint == NULL)
        return true;
    weft__test_say(&s->test, "%s, %s: %s", s->test.name, s->test.what, complaint);
    if (s->cancels && run->landed)
        tell_landing(s);
    weft__test_hanging(&s->test, weft__test_lines());
    char replay[sizeof s->test.replay];
    weft__test_replay(&s->test, replay, sizeof replay);
    weft__test_say(&s->test, "to run this one alone: %s", replay);
    return false;
}

static const char *one_cancel(struct sweep *s, uint64_t k, weft_test_run *run)
{
    aim.k = k;
    atomic_store(&aim.suspensions, 0);
    atomic_store(&aim.landed, false);
    atomic_store(&aim.counting, false);
    s->test.main_begins = main_begins;
    snprintf(s->test.what, sizeof s->test.what, "%u workers, wait %" PRIu64 ", %s, %s cancelled", s->test.workers, k,
             aim.landing == LAND_ARMED ? "before the switch" : "asleep",
             aim.victim == WEFT_VICTIM_MAIN ? "the main task" : "the task itself");
    if (k == 0)
        snprintf(s->test.what, sizeof s->test.what, "%u workers, undisturbed", s->test.workers);
    snprintf(s->test.replay, sizeof s->test.replay, "WEFT_SWEEP=%s:cancel:%u:%u:%d:%" PRIu64, s->test.name,
             s->test.workers, aim.victim, aim.landing, k);
    const char *complaint = weft__test_run(&s->test, run);
    atomic_store(&aim.counting, false);
    run->landed = atomic_load(&aim.landed);
    return complaint;
}

static const char *one_fault(struct sweep *s, uint64_t k, weft_test_run *run)
{
    const weft_sweep *o = s->options;
    char call[128];
    snprintf(call, sizeof call, "call %" PRIu64, k);
    if (s->where != NULL)
        snprintf(call, sizeof call, "%s", s->where);
    snprintf(s->test.what, sizeof s->test.what, "%u workers, %s fails", s->test.workers, call);
    if (k == 0)
        snprintf(s->test.what, sizeof s->test.what, "%u workers, undisturbed", s->test.workers);
    snprintf(s->test.replay, sizeof s->test.replay, "WEFT_SWEEP=%s:fault:%u:0:0:%s", s->test.name, s->test.workers,
             s->where != NULL ? s->where : call + strlen("call "));
    s->test.faulty = k != 0;
    (void)weft__faults_aim(k, k != 0 ? s->where : NULL, o->calls, o->faults, o->persistent != 0);
    const char *complaint = weft__test_run(&s->test, run), *name;
    int error;
    atomic_store(&aim.suspensions, weft__faults_aimed(&name, &error));
    run->landed = name != NULL;
    if (name != NULL)
        snprintf(s->test.what, sizeof s->test.what, "%u workers, %s fails: %s, %s", s->test.workers, call, name,
                 error == WEFT__SHORT ? "fewer bytes" : strerrorname_np(error));
    return complaint;
}

/* < 0: it is wrong, and reported. Else 1 if it was hit. */
static int one(struct sweep *s, uint64_t k)
{
    weft_test_run run = {.size = sizeof run, .number = k, .undisturbed = s->undisturbed};
    for (size_t i = 0; i < LEFT_OUT; i++)
        atomic_store(&aim.left_out[i], NULL);
    const char *complaint = s->cancels ? one_cancel(s, k, &run) : one_fault(s, k, &run);
    if (k == 0)
        s->undisturbed = run.undisturbed = run.rc;
    return judged(s, &run, complaint) ? run.landed : -EPROTO;
}

/* k = 1, 2, ... until it is not reached. The number of hits. */
static long all_of(struct sweep *s)
{
    for (uint64_t k = 1; k <= s->most; k++) {
        int hit = one(s, k);
        if (hit < 0)
            return hit;
        if (hit == 0)
            return (long)k - 1;
        s->runs++;
    }
    weft__test_say(&s->test, "%s: more than %u %s", s->test.name, s->most, s->cancels ? "waits" : "calls");
    return -EPROTO;
}

static int with_workers(struct sweep *s)
{
    int rc = one(s, 0);
    uint64_t all = atomic_load(&aim.suspensions);
    unsigned least = s->options->least != 0 ? s->options->least : 1;
    if (rc < 0)
        return rc;
    if (all < least && (!s->cancels || s->test.workers == 1)) { /* others may be so quick that nobody has to wait */
        weft__test_say(&s->test,
                       "%s: only %" PRIu64
                       " %s seen: it had no more with one worker, or not everything is linked with libweft_testing",
                       s->test.name, all, s->cancels ? "waits" : "calls that could fail");
        return -EPROTO;
    }
    unsigned victims = s->options->victims != 0 ? s->options->victims : WEFT_VICTIM_SELF | WEFT_VICTIM_MAIN;
    for (unsigned v = WEFT_VICTIM_SELF; v <= WEFT_VICTIM_MAIN; v *= 2) {
        for (int landing = 0; landing < (s->cancels ? LANDINGS : 1); landing++) {
            aim.victim = v;
            aim.landing = (enum landing)landing;
            if (s->cancels ? (victims & v) == 0 : v != WEFT_VICTIM_SELF)
                continue;
            long swept = all_of(s);
            if (swept < 0)
                return (int)swept;
            if (s->cancels && s->test.workers == 1 && !s->options->real_clock && (uint64_t)swept != all) {
                weft__test_say(&s->test,
                               "%s: %ld landings, %" PRIu64 " waits, with one worker: does it depend on time?",
                               s->test.name, swept, all);
                return -EPROTO;
            }
        }
    }
    return 0;
}

/* NAME:KIND:WORKERS:VICTIM:LANDING:K, or for faults CALL@FUNCTION#N in the place of K. False: that it is not. `rest` begins at KIND. */
static bool parse_run(struct sweep *s, const char *rest, bool *cancel, uint64_t *k)
{
    unsigned workers, victim, landing;
    char *end;
    int at = 0;
    *cancel = strncmp(rest, "cancel:", 7) == 0;
    if (!*cancel && strncmp(rest, "fault:", 6) != 0)
        return false;
    rest += *cancel ? 7 : 6;
    if (sscanf(rest, "%u:%u:%u:%n", &workers, &victim, &landing, &at) != 3 || at == 0 || workers == 0 ||
        workers > WEFT_MAX_WORKERS || victim > WEFT_VICTIM_MAIN || landing >= LANDINGS)
        return false;
    rest += at;
    *k = strtoull(rest, &end, 10);
    s->where = NULL;
    if (!*cancel && strchr(rest, '@') != NULL) {
        const char *none;
        int error;
        s->where = rest;
        *k = 1;
        if (weft__faults_aim(0, rest, NULL, NULL, false) < 0)
            return false;
        (void)weft__faults_aimed(&none, &error);
    } else if (end == rest || *end != '\0') {
        return false;
    }
    s->test.workers = workers;
    aim.victim = victim;
    aim.landing = (enum landing)landing;
    return true;
}

/* The environment's run, if it is about this sweep. False: it is not there, or about another, which is told: all is run. What workers
 * do at the same time they do in another order each time: so then a run that goes well is made again. */
static bool replayed(struct sweep *s, long *rc)
{
    const char *text = getenv("WEFT_SWEEP");
    size_t n = strlen(s->test.name);
    if (text == NULL)
        return false;
    if (strncmp(text, s->test.name, n) != 0 || text[n] != ':') {
        weft__test_say(&s->test, "%s: all of it is run: WEFT_SWEEP=%s is about another", s->test.name, text);
        return false;
    }
    bool cancel;
    uint64_t k;
    if (!parse_run(s, text + n + 1, &cancel, &k)) {
        weft__test_say(&s->test,
                       "%s: WEFT_SWEEP=%s is no run of it: %s:cancel|fault:WORKERS:VICTIM:LANDING:NUMBER, or "
                       "CALL@FUNCTION#NUMBER in the place of a fault's NUMBER",
                       s->test.name, text, s->test.name);
        *rc = -EINVAL;
        return true;
    }
    *rc = 0;
    if (cancel != s->cancels)
        return true;
    int one_rc = one(s, 0); /* what is made once and kept is made in the first run */
    s->test.keeps_memory = s->options->keeps_memory != 0;
    one_rc = one_rc < 0 ? one_rc : one(s, 0);
    unsigned well = 0;
    for (unsigned i = 0; one_rc >= 0 && i < (s->test.workers == 1 ? 1 : REPEATS); i++) {
        one_rc = one(s, k);
        well += one_rc > 0 || (one_rc == 0 && k == 0);
    }
    if (one_rc >= 0 && well == 0)
        weft__test_say(&s->test, "%s: %s %s of WEFT_SWEEP=%s was not reached", s->test.name, cancel ? "wait" : "call",
                       strrchr(text, ':') + 1, text);
    else if (one_rc >= 0)
        weft__test_say(&s->test, "%s: WEFT_SWEEP=%s went well %u time%s", s->test.name, text, well,
                       well == 1 ? "" : "s");
    *rc = one_rc < 0 ? one_rc : 1;
    return true;
}

static int names_are_known(struct sweep *s)
{
    const weft_sweep *o = s->options;
    const char *none;
    int error, rc = weft__faults_aim(0, NULL, o->calls, NULL, false);
    const char *field = rc == 0 ? ".faults" : ".calls";
    if (rc == 0) {
        (void)weft__faults_aimed(&none, &error);
        rc = weft__faults_aim(0, NULL, NULL, o->faults, false);
    }
    if (rc == 0)
        (void)weft__faults_aimed(&none, &error);
    if (rc == -EINVAL)
        weft__test_say(&s->test, "%s: '%s' in the option %s is no name (weft/testing.h has them all)", s->test.name,
                       weft__faults_unknown, field);
    return rc;
}

static long sweep(const weft_sweep *options, const char *name, weft__program *program, void *argument, bool cancels)
{
    static const weft_sweep defaults = {.size = sizeof defaults};
    static const unsigned usual[] = {1, 2, 8};
    const weft_sweep *o = options != NULL ? options : &defaults;
    if (o->size != sizeof *o || o->workers > WEFT_MAX_WORKERS || o->victims > (WEFT_VICTIM_SELF | WEFT_VICTIM_MAIN))
        return -EINVAL;
    struct sweep *s = weft__testing_alloc(1, sizeof *s);
    *s = (struct sweep){.options = o, .cancels = cancels, .most = o->most != 0 ? o->most : MOST_RUNS};
    s->test = (struct weft__test){.name = name,
                                  .program = program,
                                  .argument = argument,
                                  .real_clock = o->real_clock != 0,
                                  .keeps_memory = true,
                                  .before = o->before,
                                  .after = o->after,
                                  .user = o->user,
                                  .report = o->report};
    long result = names_are_known(s);
    if (result < 0) {
        free(s);
        return result;
    }
    weft__tests_begin();
    atomic_store(&aim.under_way, true);
    if (!replayed(s, &result)) {
        for (size_t i = 0; i < (o->workers != 0 ? 1 : sizeof usual / sizeof usual[0]) && result == 0; i++) {
            s->test.workers = o->workers != 0 ? o->workers : usual[i];
            s->test.keeps_memory = true; /* what is made once and kept is made in the first run */
            result = one(s, 0) < 0 ? -EPROTO : 0;
            s->test.keeps_memory = o->keeps_memory != 0;
            result = result == 0 ? with_workers(s) : result;
        }
        result = result == 0 ? s->runs : result;
    }
    atomic_store(&aim.under_way, false);
    weft__tests_end();
    free(s);
    return result;
}

struct plain {
    void (*program)(void);
};

static void run_plain(void *argument)
{
    ((struct plain *)argument)->program();
}

long weft_sweep_cancel_(const weft_sweep *options, const weft_frame *frame, size_t frame_size)
{
    struct weft__framed f = {frame, frame_size};
    return sweep(options, frame->coro->name, weft__run_framed, &f, true);
}

long weft_sweep_faults_(const weft_sweep *options, const weft_frame *frame, size_t frame_size)
{
    struct weft__framed f = {frame, frame_size};
    return sweep(options, frame->coro->name, weft__run_framed, &f, false);
}

long weft_sweep_cancel_program(const weft_sweep *options, const char *name, void (*program)(void))
{
    struct plain p = {program};
    return sweep(options, name, run_plain, &p, true);
}

long weft_sweep_faults_program(const weft_sweep *options, const char *name, void (*program)(void))
{
    struct plain p = {program};
    return sweep(options, name, run_plain, &p, false);
}
