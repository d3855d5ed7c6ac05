/* SPDX-License-Identifier: Apache-2.0 */
/* executor/stack_overflow.c -- what happens when a task touches the guard below its stack: one line, then death by SIGSEGV.
 *
 * The handler runs on an alternate signal stack (the task's own is full) and does only what is async-signal-safe: loads,
 * write(2), sigaction(2). After its line it takes the default action into place and returns: the instruction faults again,
 * and the process dies there, with a core that shows the task's frames. Faults that are not ours go to the handler that was
 * there before, as if we were not (its mask and flags included; but it runs on the alternate stack too).
 * With ASan our own faults go there too, after the line: ASan's report shows the frames.
 *
 * Install: any thread, once. Signal stacks: each thread for itself. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "executor/guard.h"
#include "executor/stack.h"

#define SIGNAL_STACK ((size_t)64 * 1024) /* the kernel's frame with all vector state is up to 12 KiB */

/* Both written before the handler is in place, which is what makes them visible to it. */
static void (*describe_owner)(void *owner, char *buf, size_t size);
static struct sigaction previous_segv, previous_bus;

static size_t put(char *text, size_t at, size_t size, const char *word)
{
    while (*word != '\0' && at < size)
        text[at++] = *word++;
    return at;
}

static size_t put_number(char *text, size_t at, size_t size, size_t number)
{
    char digits[21];
    size_t first = sizeof digits - 1;
    digits[first] = '\0';
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return put(text, at, size, digits + first);
}

static void report(void *owner, size_t size)
{
    char who[256] = "?", text[512];
    describe_owner(owner, who, sizeof who);
    who[sizeof who - 1] = '\0';
    size_t at = put(text, 0, sizeof text, "weft: stack overflow in task ");
    at = put(text, at, sizeof text, who);
    at = put(text, at, sizeof text, ": ");
    at = put_number(text, at, sizeof text, size / 1024);
    at = put(text, at, sizeof text, " KiB of stack used up; give it more with stack_size\n");
    ssize_t written = write(STDERR_FILENO, text, at);
    (void)written;
}

static void set_default(int signal)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(signal, &action, NULL);
}

/* Do what the kernel would have done with the signal had we not been there. */
static void chain(const struct sigaction *previous, int signal, siginfo_t *info, void *machine)
{
    bool is_fault = info->si_code > 0; /* else somebody sent it */
    if ((previous->sa_flags & SA_SIGINFO) == 0 && previous->sa_handler == SIG_IGN && !is_fault)
        return;
    if ((previous->sa_flags & SA_SIGINFO) == 0 &&
        (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN)) {
        set_default(signal);
        if (!is_fault)
            raise(signal); /* comes when the handler returns; a fault comes again by itself */
        return;
    }
    if ((previous->sa_flags & (int)SA_RESETHAND) != 0)
        set_default(signal);
    /* The kernel puts the mask of the interrupted code back when this handler returns. */
    pthread_sigmask(SIG_BLOCK, &previous->sa_mask, NULL);
    if ((previous->sa_flags & SA_NODEFER) != 0) {
        sigset_t this_one;
        sigemptyset(&this_one);
        sigaddset(&this_one, signal);
        pthread_sigmask(SIG_UNBLOCK, &this_one, NULL);
    }
    if ((previous->sa_flags & SA_SIGINFO) != 0)
        previous->sa_sigaction(signal, info, machine);
    else
        previous->sa_handler(signal);
}

static void on_fault(int signal, siginfo_t *info, void *machine)
{
    int saved_errno = errno; /* a previous handler may mend the fault and go on */
    const struct sigaction *previous = signal == SIGSEGV ? &previous_segv : &previous_bus;
    void *owner;
    size_t size;
    if (info->si_code > 0 && weft__stack_find_guard((uintptr_t)info->si_addr, &owner, &size)) {
        report(owner, size);
        if (WEFT__ASAN)
            chain(previous, signal, info, machine);
        else
            set_default(signal);
    } else {
        chain(previous, signal, info, machine);
    }
    errno = saved_errno;
}

static void install_one(int signal, struct sigaction *previous)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(signal, NULL, previous); /* known before ours can be called */
    sigaction(signal, &action, NULL);
}

void weft__stack_overflow_install(void (*describe)(void *owner, char *buf, size_t size))
{
    static uint32_t guard;
    static bool installed; /* under guard */
    weft__guard_lock(&guard);
    if (!installed) {
        installed = true;
        describe_owner = describe;
        install_one(SIGSEGV, &previous_segv);
        install_one(SIGBUS, &previous_bus);
    }
    weft__guard_unlock(&guard);
}

/* ---- signal stacks ---- */

/* Runs on the thread's own stack only, never on a fiber: a thread-local is safe here. */
static _Thread_local struct {
    void *memory; /* NULL: the thread had one, or has none */
    size_t size;
    unsigned depth;
} signal_stack;

int weft__signal_stack_enter(void)
{
    if (signal_stack.depth++ != 0)
        return 0;
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0)
        return 0;
    long wanted = sysconf(_SC_MINSIGSTKSZ);
    size_t size = SIGNAL_STACK;
    while (wanted > 0 && size < 2 * (size_t)wanted)
        size *= 2;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        signal_stack.depth--;
        return -ENOMEM;
    }
    stack_t ours;
    memset(&ours, 0, sizeof ours);
    ours.ss_sp = memory;
    ours.ss_size = size;
    if (sigaltstack(&ours, NULL) != 0) {
        munmap(memory, size);
        signal_stack.depth--;
        return -ENOMEM;
    }
    signal_stack.memory = memory;
    signal_stack.size = size;
    return 0;
}

void weft__signal_stack_leave(void)
{
    /* A thread whose enter failed may leave too. */
    if (signal_stack.depth == 0 || --signal_stack.depth != 0 || signal_stack.memory == NULL)
        return;
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == signal_stack.memory) {
        stack_t off;
        memset(&off, 0, sizeof off);
        off.ss_flags = SS_DISABLE;
        sigaltstack(&off, NULL);
    }
    munmap(signal_stack.memory, signal_stack.size);
    signal_stack.memory = NULL;
}
