/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_stack_overflow.c -- executor/stack.h: the line before the death, and faults that are not ours. Each case dies,
 * or does not, in a child process of its own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/topology.h>

#include "executor/context.h"
#include "executor/stack.h"

#if WEFT__VALGRIND
#define SLOWLY (RUNNING_ON_VALGRIND != 0)
#else
#define SLOWLY false
#endif

/* The actions at the start of the program: the default, or the sanitizer's. cmocka has its own while a test runs. */
static struct sigaction first_segv, first_bus;

struct end {
    int status;
    char text[16384]; /* what it wrote to stderr */
};

/* Run it in a child; a child that comes back exits with 0. */
static void run_child(void (*child)(void), struct end *end)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        sigaction(SIGSEGV, &first_segv, NULL);
        sigaction(SIGBUS, &first_bus, NULL);
        child();
        _exit(0);
    }
    close(ends[1]);
    size_t got = 0;
    ssize_t n;
    /* reads on when the buffer is full, lest the child waits for ever */
    char rest[512];
    do {
        bool full = got == sizeof end->text - 1;
        n = full ? read(ends[0], rest, sizeof rest) : read(ends[0], end->text + got, sizeof end->text - 1 - got);
        got += n > 0 && !full ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    end->text[got] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &end->status, 0), pid);
}

static void assert_dies_of(const struct end *end, int signal)
{
    if (!WIFSIGNALED(end->status) || WTERMSIG(end->status) != signal)
        print_error("status %x, text: %s\n", (unsigned)end->status, end->text);
    assert_true(WIFSIGNALED(end->status));
    assert_int_equal(WTERMSIG(end->status), signal);
}

static void assert_exits(const struct end *end, int code)
{
    if (!WIFEXITED(end->status) || WEXITSTATUS(end->status) != code)
        print_error("status %x, text: %s\n", (unsigned)end->status, end->text);
    assert_true(WIFEXITED(end->status));
    assert_int_equal(WEXITSTATUS(end->status), code);
}

static void say(const char *word)
{
    ssize_t written = write(STDERR_FILENO, word, strlen(word));
    (void)written;
}

/* ---- overflow ---- */

static const char the_owner[] = "\"Task-7\" (fetch)";

static void describe(void *owner, char *buf, size_t size)
{
    size_t at = 0;
    for (const char *p = owner; *p != '\0' && at + 1 < size; p++)
        buf[at++] = *p;
    buf[at] = '\0';
}

static WEFT__NOINLINE unsigned recurse(unsigned depth)
{
    volatile char frame[512];
    frame[0] = (char)depth;
    if (depth == 1000000)
        return 0;
    return recurse(depth + 1) + (unsigned)frame[0];
}

static struct weft__context thread_context, fiber_context;

static void overflow_entry(void *argument)
{
    (void)argument;
    recurse(0);
    weft__context_switch(&fiber_context, &thread_context);
}

/* On a fiber of size class 0, the calling thread having an alternate signal stack. */
static void overflow(void)
{
    static struct weft__stack_arena a;
    struct weft__stack s;
    weft__stack_arena_init(&a);
    if (weft__signal_stack_enter() != 0 || weft__stack_get(&a, 0, -1, &s) != 0)
        _exit(99);
    strcpy(weft__stack_owner(&s), the_owner);
    weft__context_init_thread(&thread_context);
    weft__context_init(&fiber_context, s.base, s.size, overflow_entry, NULL);
    weft__context_switch(&thread_context, &fiber_context);
}

static void child_overflow(void)
{
    weft__stack_overflow_install(describe);
    overflow();
}

static void *overflow_in_thread(void *argument)
{
    overflow();
    return argument;
}

