/* SPDX-License-Identifier: Apache-2.0 */
/* tests/cancel_everywhere/harness.c -- see harness.h.
 *
 * One run at a time, so its state is static: `run` is written by the main thread while no runtime exists; the counters in it
 * are atomic. At most one cancellation is made in a run, so `shot` has one writer, and who reads it comes after the switch. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/thread.h>

#include "executor/runtime.h"

#define HANG_SECONDS 60
#define MOST_RUNS 3000 /* of one program in one setting */
#define LEFT_OUT 4

static struct {
    const char *program;
    unsigned workers, k; /* k 0: undisturbed */
    enum landing landing;
    enum victim victim;
    atomic_uint suspensions;
    atomic_bool landed, counting;
    _Atomic(weft_task *) main_task, left_out[LEFT_OUT];
    _Atomic(const char *) complaint;
    atomic_bool reported;
    char report[200];
    int rc;
    bool ran;
    weft_runtime *rt, *ended;
} run;

void harness_complain(const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&run.complaint, &none, what);
}

bool harness_undisturbed(void)
{
    return run.k == 0;
}

void harness_leave_out(void)
{
    weft_task *self = weft_current_task();
    for (size_t i = 0; i < LEFT_OUT; i++) {
        weft_task *none = NULL;
        if (atomic_compare_exchange_strong(&run.left_out[i], &none, self))
            return;
    }
    harness_complain("the harness has no room for one more task of the test");
}

/* ---- the landing ------------------------------------------------------------------------------------------------- */

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
    if (t == NULL || (weft__load_relaxed(&t->flags) & WEFT__TASK_HIDDEN)) /* relaxed: set before the task was queued */
        return false;
    for (size_t i = 0; i < LEFT_OUT; i++) {
        if (atomic_load(&run.left_out[i]) == t)
            return false;
    }
    return true;
}

/* Is this suspension, of self, the k-th? Then whom to cancel, with a handle. */
static weft_task *victim_of(weft_task *self)
{
    if (!atomic_load(&run.counting))
        return NULL;
    if (!is_the_programs(self) || atomic_fetch_add(&run.suspensions, 1) + 1 != run.k)
        return NULL;
    atomic_store(&run.landed, true);
    return weft_ref(run.victim == VICTIM_MAIN ? atomic_load(&run.main_task) : self);
}

/* On the next context: first what was to be done there, then the task sleeps, then it is cancelled. */
static void cancel_parked(struct weft__worker *w, void *argument)
{
    struct shot s = *(struct shot *)argument;
    s.after(w, s.argument);
    weft_cancel(s.victim);
    weft_release(s.victim);
}

