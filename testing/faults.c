/* SPDX-License-Identifier: Apache-2.0 */
/* testing/faults.c -- which call fails, and how.
 *
 * Two ways, one at a time: a plan (rules, see weft/testing.h), or a sweep's aim (the k-th call of all). What each call may answer with is in one table:
 * a fault that is not there is not made, so a plan may say "*=EINTR@10%".
 *
 * Calls are numbered over all of the program, which is how a sweep comes to each; but that number is another one as soon as workers do things in
 * another order. So each call has a name as well: its kind, the function of the task that makes it, and the how manieth of these it is: "recv@session#3".
 * What was hit is told by that, and can be aimed at by it.
 *
 * Invariants: `rules` and `aim` are written while weft__faults_on is false, and no thread that saw it true looks at them later than its own call, which
 * end waits for (inside). Draws are made of the seed, the call and its number, so the same calls in the same order meet the same faults.
 *
 * Threads: fault_now any, also in a task (never blocks, allocates nothing); all else the test's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "executor/runtime.h"
#include "testing/testing.h"

#define RULES 32
#define FAULTS 12 /* of one rule, or one call */

_Atomic(bool) weft__faults_on;
char weft__faults_unknown[64];

static const struct call {
    const char *name;
    int faults[FAULTS]; /* what it may answer with; the first is the usual one */
} calls[WEFT__CALLS] = {
    [WEFT__MALLOC] = {"malloc", {ENOMEM}},
    [WEFT__CALLOC] = {"calloc", {ENOMEM}},
    [WEFT__REALLOC] = {"realloc", {ENOMEM}},
    [WEFT__ALIGNED_ALLOC] = {"aligned_alloc", {ENOMEM}},
    [WEFT__MMAP] = {"mmap", {ENOMEM}},
    [WEFT__MADVISE] = {"madvise", {ENOMEM, EAGAIN}},
    [WEFT__MPROTECT] = {"mprotect", {ENOMEM}},
    [WEFT__EPOLL_CREATE] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM}},
    [WEFT__EPOLL_CTL] = {"epoll_ctl", {ENOMEM, ENOSPC}},
    [WEFT__EPOLL_WAIT] = {"epoll_wait", {EINTR}},
    [WEFT__EVENTFD] = {"eventfd", {EMFILE, ENFILE, ENOMEM}},
    [WEFT__SOCKET] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM}},
    [WEFT__BIND] = {"bind", {EADDRINUSE, ENOMEM}},
    [WEFT__LISTEN] = {"listen", {EADDRINUSE}},
    [WEFT__ACCEPT] = {"accept4", {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR, EAGAIN}},
    [WEFT__CONNECT] = {"connect", {ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EINTR}},
    [WEFT__RECV] = {"recv", {ECONNRESET, ETIMEDOUT, ENOMEM, EINTR, EAGAIN, WEFT__SHORT}},
    [WEFT__SEND] = {"send", {EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR, EAGAIN, WEFT__SHORT}},
    [WEFT__READ] = {"read", {EIO, ECONNRESET, EINTR, EAGAIN, WEFT__SHORT}},
    [WEFT__WRITE] = {"write", {EPIPE, EIO, ENOSPC, ECONNRESET, EINTR, EAGAIN, WEFT__SHORT}},
    [WEFT__GETADDRINFO] = {"getaddrinfo", {EAGAIN, ENOMEM}},
    [WEFT__PTHREAD_CREATE] = {"pthread_create", {EAGAIN}},
    [WEFT__OPEN] = {"open", {EMFILE, ENFILE, ENOMEM}},
};

static const struct {
    const char *name;
    int error;
} names[] = {
    {"ENOMEM", ENOMEM},
    {"EMFILE", EMFILE},
    {"ENFILE", ENFILE},
    {"ENOBUFS", ENOBUFS},
    {"ENOSPC", ENOSPC},
    {"EINTR", EINTR},
    {"EAGAIN", EAGAIN},
    {"ECONNRESET", ECONNRESET},
    {"EPIPE", EPIPE},
    {"ETIMEDOUT", ETIMEDOUT},
    {"ECONNABORTED", ECONNABORTED},
    {"ECONNREFUSED", ECONNREFUSED},
    {"ENETUNREACH", ENETUNREACH},
    {"EADDRINUSE", EADDRINUSE},
    {"EIO", EIO},
    {"short", WEFT__SHORT},
};
#define NAMES (sizeof names / sizeof names[0])

