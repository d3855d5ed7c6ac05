/* SPDX-License-Identifier: Apache-2.0 */
/* explore.c -- the search: executions one after the other, each a list of decisions; depth first, the last decision that has another way is
 * taken the other way, until there is none.
 *
 * The threads are contexts in one thread of the system, so an execution is a function of its decisions, and a failed one is run again with
 * every operation told. Decisions: who runs next, before each atomic operation on a location that two threads use; which of the values that
 * the memory model allows a load returns (memory.c); and what a model asks (explore_any). To interrupt a thread that could go on costs a preemption, an
 * old value a stale load; an execution has a bounded number of each (Musuvathi and Qadeer, "Iterative context bounding", 2007: faults need few).
 * The bounds grow from 0, so that a fault is shown in its simplest form.
 *
 * A thread that pauses (weft__cpu_relax, sched_yield, nanosleep) lets others go first; that it goes on before anything has changed costs a
 * preemption. Nobody can run and not all have ended: the execution has come to a stop. Many operations, or only pauses: it does not end. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "executor/context.h"
#include "internal.h"

enum { STACK = 256 << 10, CLEARED = 8 << 10, DECISIONS = 1 << 16, STEPS_MOST = 20000, IDLE_MOST = 200, NOTES = 4096 };

enum state { ENDED, RUNS, SLEEPS };

struct thread {
    enum state state;
    bool (*until)(void *);
    void *argument;
    bool spins;  /* until something changes */
    bool paused; /* and has done nothing since */
    unsigned long spins_since;
    struct weft__context context;
    alignas(16) char stack[STACK];
};

struct decision {
    uint8_t taken, ways;
};

bool explore_inside;
unsigned explore_current;
const struct explore_model *explore_running;

static struct thread threads[EXPLORE_THREADS];
static struct decision decisions[DECISIONS];
static unsigned decided, depth, spent[EXPLORE_COSTS], most[EXPLORE_COSTS];
static unsigned long changes, steps, idle, executions, most_steps;
static bool telling;
static struct weft__context home;
static jmp_buf failed;

/* ---- telling of a failure ---- */

static struct note {
    const char *what;
    const void *address, *pc;
    uint64_t value;
    unsigned thread;
} notes[NOTES];
static unsigned long noted;

void explore_note(const char *what, const void *address, uint64_t value, const void *pc)
{
    if (telling)
        notes[noted++ % NOTES] = (struct note){what, address, pc, value, explore_current};
}

static void tell_place(const void *pc)
{
    char command[256], line[512] = "";
    snprintf(command, sizeof command, "addr2line -s -e /proc/%d/exe %p 2>/dev/null", (int)getpid(),
             (const void *)((const char *)pc - 1));
    FILE *f = popen(command, "r");
    if (f != NULL && fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    if (f != NULL)
        pclose(f);
    line[strcspn(line, "\n(")] = '\0';
    printf("  %s", line);
}

static void tell_notes(void)
{
    for (unsigned long i = noted > NOTES ? noted - NOTES : 0; i < noted; i++) {
        const struct note *n = &notes[i % NOTES];
        printf("    %u %-9s %14p %18llx", n->thread, n->what, n->address, (unsigned long long)n->value);
        if (n->pc != NULL)
            tell_place(n->pc);
        printf("\n");
    }
}

/* Only how the execution went is known so far: the same again, told. */
void explore_fail(const char *format, ...)
{
    explore_inside = false;
    if (!telling) {
        decided = depth;
        longjmp(failed, 1);
    }
    printf("FAILED  %s: ", explore_running->name);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n  thread, operation, address, value (%u preemptions, %u old values):\n", spent[EXPLORE_PREEMPTION],
           spent[EXPLORE_STALE]);
    tell_notes();
    fflush(stdout);
    _exit(1);
}

void explore_check(bool condition, const char *text, const char *file, int line)
{
    if (!condition)
        explore_fail("%s:%d: %s does not hold", file, line, text);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_addr == NULL)
        explore_fail("thread %u calls something, or looks at something, that is not linked to this model",
                     explore_current);
    explore_fail("signal %d in thread %u, address %p", number, explore_current, info->si_addr);
}

/* ---- decisions ---- */

unsigned explore_choose(enum explore_cost kind, unsigned n)
{
    if (n <= 1 || (kind != EXPLORE_FREE && spent[kind] >= most[kind]))
        return 0;
    if (depth == decided) {
        if (decided == DECISIONS)
            explore_fail("too many decisions");
        decisions[decided++] = (struct decision){0, (uint8_t)n};
    }
    if (decisions[depth].ways != n)
        explore_fail("not the same again: %u ways where there were %u", n, decisions[depth].ways);
    unsigned taken = decisions[depth++].taken;
    if (taken != 0)
        spent[kind]++;
    return taken;
}

