/* SPDX-License-Identifier: Apache-2.0 */
/* weft-bench: an ordinary client of the library that times its parts.
 *     weft-bench list
 *     weft-bench run NAME [--n N] [--workers W] [--repeat R] [--pin P] [--stealing S] [--seed N] [--json FILE] [--why]
 *     weft-bench plan [--workers W] [--pin default|none|node|core] [--spread evenly|compact] [--cpus LIST] [--json] [--verify]: see plan.c
 *     weft-bench topology, weft-bench compare: see topology/command.c, topology/compare.c
 * A repeat prints one line: name,n,workers,seconds,ns_per_op,ops_per_s,max_rss_kib, and one for each further figure of the
 * workload, whose value stands in the column ns_per_op. A wrong answer prints none and exits 1. --why says on stderr what
 * happened during the timed part (steals, parks, wakes, switches ...), and the whole account of the runtime. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "options.h"
#include "plan.h"
#include "topology/commands.h"

static const struct workload *const groups[] = {
    fork_join_workloads, waiting_tree_workloads, real_work_workloads,  task_workloads,    cancel_workloads,
    timer_workloads,     hand_over_workloads,    sync_workloads,       latency_workloads, mixed_workloads,
    memory_workloads,    idle_workloads,         connection_workloads, locality_workloads};

static const struct workload *find(const char *name)
{
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        for (const struct workload *w = groups[g]; w->name != NULL; w++) {
            if (strcmp(w->name, name) == 0)
                return w;
        }
    }
    return NULL;
}

struct timed {
    WEFT_FRAME;
    const struct workload *workload;
    long n;
    struct outcome *out;
};
static int timed(struct timed *f)
{
    f->workload->run(f->n, f->out);
    return 0;
}
WEFT_CORO(timed);

static void print_why(void *user, weft_runtime *rt)
{
    (void)user;
    fflush(stdout);
    (void)weft_metrics_print(rt, STDERR_FILENO);
}

static void print_line(FILE *to, bool json, const char *name, long n, unsigned workers, double seconds,
                       double ns_per_op)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double per_second = ns_per_op > 0 ? 1e9 / ns_per_op : 0;
    if (json)
        fprintf(to,
                "{\"name\":\"%s\",\"n\":%ld,\"workers\":%u,\"seconds\":%.6f,\"ns_per_op\":%.3f,\"ops_per_s\":%.0f,"
                "\"max_rss_kib\":%ld}\n",
                name, n, workers, seconds, ns_per_op, per_second, u.ru_maxrss);
    else
        fprintf(to, "%s,%ld,%u,%.6f,%.3f,%.0f,%ld\n", name, n, workers, seconds, ns_per_op, per_second, u.ru_maxrss);
}

struct settings {
    long n, workers_wanted, repeat, seed;
    unsigned workers, pin, stealing;
    const char *json;
    bool why;
};

static int run(const char *name, const struct settings *s)
{
    const struct workload *w = find(name);
    if (w == NULL) {
        fprintf(stderr, "weft-bench: no workload '%s'; see weft-bench list\n", name);
        return 2;
    }
    FILE *json = NULL;
    if (s->json != NULL && (json = fopen(s->json, "a")) == NULL) {
        fprintf(stderr, "weft-bench: %s: %s\n", s->json, strerror(errno));
        return 2;
    }
    long n = s->n > 0 ? s->n : w->n;
    int rc = 0;
    for (long i = 0; i < s->repeat && rc == 0; i++) {
        struct outcome out = {.why = s->why};
        if (w->run_outside != NULL)
            w->run_outside(n, s->workers, &out);
        else
            rc = weft_run_with(WEFT_OPTIONS(.workers = s->workers, .pin = s->pin, .stealing = s->stealing,
                                            .seed = s->seed != 0 ? (uint64_t)(s->seed + i) : 0,
                                            .slow_task = WEFT_FOREVER, .at_end = s->why ? print_why : NULL),
                               timed, .workload = w, .n = n, .out = &out);
        if (rc < 0) {
            fprintf(stderr, "weft-bench: %s: %s\n", name, weft_strerror(rc));
        } else if (out.wrong) {
            fprintf(stderr, "weft-bench: %s: wrong answer\n", name);
            rc = 1;
        } else if (out.late) {
            fprintf(stderr,
                    "weft-bench: %s: too slow: what it measures was over before it was ready; take a smaller --n\n",
                    name);
            rc = 1;
        } else if (out.skipped) {
            fprintf(stderr, "weft-bench: %s: left out: it takes more workers than %u\n", name, s->workers);
        } else {
            for (int to = 0; to < 1 + (json != NULL); to++) {
                FILE *file = to == 0 ? stdout : json;
                print_line(file, to == 1, out.name != NULL ? out.name : name, n, s->workers, (double)out.elapsed / 1e9,
                           out.operations > 0 ? (double)out.elapsed / out.operations : 0);
                for (int e = 0; e < out.extras; e++)
                    print_line(file, to == 1, out.extra[e].name, n, s->workers, (double)out.elapsed / 1e9,
                               out.extra[e].value);
            }
            fflush(stdout);
            if (s->why && w->run != NULL)
                bench_print_why(name, &out);
        }
    }
    if (json != NULL && (ferror(json) | fclose(json)) != 0) {
        fprintf(stderr, "weft-bench: %s: %s\n", s->json, strerror(errno));
        rc = 1;
    }
    return rc != 0;
}

static unsigned default_workers(void)
{
    weft_plan *plan;
    weft_plan_info info = {.size = sizeof info};
    if (weft_plan_create(&plan, NULL) < 0)
        return 1;
    (void)weft_plan_read(plan, &info);
    weft_plan_release(plan);
    return info.workers;
}

static int usage(FILE *to)
{
    fprintf(to,
            "usage: weft-bench list\n"
            "       weft-bench run NAME [--n N] [--workers W] [--repeat R] [--pin default|none|node|core] [--stealing "
            "near|random] "
            "[--seed N] "
            "[--json FILE] [--why]\n"
            "           W: 0: as many as a runtime has by default. Each repeat has a seed of its own, from N on\n"
            "       weft-bench plan [--workers W] [--pin default|none|node|core] [--spread evenly|compact] [--cpus "
            "LIST] [--json] "
            "[--verify]\n");
    topology_usage(to);
    return to == stderr ? 2 : bench_printed(0);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"n", required_argument, NULL, 'n'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {"repeat", required_argument, NULL, 'r'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"pin", required_argument, NULL, 'p'},
                                            {"why", no_argument, NULL, 'y'},
                                            {"stealing", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, 'e'},
                                            {NULL, 0, NULL, 0}};
    static const char *const orders[] = {[WEFT_STEAL_NEAR] = "near", [WEFT_STEAL_RANDOM] = "random", NULL};
    struct settings s = {.repeat = 1, .workers_wanted = 1};
    bool right = true;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout);
    }
    if (argc > 1 && strcmp(argv[1], "topology") == 0)
        return bench_printed(topology_command(argc - 1, argv + 1));
    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return bench_printed(compare_command(argc - 1, argv + 1));
    if (argc > 1 && strcmp(argv[1], "plan") == 0)
        return bench_plan(argc - 1, argv + 1);
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            right = right && bench_whole("n", optarg, 1, LONG_MAX, &s.n);
            break;
        case 'w':
            right = right && bench_whole("workers", optarg, 0, WEFT_MAX_WORKERS, &s.workers_wanted);
            break;
        case 'r':
            right = right && bench_whole("repeat", optarg, 1, INT_MAX, &s.repeat);
            break;
        case 'e':
            right = right && bench_whole("seed", optarg, 1, LONG_MAX / 2, &s.seed);
            break;
        case 'j':
            s.json = optarg;
            break;
        case 'y':
            s.why = true;
            break;
        case 's':
            right = right && bench_word("stealing", optarg, orders, &s.stealing);
            break;
        case 'p':
            right = right && bench_pin(optarg, &s.pin);
            break;
        default:
            return usage(stderr);
        }
    }
    if (!right)
        return 2;
    if (optind >= argc)
        return usage(stderr);
    const char *command = argv[optind];
    if (strcmp(command, "list") == 0) {
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
            for (const struct workload *w = groups[g]; w->name != NULL; w++)
                printf("%-16s n=%-9ld %s\n", w->name, w->n, w->what);
        }
        return bench_printed(0);
    }
    if (strcmp(command, "run") != 0 || optind + 2 != argc)
        return usage(stderr);
    s.workers = s.workers_wanted != 0 ? (unsigned)s.workers_wanted : default_workers();
    return bench_printed(run(argv[optind + 1], &s));
}
