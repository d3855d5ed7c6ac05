/* SPDX-License-Identifier: Apache-2.0 */
/* weft-bench plan: where a runtime with these options puts its workers, and with --verify whether they and their memory really are there.
 *
 *     weft-bench plan [--workers W] [--pin default|none|node|core] [--spread evenly|compact] [--cpus 0,2-5] [--json]
 *     weft-bench plan --verify ...
 *
 * --verify starts the runtime and asks the kernel. A task pinned to each worker says on which CPUs its thread may run (sched_getaffinity) and
 * on which CPU it is (getcpu), which must be those of the plan; allocates memory, touches it and asks where it lies (move_pages), which
 * must be the worker's node. Then all workers work for a while and steal from each other, and at the end the kernel is asked for the
 * pages of workers, queues, stacks and descriptors. One line for each; exit status 1 when anything is elsewhere. */
#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <weft.h>

#include "options.h"

enum { MOST_CPUS = 65536, PAGES = 64 };

/* "0,2-5" into *cpus, malloc'd. Their number; 0: it is no such list. */
static size_t parse_cpus(const char *list, int **cpus)
{
    size_t n = 0;
    int *out = calloc(MOST_CPUS, sizeof *out);
    *cpus = out;
    while (out != NULL && *list != '\0') {
        char *end;
        long first = strtol(list, &end, 10), last = first;
        if (end == list)
            return 0;
        if (*end == '-') {
            list = end + 1;
            last = strtol(list, &end, 10);
            if (end == list)
                return 0;
        }
        if (first < 0 || last < first || last >= MOST_CPUS || n + (size_t)(last - first) >= MOST_CPUS)
            return 0;
        for (long cpu = first; cpu <= last; cpu++)
            out[n++] = (int)cpu;
        if (*end == ',' && end[1] != '\0')
            end++;
        else if (*end != '\0')
            return 0;
        list = end;
    }
    return n;
}

/* ---- verify ------------------------------------------------------------------------------------------------------ */

struct seen { /* by one worker, of itself */
    int worker, cpu;
    unsigned cpus;
    bool mask_right, cpu_right;
    int pages_home, pages_elsewhere; /* of memory that it touched first; both 0: the kernel does not tell */
};

struct verdict {
    struct seen *seen; /* of each worker */
    bool wrong;
};

/* Where the first touch of this thread puts memory. */
static void touch(struct seen *s, int node)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    void *pages[PAGES];
    int status[PAGES];
    for (int i = 0; i < PAGES; i++) {
        pages[i] = memory + (size_t)i * page;
        *(volatile char *)pages[i] = 1;
        status[i] = -1;
    }
    if (syscall(SYS_move_pages, 0, (unsigned long)PAGES, pages, NULL, status, 0) == 0) {
        for (int i = 0; i < PAGES; i++) {
            s->pages_home += status[i] >= 0 && (node < 0 || status[i] == node);
            s->pages_elsewhere += status[i] >= 0 && node >= 0 && status[i] != node;
        }
    }
    munmap(memory, PAGES * page);
}

struct look {
    WEFT_FRAME;
    int worker;
    struct seen *out;
};
/* Runs on the worker that it asks about. */
static int look(struct look *f)
{
    const weft_plan *plan = weft_runtime_plan(weft_runtime_current());
    struct seen *s = f->out;
    weft_plan_worker w = {.size = sizeof w};
    if (weft_plan_read_worker(plan, (unsigned)f->worker, &w) < 0)
        return -EINVAL;
    s->worker = weft_current_worker();
    s->cpu = sched_getcpu();
    size_t size = CPU_ALLOC_SIZE(MOST_CPUS);
    cpu_set_t *mask = CPU_ALLOC(MOST_CPUS);
    int *planned = calloc(w.cpus + 1, sizeof *planned);
    long n = planned != NULL ? weft_plan_cpus(plan, (unsigned)f->worker, planned, w.cpus) : -ENOMEM;
    if (mask != NULL && n >= 0 && sched_getaffinity(0, size, mask) == 0) {
        s->cpus = (unsigned)CPU_COUNT_S(size, mask);
        s->mask_right = s->cpus == (unsigned)n || n == 0;
        for (long i = 0; i < n; i++) {
            s->mask_right = s->mask_right && CPU_ISSET_S((unsigned)planned[i], size, mask);
            s->cpu_right = s->cpu_right || planned[i] == s->cpu;
        }
        s->cpu_right = s->cpu_right || n == 0;
    }
    free(planned);
    CPU_FREE(mask);
    touch(s, w.node);
    return 0;
}
WEFT_CORO(look);

