/* SPDX-License-Identifier: Apache-2.0 */
/* testing/run.c -- one run of a program under test, and what must hold when it is over, whatever was done to it.
 *
 * The program's weft_run comes here first (--wrap=weft_run_): its options are changed to what this run needs, its main coroutine is called by one of
 * our own, in the same task. Without a test under way everything is passed on.
 *
 * One test at a time, so its state is static: written by the test's thread while no runtime exists; what tasks write is atomic. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/metrics.h>
#include <weft/thread.h>

#include "executor/runtime.h"
#include "testing/testing.h"

#define HANG_SECONDS 60
#define MOST_LINES 20 /* of tasks that hang, for a look */

int __real_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size);
int __wrap_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size);
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static struct weft__test *test; /* under way; NULL: none */
static struct {
    _Atomic(bool) ran, disturbed;
    _Atomic(const char *) complaint;
    char text[256];
    _Atomic(bool) text_taken;
    int rc;
    weft_runtime *rt, *ended;
    _Atomic(weft_task *) main_task;
    /* Nobody could go on: the library's report of that, the first of its lines. Written and read in the test's thread. */
    bool hanging;
    char lines[16384];
    size_t lines_used;
    unsigned line_count;
} run;

static void complain(const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&run.complaint, &none, what);
}

void weft__test_say(struct weft__test *t, const char *format, ...)
{
    char line[4600];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (t->report != NULL)
        t->report(t->user, line);
    else
        dprintf(STDERR_FILENO, "weft-testing: %s\n", line);
}

void weft_expect_failed(const char *file, int line, const char *condition)
{
    char text[sizeof run.text];
    const char *base = strrchr(file, '/');
    snprintf(text, sizeof text, "%s:%d: this must hold: %s", base != NULL ? base + 1 : file, line, condition);
    if (test == NULL) {
        dprintf(STDERR_FILENO, "%s\n", text);
        abort();
    }
    if (!atomic_exchange(&run.text_taken, true)) {
        memcpy(run.text, text, sizeof text);
        complain(run.text);
    }
}

void weft_point(void)
{
    weft__preempt_point();
}

bool weft_sweep_disturbed(void)
{
    return atomic_load(&run.disturbed);
}

bool weft__testing_is_main(const weft_task *t)
{
    return atomic_load(&run.main_task) == t;
}

/* NAME=VALUE as a shell takes it: the value in quotes, where something in it (the blank in a program's name) means more to a shell than itself. */
static void quote(const char *line, char *buf, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./#-";
    const char *value = strchr(line, '=') + 1;
    if (value[strspn(value, plain)] == '\0') {
        snprintf(buf, size, "%s", line);
        return;
    }
    size_t at = (size_t)snprintf(buf, size, "%.*s'", (int)(value - line), line);
    for (; *value != '\0' && at + sizeof "'\\'''" <= size; value++)
        at += (size_t)snprintf(buf + at, size - at, *value == '\'' ? "'\\''" : "%c", *value);
    snprintf(buf + at, size - at, "'");
}

void weft__test_replay(const struct weft__test *t, char *buf, size_t size)
{
    char where[128] = "", line[sizeof t->replay];
    const char *number = strrchr(t->replay, ':');
    if (t->faulty)
        weft__faults_where(where, sizeof where);
    if (where[0] != '\0' && number != NULL)
        snprintf(line, sizeof line, "%.*s%s", (int)(number + 1 - t->replay), t->replay, where);
    else
        snprintf(line, sizeof line, "%s", t->replay);
    quote(line, buf, size);
}

/* ---- the program's weft_run ---------------------------------------------------------------------------------------- */

struct observed {
    WEFT_FRAME;
    weft_frame *frame;
};
static int observed(struct observed *o)
{
    run.rt = weft_runtime_current();
    atomic_store(&run.main_task, weft_ref(weft_current_task()));
    if (test->main_begins != NULL)
        test->main_begins(weft_current_task());
    return o->frame->coro->entry(o->frame); /* a plain call: the program's main coroutine is in this task */
}
WEFT_CORO(observed);

