/* SPDX-License-Identifier: Apache-2.0 */
/* weft-bench topology: the parts in turn, rounds of them, a progress bar, and the report's three files. Main thread only. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../options.h"
#include "topology.h"

static const struct part {
    const char *name;
    double share; /* of the time */
    int (*measure)(weft_bench *b, double seconds);
    bool all_rounds; /* at once */
} parts[] = {
    {"cores", 0.10, topology_core_to_core, false}, {"workers", 0.20, topology_pairs, false},
    {"memory", 0.15, topology_memory, false},      {"lateness", 0.25, topology_lateness, false},
    {"scaling", 0.30, topology_scaling, true},
};
enum { PARTS = sizeof parts / sizeof *parts };

struct bar {
    bool shown;
    int last;
};

static void draw(void *user, double share, const char *what)
{
    enum { WIDTH = 30 };
    struct bar *bar = user;
    int percent = (int)(share * 100);
    if (!bar->shown)
        return;
    char text[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++)
        text[i] = i * 100 < percent * WIDTH ? '#' : '.';
    text[WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3d %% %-12.12s", text, percent, what);
    fflush(stderr);
}

void topology_usage(FILE *to)
{
    fprintf(
        to,
        "       weft-bench topology [--out PREFIX] [--seconds S] [--rounds R] [--workers W] [--label TEXT] [--only "
        "PART,...]\n"
        "           measures this machine and writes PREFIX.json, .csv and .html (weft-topology): latencies between "
        "cores and\n"
        "           between workers, memory, timers and descriptors, throughput over workers. PART: cores, workers, "
        "memory,\n"
        "           lateness, scaling. S: about so long in all (60). docs/benchmarking.md tells how to read the page.\n"
        "       weft-bench compare A.json B.json [--html FILE] [--all]\n"
        "           sets two reports side by side, with intervals, and says which differences are real\n");
}

static bool wanted(const char *only, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = only; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0'))
            return true;
    }
    return only == NULL;
}

static bool known_parts(const char *only)
{
    while (only != NULL) {
        size_t n = strcspn(only, ","), i = 0;
        while (i < PARTS && (strlen(parts[i].name) != n || strncmp(parts[i].name, only, n) != 0))
            i++;
        if (i == PARTS) {
            fprintf(stderr, "weft-bench topology: --only takes a list of");
            for (i = 0; i < PARTS; i++)
                fprintf(stderr, " %s", parts[i].name);
            fprintf(stderr, ", not '%.*s'\n", (int)n, only);
            return false;
        }
        only = only[n] == ',' ? only + n + 1 : NULL;
    }
    return true;
}

static int measure(weft_bench *b, const char *only, double seconds)
{
    double all = 0;
    int rc = 0;
    for (size_t i = 0; i < PARTS; i++)
        all += wanted(only, parts[i].name) ? parts[i].share : 0;
    for (unsigned round = 0; round < b->rounds && rc == 0; round++) {
        for (size_t i = 0; i < PARTS && rc == 0; i++) {
            double share = parts[i].share / all, each = share / b->rounds;
            if (parts[i].all_rounds || !wanted(only, parts[i].name))
                continue;
            b->round = round;
            wb__part(b, parts[i].name, each);
            wb__noise_look(b);
            rc = parts[i].measure(b, seconds * each);
        }
    }
    for (size_t i = 0; i < PARTS && rc == 0; i++) {
        if (parts[i].all_rounds && wanted(only, parts[i].name)) {
            wb__part(b, parts[i].name, parts[i].share / all);
            rc = parts[i].measure(b, seconds * parts[i].share / all);
        }
    }
    if (rc == 0 && wanted(only, "cores"))
        topology_domains(b);
    return rc;
}

int topology_command(int argc, char **argv)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {"label", required_argument, NULL, 'l'},
                                            {"only", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    struct bar bar = {.shown = isatty(STDERR_FILENO) != 0};
    weft_bench_options o = {.size = sizeof o, .title = "weft on this machine", .progress = draw, .progress_user = &bar};
    const char *out = "weft-topology", *only = NULL;
    double seconds = 60;
    long rounds = 0, workers = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'o':
            out = optarg;
            break;
        case 's':
            if (!bench_seconds("seconds", optarg, 3600, &seconds))
                return 2;
            break;
        case 'r':
            if (!bench_whole("rounds", optarg, 1, 1000, &rounds))
                return 2;
            break;
        case 'w':
            if (!bench_whole("workers", optarg, 0, WEFT_MAX_WORKERS, &workers))
                return 2;
            break;
        case 'l':
            o.label = optarg;
            break;
        case 'p':
            only = optarg;
            break;
        default:
            return 2;
        }
    }
    o.rounds = (unsigned)rounds;
    o.workers = (unsigned)workers;
    if (!known_parts(only))
        return 2;
    if (optind != argc || *out == '\0') {
        fprintf(stderr, "usage:\n");
        topology_usage(stderr);
        return 2;
    }
    weft_bench *b;
    int rc = wb__may_write(out); /* else it would be known only after all has been measured */
    if (rc < 0) {
        fprintf(stderr, "weft-bench topology: %s.json, .csv, .html: %s\n", out, weft_strerror(rc));
        return 1;
    }
    rc = weft_bench_open(&b, &o);
    if (rc < 0) {
        fprintf(stderr, "weft-bench topology: %s\n", weft_strerror(rc));
        return 1;
    }
    rc = measure(b, only, seconds);
    if (bar.shown)
        fprintf(stderr, "\r%60s\r", "");
    const char *doing = b->doing;
    if (rc == 0) {
        doing = "writing";
        rc = weft_bench_write(b, out);
    }
    if (rc < 0) {
        fprintf(stderr, "weft-bench topology: %s: %s\n", doing, weft_strerror(rc));
    } else {
        printf("%s.json %s.csv %s.html: %zu figures in %.0f s\n", out, out, out, b->figures,
               (double)(weft_now() - b->began) / 1e9);
        for (size_t i = 0; i < b->notes; i++)
            printf("%s: %s: %s\n", b->note[i].kind, b->note[i].what, b->note[i].text);
    }
    weft_bench_close(b);
    return rc < 0;
}