struct leaf {
    WEFT_FRAME;
    unsigned turns;
};
static int leaf(struct leaf *f)
{
    for (unsigned i = 0; i < f->turns; i++)
        if (weft_yield() < 0)
            return -ECANCELED;
    return 1;
}
WEFT_CORO(leaf);

struct verify {
    WEFT_FRAME;
    struct verdict *verdict;
};
static int verify(struct verify *f)
{
    enum { TASKS = 2000, ROUNDS = 4 };
    unsigned workers = weft_runtime_workers(weft_runtime_current());
    struct seen *seen = calloc(workers, sizeof *seen);
    weft_task **t = calloc(TASKS, sizeof(weft_task *));
    f->verdict->seen = seen;
    if (seen == NULL || t == NULL) {
        free(t);
        return -ENOMEM;
    }
    int rc = 0;
    for (unsigned i = 0; i < workers && rc == 0; i++)
        rc = weft_await_release(weft_create_task_with(WEFT_TASK_OPTIONS(.where = WEFT_ON_WORKER(i)), look,
                                                      .worker = (int)i, .out = &seen[i]));
    /* Tasks that are created here and stolen: descriptors and stacks have to find their way home. */
    for (unsigned round = 0; round < ROUNDS && rc == 0; round++) {
        long sum = 0;
        for (int i = 0; i < TASKS; i++)
            t[i] = weft_create_task_with(
                WEFT_TASK_OPTIONS(.where = i % 4 == 0 ? WEFT_ON_WORKER((unsigned)i % workers) : WEFT_ANYWHERE), leaf,
                .turns = (unsigned)i % 3);
        for (int i = 0; i < TASKS; i++)
            sum += weft_await_release(t[i]);
        rc = sum == TASKS ? 0 : -EIO;
    }
    free(t);
    return rc;
}
WEFT_CORO(verify);

static void tell_memory(void *user, const weft_memory *m)
{
    struct verdict *v = user;
    if (m->pages == 0 || (m->elsewhere == 0 && m->worker != UINT32_MAX && m->home == 0))
        return;
    if (m->worker != UINT32_MAX)
        printf("worker %u, %s: ", m->worker, m->what);
    else
        printf("%s: ", m->what);
    if (m->node >= 0)
        printf("%llu pages on node %d, %llu elsewhere, %llu untouched%s\n", (unsigned long long)m->home, m->node,
               (unsigned long long)m->elsewhere, (unsigned long long)m->untouched, m->elsewhere != 0 ? ": WRONG" : "");
    else
        printf("%llu pages, anywhere\n", (unsigned long long)m->home);
    v->wrong = v->wrong || m->elsewhere != 0;
}

static void verified(void *user, weft_runtime *rt)
{
    struct verdict *v = user;
    const weft_plan *plan = weft_runtime_plan(rt);
    for (unsigned i = 0; v->seen != NULL && i < weft_runtime_workers(rt); i++) {
        const struct seen *s = &v->seen[i];
        weft_plan_worker w = {.size = sizeof w};
        weft_place place;
        (void)weft_plan_read_worker(plan, i, &w);
        (void)weft_worker_place(rt, i, &place);
        bool right =
            s->worker == (int)i && s->mask_right && s->cpu_right && s->pages_elsewhere == 0 && place.node == w.node;
        printf("worker %u: on CPU %d, may run on %u, memory it touched: %d pages on its node %d, %d elsewhere%s\n", i,
               s->cpu, s->cpus, s->pages_home, w.node, s->pages_elsewhere, right ? "" : ": WRONG");
        v->wrong = v->wrong || !right;
    }
    int rc = weft_memory_check(rt, tell_memory, v);
    if (rc < 0)
        printf("the kernel does not tell where memory is: %s\n", weft_strerror(rc));
    (void)weft_metrics_print(rt, STDERR_FILENO);
}