static weft_coro main_coro; /* the same, under the name of the program's */

static void at_end(void *user, weft_runtime *rt)
{
    weft_metrics m = {.size = sizeof m};
    (void)user;
    run.rt = NULL;
    if (weft_metrics_read(rt, -1, &m) != 0)
        complain("the account cannot be read");
    bool deadlocked = weft__load_acquire(&rt->deadlocked) != 0; /* whose stacks nobody unwinds */
    if (!deadlocked && m.tasks_created != m.tasks_finished)
        complain("a task was left at the end");
    if (!deadlocked && m.stacks_live != 0)
        complain("a stack was left in use at the end");
    test->deadlocked = deadlocked;
    run.ended = weft_runtime_hold(rt);
}

static void add_line(const char *line)
{
    size_t n = strlen(line);
    if (n + 2 > sizeof run.lines - run.lines_used)
        return;
    memcpy(run.lines + run.lines_used, line, n);
    memcpy(run.lines + run.lines_used + n, "\n", 2);
    run.lines_used += n + 1;
}

static void end_of_lines(void)
{
    char more[64];
    snprintf(more, sizeof more, "and %u more", run.line_count - MOST_LINES);
    if (run.line_count > MOST_LINES)
        add_line(more);
    run.line_count = 0;
}

/* What sums them up at the end is kept. */
static void keep_line(const char *line)
{
    if (strncmp(line, "in all ", 7) == 0)
        end_of_lines();
    if (run.line_count++ < MOST_LINES)
        add_line(line);
}

static void reported(void *user, const char *line)
{
    (void)user;
    if (run.hanging)
        keep_line(line);
    else if (!test->faulty && !test->seeded && strstr(line, " could not be pinned") == NULL &&
             !atomic_exchange(&run.text_taken, true)) {
        snprintf(run.text, sizeof run.text, "weft had something to report: %s", line);
        complain(run.text);
    }
}

/* Who waits for what is told in whatever mode the program runs, and no call in it fails. */
void __real_weft__deadlocked(struct weft_runtime *rt);
void __wrap_weft__deadlocked(struct weft_runtime *rt);
void __wrap_weft__deadlocked(struct weft_runtime *rt)
{
    if (test == NULL || rt->options.report != reported) {
        __real_weft__deadlocked(rt);
        return;
    }
    bool faults = atomic_exchange(&weft__faults_on, false);
    run.hanging = true;
    weft__report_deadlock(rt);
    run.hanging = false;
    end_of_lines();
    atomic_store(&weft__faults_on, faults);
}

const char *weft__test_lines(void)
{
    return run.lines;
}

void weft__test_hanging(struct weft__test *t, const char *lines)
{
    for (const char *end; (end = strchr(lines, '\n')) != NULL; lines = end + 1)
        weft__test_say(t, "    %.*s", (int)(end - lines), lines);
}

int __wrap_weft_run_(const weft_options *options, weft_frame *frame, size_t frame_size)
{
    if (test == NULL || atomic_exchange(&run.ran, true))
        return __real_weft_run_(options, frame, frame_size);
    weft_options o = {.size = sizeof o};
    if (options != NULL)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    o.size = sizeof o;
    o.workers = test->workers;
    o.pin = WEFT_PIN_NONE;
    o.clock = test->real_clock ? WEFT_CLOCK_REAL : WEFT_CLOCK_VIRTUAL;
    o.sched = test->seeded ? WEFT_SCHED_SEEDED : WEFT_SCHED_DEFAULT;
    o.seed = test->seed != 0 ? test->seed : 1;
    o.report = reported;
    o.report_user = NULL;
    o.at_end = at_end;
    main_coro = observed_coro_;
    main_coro.name = frame->coro->name;
    struct observed f = {.frame_ = {&main_coro}, .frame = frame};
    run.rc = __real_weft_run_(&o, &f.frame_, sizeof f);
    if (run.ended == NULL) {
        if (!test->faulty)
            complain("the runtime did not start");
        return run.rc;
    }
    weft_task *main_task = atomic_exchange(&run.main_task, NULL);
    bool deadlocked = weft__load_acquire(&run.ended->deadlocked) != 0;
    if (!deadlocked && run.ended->handles != (main_task != NULL)) /* that of the main task, which we hold */
        complain("a handle was not released");
    weft_runtime_drop(run.ended);
    weft_release(main_task);
    return run.rc;
}