static void child_overflow_in_thread(void)
{
    weft__stack_overflow_install(describe);
    pthread_t thread;
    if (pthread_create(&thread, NULL, overflow_in_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

static void exits_with_7(int signal)
{
    (void)signal;
    say("previous\n");
    _exit(7);
}

static void child_overflow_with_previous_handler(void)
{
    signal(SIGSEGV, exits_with_7);
    child_overflow();
}

static void assert_overflow(void (*child)(void))
{
    static struct end end;
    run_child(child, &end);
    char line[256];
    snprintf(
        line, sizeof line,
        "weft: stack overflow in task \"Task-7\" (fetch): %zu KiB of stack used up; give it more with stack_size\n",
        (WEFT__STACK_SLOT - (size_t)sysconf(_SC_PAGESIZE)) / 1024);
    const char *found = strstr(end.text, line);
    if (found == NULL)
        print_error("status %x, text: %s\n", (unsigned)end.status, end.text);
    assert_non_null(found);
    assert_null(strstr(found + 1, "weft: "));
    if (WEFT__ASAN) { /* its report follows, and its own way to die */
        if (child == child_overflow)
            assert_non_null(strstr(found, "ERROR: AddressSanitizer"));
    } else {
        assert_null(strstr(end.text, "previous"));
        assert_dies_of(&end, SIGSEGV);
    }
}

static void test_overflow(void **state)
{
    (void)state;
    assert_overflow(child_overflow);
    assert_overflow(child_overflow_in_thread);
    assert_overflow(child_overflow_with_previous_handler);
}

/* ---- faults of others ---- */

static char *no_access(void)
{
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        _exit(98);
    return page;
}

static void set_handler(int signal, void (*handler)(int), void (*action)(int, siginfo_t *, void *), unsigned flags)
{
    struct sigaction s;
    memset(&s, 0, sizeof s);
    if (action != NULL)
        s.sa_sigaction = action;
    else
        s.sa_handler = handler;
    s.sa_flags = (int)flags;
    sigaddset(&s.sa_mask, SIGUSR1);
    sigaction(signal, &s, NULL);
}

static volatile sig_atomic_t faults;
static char *volatile broken;

/* Mends the fault and goes on; says when it was not called as the kernel would have called it. */
static void mends(int signal, siginfo_t *info, void *machine)
{
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    if (signal != SIGSEGV || info->si_addr != broken || machine == NULL || !sigismember(&now, SIGUSR1) ||
        !sigismember(&now, SIGSEGV))
        _exit(97);
    faults++;
    mprotect(broken, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE);
}

static void child_previous_mends(void)
{
    set_handler(SIGSEGV, NULL, mends, SA_SIGINFO);
    weft__stack_overflow_install(describe);
    weft__stack_overflow_install(describe); /* installed once */
    for (int i = 0; i < 3; i++) {
        broken = no_access();
        *broken = 1;
    }
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    _exit(faults == 3 && !sigismember(&now, SIGUSR1) ? 5 : 96);
}

static void child_previous_plain(void)
{
    set_handler(SIGSEGV, exits_with_7, NULL, 0);
    weft__stack_overflow_install(describe);
    *no_access() = 1;
}

static void says_once(int signal)
{
    (void)signal;
    say("once\n");
}

/* SA_RESETHAND: the second time the default action. */
static void child_previous_resets(void)
{
    set_handler(SIGSEGV, says_once, NULL, SA_RESETHAND);
    weft__stack_overflow_install(describe);
    *no_access() = 1;
}

static void nested(int signal)
{
    static volatile sig_atomic_t depth;
    say(depth == 0 ? "outer " : "inner ");
    if (depth++ == 0) {
        raise(signal);
        say("late ");
    } else {
        _exit(4);
    }
}

static void child_previous_nodefer(void)
{
    set_handler(SIGSEGV, nested, NULL, SA_NODEFER);
    weft__stack_overflow_install(describe);
    raise(SIGSEGV);
    _exit(95);
}

static void child_default_fault(void)
{
    set_handler(SIGSEGV, SIG_DFL, NULL, 0);
    weft__stack_overflow_install(describe);
    *no_access() = 1;
}

static void child_default_raised(void)
{
    set_handler(SIGBUS, SIG_DFL, NULL, 0);
    weft__stack_overflow_install(describe);
    raise(SIGBUS);
}

static void child_ignored(void)
{
    set_handler(SIGSEGV, SIG_IGN, NULL, 0);
    weft__stack_overflow_install(describe);
    raise(SIGSEGV);
    say("still here\n");
    *no_access() = 1; /* cannot be ignored */
}

/* A wild pointer into the guard of a slot that nobody uses is no overflow of a task. */
static void child_free_slot(void)
{
    set_handler(SIGSEGV, exits_with_7, NULL, 0);
    weft__stack_overflow_install(describe);
    static struct weft__stack_arena a;
    struct weft__stack s;
    weft__stack_arena_init(&a);
    if (weft__stack_get(&a, 0, -1, &s) != 0)
        _exit(99);
    volatile char *guard = s.base - 1;
    weft__stack_put(&a, &s);
    *guard = 1;
}

static void test_foreign_faults_are_passed_on(void **state)
{
    (void)state;
    if (SLOWLY)
        skip(); /* valgrind counts each fault as an error */
    static struct end end;
    run_child(child_previous_mends, &end);
    assert_exits(&end, 5);
    assert_string_equal(end.text, "");
    run_child(child_previous_plain, &end);
    assert_exits(&end, 7);
    assert_string_equal(end.text, "previous\n");
    run_child(child_previous_resets, &end);
    assert_dies_of(&end, SIGSEGV);
    assert_string_equal(end.text, "once\n");
    run_child(child_previous_nodefer, &end);
    assert_exits(&end, 4);
    assert_string_equal(end.text, "outer inner ");
    run_child(child_default_fault, &end);
    assert_dies_of(&end, SIGSEGV);
    assert_string_equal(end.text, "");
    run_child(child_default_raised, &end);
    assert_dies_of(&end, SIGBUS);
    run_child(child_ignored, &end);
    assert_dies_of(&end, SIGSEGV);
    assert_string_equal(end.text, "still here\n");
    run_child(child_free_slot, &end);
    assert_exits(&end, 7);
    assert_string_equal(end.text, "previous\n");
}

/* ---- alternate signal stacks ---- */

static void *has_own(void *argument)
{
    stack_t own = {.ss_sp = malloc(65536), .ss_size = 65536}, now, off = {.ss_flags = SS_DISABLE}, first;
    bool ok = sigaltstack(NULL, &first) == 0 && own.ss_sp != NULL && sigaltstack(&own, NULL) == 0;
    ok = ok && weft__signal_stack_enter() == 0 && sigaltstack(NULL, &now) == 0 && now.ss_sp == own.ss_sp;
    weft__signal_stack_leave();
    ok = ok && sigaltstack(NULL, &now) == 0 && now.ss_sp == own.ss_sp;
    /* the tool's own, if there was one, is its to free */
    sigaltstack((first.ss_flags & SS_DISABLE) != 0 ? &off : &first, NULL);
    free(own.ss_sp);
    *(bool *)argument = ok;
    return NULL;
}

static void *has_none(void *argument)
{
    stack_t now, first;
    bool ok = sigaltstack(NULL, &first) == 0;
    bool none = (first.ss_flags & SS_DISABLE) != 0; /* ASan gives its threads one */
    for (int round = 0; round < 2; round++) {
        ok = ok && weft__signal_stack_enter() == 0 && weft__signal_stack_enter() == 0;
        ok = ok && sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0 && now.ss_size >= 16384;
        void *given = now.ss_sp;
        weft__signal_stack_leave();
        ok = ok && sigaltstack(NULL, &now) == 0 && now.ss_sp == given; /* the outer enter still holds */
        weft__signal_stack_leave();
        ok = ok && sigaltstack(NULL, &now) == 0 && ((now.ss_flags & SS_DISABLE) != 0) == none;
    }
    weft__signal_stack_leave(); /* one too many does nothing */
    *(bool *)argument = ok;
    return NULL;
}

static void test_signal_stacks(void **state)
{
    (void)state;
    void *(*const cases[])(void *) = {has_own, has_none};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        bool ok = false;
        assert_int_equal(pthread_create(&thread, NULL, cases[i], &ok), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(ok);
    }
}

/* The handler comes with the first runtime: who only asks what the machine is like keeps his own. */
static void test_asking_installs_nothing(void **state)
{
    (void)state;
    weft_plan *plan;
    struct sigaction before, now; /* cmocka has one of its own */
    assert_int_equal(sigaction(SIGSEGV, NULL, &before), 0);
    assert_int_equal(weft_plan_create(&plan, NULL), 0);
    weft_plan_release(plan);
    assert_int_equal(sigaction(SIGSEGV, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, before.sa_handler);
}

int main(void)
{
    sigaction(SIGSEGV, NULL, &first_segv);
    sigaction(SIGBUS, NULL, &first_bus);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asking_installs_nothing),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_foreign_faults_are_passed_on),
        cmocka_unit_test(test_signal_stacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