struct rule {
    uint32_t calls;    /* bits */
    uint32_t faults;   /* bits: of names; 0: any */
    uint64_t from, to; /* the numbers of calls; to 0: by share */
    uint64_t share;    /* of 2^32 */
};
_Static_assert(WEFT__CALLS <= 32 && NAMES <= 32, "they are bits");

static struct rule rules[RULES];
static size_t rule_count;
static uint64_t seed;
static bool planned, aiming;
static struct {
    uint64_t k;
    struct rule what;
    bool persistent;
    /* instead of the k-th: by name */
    int at_call; /* -1: no */
    char at_who[64];
    uint64_t at_number;
    _Atomic(int) call, error; /* the one that was hit; -1: none yet */
    const char *hit_who;      /* written before `call` */
    uint64_t hit_number;
} aim = {.at_call = -1, .call = -1};

/* By whom calls are made. Slots are taken, never given back while a plan or aim lasts; who finds none is counted in the last. */
#define MAKERS 64
static struct maker {
    _Atomic(const char *) who;
    _Atomic(uint64_t) numbers[WEFT__CALLS];
} makers[MAKERS];
static _Atomic(uint64_t) numbers[WEFT__CALLS], made[WEFT__CALLS], aimed_calls, made_all;
static _Atomic(int) inside; /* threads in fault_now */

/* ---- plans --------------------------------------------------------------------------------------------------------- */

static bool not_known(const char *word)
{
    snprintf(weft__faults_unknown, sizeof weft__faults_unknown, "%.60s", word);
    return false;
}

static bool parse_calls(char *text, uint32_t *out)
{
    *out = 0;
    char *rest;
    for (char *name = strtok_r(text, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        if (strcmp(name, "*") == 0) {
            *out = UINT32_MAX;
            continue;
        }
        unsigned i = 0;
        while (i < WEFT__CALLS && strcmp(name, calls[i].name) != 0)
            i++;
        if (i == WEFT__CALLS)
            return not_known(name);
        *out |= 1u << i;
    }
    return *out != 0 || not_known("");
}

static bool parse_faults(char *text, uint32_t *out)
{
    *out = 0;
    char *rest;
    bool any = false;
    for (char *name = strtok_r(text, "|", &rest); name != NULL; name = strtok_r(NULL, "|", &rest)) {
        if (strcmp(name, "any") == 0) {
            any = true;
            continue;
        }
        unsigned i = 0;
        while (i < NAMES && strcmp(name, names[i].name) != 0)
            i++;
        if (i == NAMES)
            return not_known(name);
        *out |= 1u << i;
    }
    if (any)
        *out = 0;
    return any || *out != 0 || not_known("");
}

static bool parse_when(const char *text, struct rule *r)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || number < 0)
        return false;
    if (*end == '%') {
        r->share = (uint64_t)(number / 100 * 4294967296.0);
        return end[1] == '\0' && number <= 100;
    }
    r->from = strtoull(text, &end, 10);
    if (end == text || r->from == 0)
        return false;
    r->to = r->from;
    if (*end == '-') {
        const char *second = end + 1;
        r->to = *second == '\0' ? UINT64_MAX : strtoull(second, &end, 10);
        if (*second == '\0')
            return true;
    }
    return *end == '\0' && r->to >= r->from;
}

static bool parse_rule(char *text, struct rule *r)
{
    char *faults = strchr(text, '='), *when = strchr(text, '@');
    *r = (struct rule){0};
    if (faults == NULL || when == NULL || when < faults)
        return false;
    *faults = *when = '\0';
    return parse_calls(text, &r->calls) && parse_faults(faults + 1, &r->faults) && parse_when(when + 1, r);
}

static bool parse(const char *plan)
{
    static const char transparent[] = "recv,send,read,write,accept4,connect,epoll_wait=EINTR|EAGAIN|short@20%";
    char text[1024];
    if (strlen(plan) >= sizeof text)
        return false;
    strcpy(text, plan);
    rule_count = 0;
    char *rest;
    for (char *word = strtok_r(text, " ;\n\t", &rest); word != NULL; word = strtok_r(NULL, " ;\n\t", &rest)) {
        char known[sizeof transparent];
        if (strcmp(word, "transparent") == 0)
            word = strcpy(known, transparent);
        if (rule_count == RULES || !parse_rule(word, &rules[rule_count]))
            return false;
        rule_count++;
    }
    return true;
}

static void reset_counts(void)
{
    for (unsigned i = 0; i < WEFT__CALLS; i++) {
        atomic_store(&numbers[i], 0);
        atomic_store(&made[i], 0);
    }
    for (unsigned i = 0; i < MAKERS; i++) {
        atomic_store(&makers[i].who, NULL);
        for (unsigned k = 0; k < WEFT__CALLS; k++)
            atomic_store(&makers[i].numbers[k], 0);
    }
    atomic_store(&made_all, 0);
    atomic_store(&aimed_calls, 0);
}