/* ---- around it ----------------------------------------------------------------------------------------------------- */

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n;
}

/* The test's thread sleeps in weft_run, or it is the one that broke down: then what is printed is the best that can be had. */
static void on_signal(int signo)
{
    int error;
    if (test != NULL) {
        char replay[sizeof test->replay];
        const char *hit = test->faulty ? weft__faults_hit(&error) : NULL;
        weft__test_replay(test, replay, sizeof replay);
        dprintf(STDERR_FILENO, "weft-testing: %s: %s%s%s%s\n", test->name,
                signo == SIGALRM ? "hangs: " : "broke down: ", test->what, hit != NULL ? ", in " : "",
                hit != NULL ? hit : "");
        dprintf(STDERR_FILENO, "weft-testing: to run this one alone: %s\n", replay);
        if (signo == SIGALRM && run.rt != NULL) {
            sigset_t only; /* if to look hangs as well, the end comes all the same */
            sigemptyset(&only);
            sigaddset(&only, SIGALRM);
            signal(SIGALRM, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &only, NULL);
            alarm(10);
            (void)weft_dump_tasks(run.rt, STDERR_FILENO);
            (void)weft_dump_workers(run.rt, STDERR_FILENO);
        }
    }
    signal(signo == SIGALRM ? SIGABRT : signo, SIG_DFL);
    if (signo == SIGALRM)
        abort();
    raise(signo);
}

static struct sigaction before_alarm, before_abort, before_segv;

void weft__tests_begin(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGALRM, &a, &before_alarm);
    sigaction(SIGABRT, &a, &before_abort);
    sigaction(SIGSEGV, &a, &before_segv);
}

void weft__tests_end(void)
{
    sigaction(SIGALRM, &before_alarm, NULL);
    sigaction(SIGABRT, &before_abort, NULL);
    sigaction(SIGSEGV, &before_segv, NULL);
}

const char *weft__test_run(struct weft__test *t, weft_test_run *out)
{
    bool keeps = t->keeps_memory;
    atomic_store(&run.complaint, NULL);
    atomic_store(&run.text_taken, false);
    atomic_store(&run.ran, false);
    atomic_store(&run.disturbed, out->number != 0);
    atomic_store(&run.main_task, NULL);
    t->deadlocked = false;
    run.rc = 0;
    run.lines[run.lines_used = run.line_count = 0] = '\0';
    run.rt = run.ended = NULL;
    if (t->before != NULL)
        t->before(t->user);
    int before = open_descriptors();
    test = t;
    alarm(HANG_SECONDS);
    if (!keeps)
        weft__memory_watch();
    t->program(t->argument);
    size_t size = 0, left = !keeps ? weft__memory_left(&size) : 0;
    alarm(0);
    test = NULL;
    if (!atomic_load(&run.ran) && !t->faulty)
        complain("the program did not run");
    if (!t->deadlocked && open_descriptors() != before) /* who was given up could close nothing */
        complain("a descriptor was left open");
    bool look = !keeps && !t->deadlocked;
    if (look && left != 0 && atomic_load(&run.complaint) == NULL) {
        snprintf(run.text, sizeof run.text, "memory was left allocated: %zu blocks, one of them of %zu bytes", left,
                 size);
        complain(run.text);
    }
    if (look && left == 0 && __lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0)
        complain("memory was leaked");
    out->size = sizeof *out;
    out->name = t->name;
    out->what = t->what;
    out->workers = t->workers;
    out->rc = run.rc;
    return atomic_load(&run.complaint);
}

void weft__run_framed(void *argument)
{
    const struct weft__framed *f = argument;
    char *copy = weft__testing_alloc(1, f->size);
    memcpy(copy, f->frame, f->size);
    (void)__wrap_weft_run_(NULL, (weft_frame *)(void *)copy, f->size);
    free(copy);
}