void __wrap_weft__fiber_switch_away(struct weft__fiber *f, after_switch *after, void *argument)
{
    weft_task *victim = victim_of(weft_current_task());
    if (victim == NULL) {
        __real_weft__fiber_switch_away(f, after, argument);
    } else if (run.landing == LAND_ARMED) {
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
    if (victim != NULL && run.landing == LAND_ARMED)
        weft_cancel(victim);
    __real_weft__parked_leave(f, t);
    if (victim != NULL && run.landing == LAND_PARKED)
        weft_cancel(victim);
    weft_release(victim);
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

struct observed {
    WEFT_FRAME;
    weft_frame *frame;
};
static int observed(struct observed *o)
{
    run.rt = weft_runtime_current();
    atomic_store(&run.main_task, weft_ref(weft_current_task()));
    atomic_store(&run.counting, true);
    return o->frame->coro->entry(o->frame); /* a plain call: the program's main coroutine is in this task */
}
WEFT_CORO(observed);

static void at_end(void *user, weft_runtime *rt)
{
    weft_metrics m = {.size = sizeof m};
    (void)user;
    run.rt = NULL;
    if (weft_metrics_read(rt, -1, &m) != 0)
        harness_complain("the account cannot be read");
    if (m.tasks_created != m.tasks_finished)
        harness_complain("a task was left at the end");
    if (m.stacks_live != 0)
        harness_complain("a stack was left in use at the end");
    run.ended = weft_runtime_hold(rt);
}

static void report(void *user, const char *line)
{
    (void)user;
    if (strstr(line, " could not be pinned") == NULL && !atomic_exchange(&run.reported, true))
        snprintf(run.report, sizeof run.report, "%s", line);
}

int harness_run(weft_frame *frame)
{
    run.ended = NULL;
    run.rc = weft_run_with(WEFT_OPTIONS(.workers = run.workers, .pin = WEFT_PIN_NONE, .clock = WEFT_CLOCK_VIRTUAL,
                                        .seed = 1, .report = report, .at_end = at_end),
                           observed, .frame = frame);
    run.ran = true;
    if (run.ended == NULL) {
        harness_complain("the runtime did not start");
        return run.rc;
    }
    if (run.ended->handles != 1) /* that of the main task, which we hold */
        harness_complain("a handle was not released");
    weft_runtime_drop(run.ended);
    weft_release(atomic_exchange(&run.main_task, NULL));
    return run.rc;
}

/* ---- all runs ---------------------------------------------------------------------------------------------------- */

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void describe(char *text, size_t size)
{
    snprintf(text, size, "%s, %u workers, suspension %u, %s, %s cancelled", run.program, run.workers, run.k,
             run.landing == LAND_ARMED ? "before the switch" : "asleep",
             run.victim == VICTIM_MAIN ? "the main task" : "the task itself");
}

/* The main thread sleeps in weft_run, so nothing it was in the middle of can be hurt by what is called here. */
static void on_alarm(int signo)
{
    char text[256];
    (void)signo;
    describe(text, sizeof text);
    dprintf(STDERR_FILENO, "hangs: %s\n", text);
    if (run.rt != NULL)
        weft_dump_tasks(run.rt, STDERR_FILENO);
    abort();
}

static void one_run(harness_program *program, unsigned k)
{
    int before = open_descriptors();
    run.k = k;
    atomic_store(&run.suspensions, 0);
    atomic_store(&run.landed, false);
    atomic_store(&run.counting, false);
    atomic_store(&run.complaint, NULL);
    atomic_store(&run.reported, false);
    for (size_t i = 0; i < LEFT_OUT; i++)
        atomic_store(&run.left_out[i], NULL);
    run.ran = false;
    alarm(HANG_SECONDS);
    program();
    alarm(0);
    if (!run.ran)
        harness_complain("the program did not run");
    if (open_descriptors() != before)
        harness_complain("a descriptor was left open");
    if (atomic_load(&run.reported))
        harness_complain(run.report);
    if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0)
        harness_complain("memory was leaked");
}

static void check_outcome(int own)
{
    char text[256];
    describe(text, sizeof text);
    const char *complaint = atomic_load(&run.complaint);
    if (complaint != NULL)
        fail_msg("%s: %s", text, complaint);
    if (run.rc != own && !(run.k != 0 && run.rc == -ECANCELED))
        fail_msg("%s: ended with %d (%s), undisturbed with %d", text, run.rc, weft_strerror(run.rc), own);
}

/* How many suspensions an undisturbed run has; *own: how it ends. */
static unsigned undisturbed(harness_program *program, int *own)
{
    one_run(program, 0);
    *own = run.rc;
    check_outcome(run.rc);
    return atomic_load(&run.suspensions);
}

/* k = 1, 2, ... until it is not reached. Returns the number of landings. */
static unsigned sweep(harness_program *program, int own)
{
    for (unsigned k = 1; k < MOST_RUNS; k++) {
        one_run(program, k);
        check_outcome(own);
        if (!atomic_load(&run.landed))
            return k - 1;
    }
    fail_msg("%s: more than %d suspensions", run.program, MOST_RUNS);
    return 0;
}

void harness_everywhere(const char *name, harness_program *program, const enum victim *victims, size_t count,
                        unsigned least)
{
    static const unsigned workers[] = {1, 2, 8};
    run.program = name;
    signal(SIGALRM, on_alarm);
    for (size_t w = 0; w < sizeof workers / sizeof *workers; w++) {
        run.workers = workers[w];
        int own;
        unsigned all = undisturbed(program, &own), landings = 0;
        if (all < least)
            fail_msg("%s: only %u suspensions seen: is the switch still called weft__fiber_switch_away?", name, all);
        for (size_t v = 0; v < count; v++) {
            for (int landing = LAND_ARMED; landing <= LAND_PARKED; landing++) {
                run.victim = victims[v];
                run.landing = (enum landing)landing;
                unsigned swept = sweep(program, own);
                landings += swept;
                if (run.workers == 1 && (swept != all || undisturbed(program, &own) != all))
                    fail_msg("%s: %u landings, %u suspensions, with one worker", name, swept, all);
            }
        }
        fprintf(stderr, "%s, %u workers: %u suspensions undisturbed, %u cancelled runs\n", name, run.workers, all,
                landings);
    }
}