static void stop(void)
{
    atomic_store(&weft__faults_on, false);
    while (atomic_load(&inside) != 0)
        sched_yield();
}

int weft_faults_begin(const char *plan, uint64_t with_seed)
{
    if (planned || aiming)
        return -EBUSY;
    if (!parse(plan))
        return -EINVAL;
    reset_counts();
    seed = with_seed;
    planned = true;
    atomic_store(&weft__faults_on, true);
    return 0;
}

void weft_faults_end(void)
{
    if (!planned)
        return;
    stop();
    planned = false;
}

uint64_t weft_faults_made(void)
{
    return atomic_load(&made_all);
}

void weft_faults_describe(char *buf, size_t size)
{
    size_t at = 0;
    if (size > 0)
        buf[0] = '\0';
    for (unsigned i = 0; i < WEFT__CALLS && at < size; i++) {
        uint64_t m = atomic_load(&made[i]), n = atomic_load(&numbers[i]);
        if (m != 0)
            at += (size_t)snprintf(buf + at, size - at, "%s%s: %llu of %llu", at != 0 ? ", " : "", calls[i].name,
                                   (unsigned long long)m, (unsigned long long)n);
    }
}

/* ---- aims ---------------------------------------------------------------------------------------------------------- */

static bool parse_where(const char *where)
{
    const char *at = strchr(where, '@'), *number = strrchr(where, '#');
    char *end;
    aim.at_call = -1;
    if (at == NULL || number == NULL || number < at || (size_t)(number - at - 1) >= sizeof aim.at_who)
        return false;
    for (int i = 0; i < WEFT__CALLS; i++) {
        if (strlen(calls[i].name) == (size_t)(at - where) && strncmp(calls[i].name, where, (size_t)(at - where)) == 0)
            aim.at_call = i;
    }
    memcpy(aim.at_who, at + 1, (size_t)(number - at - 1));
    aim.at_who[number - at - 1] = '\0';
    aim.at_number = strtoull(number + 1, &end, 10);
    if (end == number + 1 || *end != '\0' || aim.at_number == 0)
        aim.at_call = -1;
    return aim.at_call >= 0;
}

int weft__faults_aim(uint64_t k, const char *where, const char *which, const char *how, bool persistent)
{
    char text[512];
    if (planned || aiming)
        return -EBUSY;
    aim.what = (struct rule){.calls = UINT32_MAX};
    if (persistent) /* no kernel interrupts it for ever, and whoever waits for I/O could never go on */
        aim.what.calls &= ~(UINT32_C(1) << WEFT__EPOLL_WAIT);
    if (which != NULL &&
        !(strlen(which) < sizeof text ? parse_calls(strcpy(text, which), &aim.what.calls) : not_known(which)))
        return -EINVAL;
    if (how != NULL &&
        !(strlen(how) < sizeof text ? parse_faults(strcpy(text, how), &aim.what.faults) : not_known(how)))
        return -EINVAL;
    aim.at_call = -1;
    if (where != NULL && !parse_where(where))
        return -EINVAL;
    aim.k = where != NULL ? 0 : k;
    aim.persistent = persistent;
    atomic_store(&aim.call, -1);
    reset_counts();
    aiming = true;
    atomic_store(&weft__faults_on, true);
    return 0;
}

const char *weft__faults_hit(int *error)
{
    int call = atomic_load(&aim.call);
    *error = atomic_load(&aim.error);
    return call < 0 ? NULL : calls[call].name;
}

void weft__faults_where(char *buf, size_t size)
{
    int call = atomic_load(&aim.call);
    buf[0] = '\0';
    if (call >= 0)
        snprintf(buf, size, "%s@%s#%llu", calls[call].name, aim.hit_who, (unsigned long long)aim.hit_number);
}

uint64_t weft__faults_aimed(const char **name, int *error)
{
    stop();
    aiming = false;
    *name = weft__faults_hit(error);
    return atomic_load(&aimed_calls);
}