static bool next_decisions(void)
{
    while (decided != 0 && decisions[decided - 1].taken + 1 == decisions[decided - 1].ways)
        decided--;
    if (decided == 0)
        return false;
    decisions[decided - 1].taken++;
    return true;
}

unsigned explore_any(unsigned n)
{
    unsigned taken = explore_choose(EXPLORE_FREE, n);
    explore_note("any", NULL, taken, __builtin_return_address(0));
    return taken;
}

/* ---- threads ---- */

static bool can_run(unsigned i)
{
    struct thread *t = &threads[i];
    if (t->state == SLEEPS && t->until(t->argument))
        t->state = RUNS;
    return t->state == RUNS;
}

static bool waits(unsigned i)
{
    return threads[i].spins && threads[i].spins_since == changes;
}

/* Who could run, from this one on; behind them those that spin and for whom nothing has changed. Returns how many; *eager: of the first kind. */
static unsigned runnable(unsigned first, unsigned list[], unsigned *eager)
{
    unsigned n = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned k = 0; k < EXPLORE_THREADS - 1; k++) {
            unsigned i = 1 + (first - 1 + k) % (EXPLORE_THREADS - 1);
            if (can_run(i) && waits(i) == (pass == 1))
                list[n++] = i;
        }
        if (pass == 0)
            *eager = n;
    }
    return n;
}

static void switch_to(unsigned next)
{
    unsigned self = explore_current;
    if (next == self)
        return;
    explore_current = next;
    weft__context_switch(self == 0 ? &home : &threads[self].context, next == 0 ? &home : &threads[next].context);
}

void explore_moved(void)
{
    threads[explore_current].paused = false;
    if (++steps > STEPS_MOST)
        explore_fail("it does not end");
}

/* The running thread cannot go on (EXPLORE_FREE), or spins. */
static void go_elsewhere(enum explore_cost cost)
{
    unsigned list[EXPLORE_THREADS], eager, asleep = 0;
    unsigned n = runnable(explore_current % (EXPLORE_THREADS - 1) + 1, list, &eager);
    if (n == 0) {
        for (unsigned i = 1; i < EXPLORE_THREADS; i++)
            asleep += threads[i].state == SLEEPS;
        if (asleep != 0 && !explore_running->daemons)
            explore_fail("nobody can go on: %u threads sleep", asleep);
        switch_to(0);
        return;
    }
    if (eager == 0 && ++idle > IDLE_MOST)
        explore_fail("threads spin for ever");
    unsigned next =
        list[explore_choose(eager == 0 ? EXPLORE_PREEMPTION : cost, cost == EXPLORE_FREE && eager != 0 ? eager : n)];
    threads[next].spins = false;
    switch_to(next);
}

void explore_point(void)
{
    if (explore_current == 0)
        return;
    explore_moved();
    threads[explore_current].spins = false;
    if (spent[EXPLORE_PREEMPTION] >= most[EXPLORE_PREEMPTION])
        return;
    unsigned list[EXPLORE_THREADS], eager;
    unsigned n = runnable(explore_current, list, &eager);
    unsigned next = list[explore_choose(EXPLORE_PREEMPTION, n)];
    threads[next].spins = false;
    switch_to(next);
}

void explore_wrote(void)
{
    changes++;
    idle = 0;
}

void explore_yield(void)
{
    if (!explore_inside || explore_current == 0)
        return;
    struct thread *t = &threads[explore_current];
    if (t->paused) /* a row of pauses is one */
        return;
    t->paused = true;
    t->spins = true;
    t->spins_since = changes;
    go_elsewhere(EXPLORE_PREEMPTION);
}

void explore_block(bool (*until)(void *), void *argument)
{
    struct thread *t = &threads[explore_current];
    explore_point();
    if (until(argument))
        return;
    explore_note("sleeps", argument, 0, __builtin_return_address(0));
    t->state = SLEEPS;
    t->until = until;
    t->argument = argument;
    go_elsewhere(EXPLORE_FREE);
    explore_note("wakes", argument, 0, __builtin_return_address(0));
}

unsigned explore_self(void)
{
    return explore_current;
}

bool explore_asleep(unsigned thread)
{
    return threads[thread].state == SLEEPS;
}