/* Why there is no plan. */
static void tell_no_plan(const weft_options *o, int rc)
{
    weft_options one = *o;
    one.cpu_count = 1;
    for (size_t i = 0; rc == -EINVAL && i < o->cpu_count; i++) {
        weft_plan *plan;
        one.cpus = &o->cpus[i];
        if (weft_plan_create(&plan, &one) < 0) {
            fprintf(stderr, "weft-bench plan: --cpus: CPU %d is not allowed here\n", o->cpus[i]);
            return;
        }
        weft_plan_release(plan);
    }
    fprintf(stderr, "weft-bench plan: %s\n", weft_strerror(rc));
}

/* hwloc takes this machine, silently, when it cannot make sense of the one that is described to it. */
static bool described_machine_is_taken(const weft_options *o)
{
    static const char *const names[] = {"HWLOC_SYNTHETIC", "HWLOC_XMLFILE"};
    weft_plan *plan;
    weft_plan_info info = {.size = sizeof info};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text == NULL || *text == '\0' || getenv("HWLOC_THISSYSTEM") != NULL || weft_plan_create(&plan, o) < 0)
            continue;
        (void)weft_plan_read(plan, &info);
        weft_plan_release(plan);
        if (info.here) {
            fprintf(stderr, "weft-bench plan: hwloc knows no machine %s=%s\n", names[i], text);
            return false;
        }
    }
    return true;
}

static int run_verify(weft_options *o)
{
    struct verdict v = {.seen = NULL};
    o->at_end = verified;
    o->at_end_user = &v;
    o->slow_task = WEFT_FOREVER;
    int rc = weft_run_with(o, verify, .verdict = &v);
    free(v.seen);
    if (rc < 0)
        tell_no_plan(o, rc);
    printf("%s\n", rc < 0 || v.wrong ? "not as planned" : "as planned");
    return rc < 0 || v.wrong;
}

static int print(const weft_options *o, bool json)
{
    weft_plan *plan;
    int rc = weft_plan_create(&plan, o);
    if (rc < 0) {
        tell_no_plan(o, rc);
        return 1;
    }
    fflush(stdout);
    rc = json ? weft_plan_print_json(plan, STDOUT_FILENO) : weft_plan_print(plan, STDOUT_FILENO);
    weft_plan_release(plan);
    if (rc < 0)
        fprintf(stderr, "weft-bench: the output could not be written: %s\n", weft_strerror(rc));
    return rc < 0;
}

int bench_plan(int argc, char **argv)
{
    static const struct option options[] = {{"workers", required_argument, NULL, 'w'},
                                            {"pin", required_argument, NULL, 'p'},
                                            {"spread", required_argument, NULL, 's'},
                                            {"cpus", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"verify", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    weft_options o = {.size = sizeof o};
    static const char *const spreads[] = {[WEFT_SPREAD_EVENLY] = "evenly", [WEFT_SPREAD_COMPACT] = "compact", NULL};
    bool json = false, check = false;
    int *cpus = NULL, status = 2;
    long workers = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'w':
            if (!bench_whole("workers", optarg, 0, WEFT_MAX_WORKERS, &workers))
                goto out;
            break;
        case 'p':
            if (!bench_pin(optarg, &o.pin))
                goto out;
            break;
        case 's':
            if (!bench_word("spread", optarg, spreads, &o.spread))
                goto out;
            break;
        case 'c':
            free(cpus);
            o.cpu_count = parse_cpus(optarg, &cpus);
            o.cpus = cpus;
            if (o.cpu_count == 0) {
                fprintf(stderr, "weft-bench plan: --cpus takes a list like 0,2-5\n");
                goto out;
            }
            break;
        case 'j':
            json = true;
            break;
        case 'v':
            check = true;
            break;
        default:
            goto out;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "weft-bench plan: what is '%s'?\n", argv[optind]);
        goto out;
    }
    o.workers = (unsigned)workers;
    status = 1;
    if (described_machine_is_taken(&o))
        status = bench_printed(check ? run_verify(&o) : print(&o, json));
out:
    free(cpus);
    return status;
}