/* ---- the decision -------------------------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool wanted(const struct rule *r, int error)
{
    if (r->faults == 0)
        return true;
    for (size_t i = 0; i < NAMES; i++) {
        if (names[i].error == error)
            return (r->faults >> i & 1) != 0;
    }
    return false;
}

/* May this call on this descriptor end so? (connect's EINTR and all of accept4 are seen to in calls.c.) */
static bool possible(enum weft__call call, int fd, int error)
{
    if (call != WEFT__READ && call != WEFT__WRITE && call != WEFT__RECV && call != WEFT__SEND)
        return true;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    bool is_socket = S_ISSOCK(st.st_mode), pipe = S_ISFIFO(st.st_mode), file = S_ISREG(st.st_mode);
    switch (error) {
    case EINTR:
        return is_socket || pipe;
    case EAGAIN: {
        int flags = fcntl(fd, F_GETFL);
        return is_socket && flags >= 0 && (flags & O_NONBLOCK) != 0;
    }
    case ECONNRESET:
    case ETIMEDOUT:
    case ENOBUFS:
    case ENOMEM:
        return is_socket;
    case EPIPE:
        return is_socket || pipe;
    case ENOSPC:
    case EIO:
        return file;
    default: /* fewer bytes: of a datagram they would be lost */
        if (is_socket) {
            int type = 0;
            socklen_t size = sizeof type;
            return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
        }
        return pipe || file;
    }
}

/* The fault that rule r makes of this call: the first possible, or one drawn. 0: none is. */
static int fault_of(const struct rule *r, enum weft__call call, int fd, uint64_t drawn, bool first)
{
    int found[FAULTS];
    unsigned n = 0;
    for (unsigned i = 0; i < FAULTS && calls[call].faults[i] != 0; i++) {
        int error = calls[call].faults[i];
        if (wanted(r, error) && possible(call, fd, error))
            found[n++] = error;
    }
    return n == 0 ? 0 : found[first ? 0 : drawn % n];
}

static int planned_fault(enum weft__call call, int fd, uint64_t number)
{
    uint64_t of_call = mixed(seed ^ mixed(number * 32 + call));
    for (size_t i = 0; i < rule_count; i++) {
        const struct rule *r = &rules[i];
        if ((r->calls >> call & 1) == 0)
            continue;
        uint64_t drawn = i == 0 ? of_call : mixed(of_call + i); /* each rule its own: else the later never applies */
        bool now = r->to != 0 ? number >= r->from && number <= r->to : (uint32_t)drawn < r->share;
        int error = now ? fault_of(r, call, fd, drawn >> 32, false) : 0;
        if (error != 0)
            return error;
    }
    return 0;
}

/* Whose call is this? The function of the task, also for children that it forked. */
static const char *maker_name(void)
{
    weft_task *t = weft__worker_self() != NULL ? weft_current_task() : NULL;
    if (t == NULL)
        return weft__worker_self() != NULL ? "worker" : "thread";
    if (weft__load_relaxed(&t->flags) & WEFT__TASK_HIDDEN) /* relaxed: set before it runs */
        return "worker";
    return weft__testing_is_main(t) ? "main" : t->frame->coro->name;
}

static uint64_t number_of(enum weft__call call, const char **who)
{
    const char *name = *who = maker_name();
    unsigned i = 0;
    for (; i < MAKERS - 1; i++) {
        const char *there = atomic_load(&makers[i].who);
        if (there == NULL && atomic_compare_exchange_strong(&makers[i].who, &there, name))
            break;
        if (strcmp(there, name) == 0)
            break;
    }
    return atomic_fetch_add(&makers[i].numbers[call], 1) + 1;
}

static int aimed_fault(enum weft__call call, int fd)
{
    if ((aim.what.calls >> call & 1) == 0)
        return 0;
    int error = fault_of(&aim.what, call, fd, 0, true);
    if (error == 0)
        return 0;
    uint64_t number = atomic_fetch_add(&aimed_calls, 1) + 1;
    const char *who;
    uint64_t own = number_of(call, &who);
    if (aim.at_call >= 0 ? (int)call == aim.at_call && own == aim.at_number && strcmp(who, aim.at_who) == 0
                         : number == aim.k) {
        aim.hit_who = who;
        aim.hit_number = own;
        atomic_store(&aim.error, error);
        atomic_store(&aim.call, (int)call);
        return error;
    }
    return aim.persistent && atomic_load(&aim.call) == (int)call ? error : 0;
}

int weft__fault_now(enum weft__call call, int fd)
{
    int kept = errno, error = 0;
    atomic_fetch_add(&inside, 1);
    if (atomic_load(&weft__faults_on)) {
        uint64_t number = atomic_fetch_add(&numbers[call], 1) + 1;
        error = aiming ? aimed_fault(call, fd) : planned_fault(call, fd, number);
        if (error != 0) {
            atomic_fetch_add(&made[call], 1);
            atomic_fetch_add(&made_all, 1);
        }
    }
    atomic_fetch_sub(&inside, 1);
    errno = kept;
    return error;
}