static void thread_main(void *argument)
{
    (void)argument;
    explore_running->thread[explore_current - 1]();
    threads[explore_current].state = ENDED;
    explore_note("ends", NULL, 0, NULL);
    go_elsewhere(EXPLORE_FREE);
    abort();
}

/* ---- executions ---- */

static void execute(void)
{
    explore_memory_reset();
    explore_machine_reset();
    depth = 0;
    steps = idle = changes = 0;
    memset(spent, 0, sizeof spent);
    explore_current = 0;
    explore_inside = true;
    explore_running->setup();
    for (unsigned i = 1; i < EXPLORE_THREADS; i++) {
        bool used = explore_running->thread[i - 1] != NULL;
        threads[i].state = used ? RUNS : ENDED;
        threads[i].spins = threads[i].paused = false;
        if (!used)
            continue;
        memset(threads[i].stack + STACK - CLEARED, 0, CLEARED); /* what is not initialised is the same each time */
        weft__context_init(&threads[i].context, threads[i].stack, STACK, thread_main, NULL);
        explore_memory_fork(i);
    }
    go_elsewhere(EXPLORE_FREE);
    for (unsigned i = 1; i < EXPLORE_THREADS; i++)
        explore_memory_join(i);
    explore_note("finish", NULL, 0, NULL);
    explore_running->finish();
    explore_inside = false;
    executions++;
    if (steps > most_steps)
        most_steps = steps;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* All executions within the bounds. False: the time was over first. */
static bool search(unsigned preemptions, unsigned stale, double until)
{
    most[EXPLORE_PREEMPTION] = preemptions;
    most[EXPLORE_STALE] = stale;
again:
    decided = 0;
    do {
        execute();
        if (explore_memory_grew())
            goto again;
        if (until > 0 && (executions & 255) == 0 && now() > until)
            return false;
    } while (next_decisions());
    return true;
}

static void explore(const struct explore_model *m, unsigned preemptions, unsigned stale, double seconds)
{
    double begun = now(), until = seconds > 0 ? begun + seconds : 0;
    explore_running = m;
    explore_memory_forget();
    executions = most_steps = 0;
    if (setjmp(failed) != 0) {
        telling = true;
        explore_memory_again();
        execute();
        printf("FAILED  %s: it went wrong, and not when run again\n", m->name);
        tell_notes();
        fflush(stdout);
        _exit(1);
    }
    unsigned levels = preemptions > stale ? preemptions : stale;
    bool whole = true;
    unsigned long last = 0;
    for (unsigned level = 0; level <= levels && whole; level++) {
        last = executions;
        whole = search(level < preemptions ? level : preemptions, level < stale ? level : stale, until);
    }
    printf("%-7s %s: %lu executions of up to %lu steps, %u preemptions, %u old values, %.1f s\n", whole ? "ok" : "cut",
           m->name, executions - last, most_steps, preemptions, stale, now() - begun);
    fflush(stdout);
}

static int usage(void)
{
    printf("usage: [--preemptions N] [--stale N] [--seconds N] [--deeper N] [--list] [MODEL...]\n"
           "  bounds for every model, or N more than its own; at most so many seconds each\n");
    return 2;
}

static bool wanted(const char *name, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return n == 0;
}

int explore_main(int argc, char **argv, const struct explore_model *models, size_t count)
{
    int preemptions = -1, stale = -1, deeper = 0, i = 1;
    double seconds = 0;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            for (size_t k = 0; k < count; k++)
                printf("%s\n", models[k].name);
            return 0;
        }
        if (i + 1 == argc)
            return usage();
        if (strcmp(argv[i], "--preemptions") == 0)
            preemptions = atoi(argv[++i]);
        else if (strcmp(argv[i], "--stale") == 0)
            stale = atoi(argv[++i]);
        else if (strcmp(argv[i], "--deeper") == 0)
            deeper = atoi(argv[++i]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atof(argv[++i]);
        else
            return usage();
    }
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_NODEFER | SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
    unsigned found = 0;
    for (size_t k = 0; k < count; k++) {
        const struct explore_model *m = &models[k];
        if (!wanted(m->name, argv + i, argc - i))
            continue;
        found++;
        explore(m, preemptions >= 0 ? (unsigned)preemptions : m->preemptions + (unsigned)deeper,
                stale >= 0 ? (unsigned)stale : m->stale + (unsigned)deeper, seconds);
    }
    if (found == 0)
        printf("no such model\n");
    return found != 0 ? 0 : 2;
}
