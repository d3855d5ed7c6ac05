/* SPDX-License-Identifier: Apache-2.0 */
/* weft_bench_run: a coroutine over worker counts, pin policies, places and orders of stealing.
 *
 * Each sweep is a list of settings; a setting is a set of CPUs, options, and the cell its rates go to. Rounds go over all settings in turn, every
 * second one backwards, so that what drifts hits all of them alike. One ordinary thread at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/park.h>

#include "report.h"

enum { MOST_SETTINGS = 96, LEAST_RUNS = 3, MOST_RUNS = 12 }; /* RUNS: samples of a setting in a round */

enum { ALL_SWEEPS = WEFT_BENCH_WORKERS | WEFT_BENCH_PINS | WEFT_BENCH_PLACES | WEFT_BENCH_STEALING };
static const double MOST_SECONDS = 86400, MOST_OPERATIONS = 1e15; /* what is more was meant otherwise */

struct setting {
    struct wb__figure *figure;
    size_t row, column;
    size_t *cpu; /* indices into the machine's; malloc'd */
    size_t cpus; /* and workers */
    unsigned pin;
    bool randomly;
};

struct sweep {
    weft_bench *b;
    const weft_bench_workload *w;
    weft_frame *frame;
    size_t frame_size;
    struct setting setting[MOST_SETTINGS];
    size_t settings;
    weft_ns slot; /* time for one setting in one round */
};

/* ---- one setting ---- */

struct repeat {
    WEFT_FRAME;
    struct sweep *s;
    struct setting *at;
};
static int repeat(struct repeat *f)
{
    struct sweep *s = f->s;
    weft_frame *copy = malloc(s->frame_size);
    if (copy == NULL)
        return -ENOMEM;
    weft_ns began = weft_now(), until = began + s->slot;
    double runs = 0;
    int rc = 0;
    /* A fourth of the time to warm up: pages, caches, and the kernel's idea of where threads belong. */
    for (; rc >= 0 && (runs < 1 || weft_now() < began + s->slot / 4); runs++) {
        memcpy(copy, s->frame, s->frame_size);
        rc = copy->coro->entry(copy);
    }
    double each = fmax((double)(weft_now() - began) / runs, 1), batch = (double)s->slot * 3 / 4 / MOST_RUNS / each;
    for (int sample = 0; rc >= 0 && sample < MOST_RUNS && (sample < LEAST_RUNS || weft_now() < until); sample++) {
        weft_ns took = 0;
        double done = 0;
        for (; rc >= 0 && (done < 1 || done < batch); done++) {
            memcpy(copy, s->frame, s->frame_size);
            weft_ns start = weft_now();
            rc = copy->coro->entry(copy);
            took += weft_now() - start;
        }
        if (rc >= 0)
            wb__sample(s->b, f->at->figure, f->at->row, f->at->column,
                       (s->w->operations > 0 ? s->w->operations : 1) * done * 1e9 / (double)(took > 0 ? took : 1));
    }
    free(copy);
    if (rc == WEFT_PARK) /* it would be this function that is called again */
        return -EINVAL;
    return rc < 0 ? rc : 0;
}
WEFT_CORO(repeat);

static int measure(struct sweep *s, struct setting *at)
{
    int *numbers = malloc(at->cpus * sizeof *numbers);
    struct wb__mask before;
    int rc = numbers != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < at->cpus; i++)
        numbers[i] = s->b->machine.cpu[at->cpu[i]].cpu;
    if (rc == 0 && (rc = wb__bind(numbers, at->cpus, &before)) == 0) {
        weft_options o = wb__options(at->cpus);
        o.pin = at->pin;
        if (at->randomly)
            (void)wb__steal_randomly(&o);
        rc = weft_run_with(&o, repeat, .s = s, .at = at);
        wb__unbind(&before);
    }
    free(numbers);
    return rc;
}

/* ---- sweeps ---- */

static void add(struct sweep *s, struct wb__figure *figure, size_t row, size_t column, enum wb__spread spread,
                size_t workers, unsigned pin, bool randomly)
{
    size_t *cpu = malloc(workers * sizeof *cpu);
    if (cpu == NULL || s->settings == MOST_SETTINGS) {
        s->b->error = cpu == NULL ? -ENOMEM : s->b->error;
        free(cpu);
        return;
    }
    wb__choose(&s->b->machine, spread, workers, cpu);
    s->setting[s->settings++] = (struct setting){figure, row, column, cpu, workers, pin, randomly};
}

static struct wb__figure *begin(struct sweep *s, const char *ending, const char *title, const char *what,
                                const char *kind, const char *column_axis, size_t rows, char **row, size_t columns,
                                char **column)
{
    const char *one = s->w->what != NULL ? s->w->what : "operations";
    char *id = wb__print("%s_%s", s->w->name, ending), *full = wb__print("%s: %s", s->w->name, title),
         *unit = wb__print("/s"), *text = wb__print("%s. One operation: %s.", what, one);
    struct wb__figure *f = NULL;
    if (id == NULL || full == NULL || unit == NULL || text == NULL || row == NULL || column == NULL)
        s->b->error = -ENOMEM;
    else
        f = wb__figure(s->b,
                       &(struct wb__text){.id = id,
                                          .section = s->w->name,
                                          .title = full,
                                          .what = text,
                                          .kind = kind,
                                          .unit = unit,
                                          .row_axis = "",
                                          .column_axis = column_axis,
                                          .higher = true},
                       rows, row, columns, column);
    free(id);
    free(full);
    free(unit);
    free(text);
    wb__names_free(row, rows);
    wb__names_free(column, columns);
    return f;
}

static char **words(const char *a, const char *b, const char *c)
{
    char **names = wb__names(3);
    const char *const from[] = {a, b, c};
    for (int i = 0; names != NULL && i < 3 && from[i] != NULL; i++)
        names[i] = wb__print("%s", from[i]);
    return names;
}

/* 1, 2, 3, 4, 6, 8, 12, 16 ..., the number of cores, and all. */
static size_t counts(const weft_bench *b, size_t out[], size_t room)
{
    size_t n = 0, most = b->options.workers, cores = b->machine.cores;
    for (size_t w = 1; w <= most && n + 2 < room; w = w < 4 ? w + 1 : (w & (w - 1)) == 0 ? w + w / 2 : w + w / 3) {
        if (cores > 0 && n > 0 && out[n - 1] < cores && w > cores)
            out[n++] = cores;
        out[n++] = w;
    }
    if (out[n - 1] != most)
        out[n++] = most;
    return n;
}

static void over_workers(struct sweep *s)
{
    weft_bench *b = s->b;
    size_t w[48], n = counts(b, w, sizeof w / sizeof *w);
    bool smt = b->machine.cores > 0 && b->machine.cores < b->machine.cpus;
    char **column = wb__names(n);
    for (size_t i = 0; column != NULL && i < n; i++)
        column[i] = wb__print("%zu", w[i]);
    struct wb__figure *f = begin(s, "workers", "scaling", "Rate over the number of workers, each pinned to a CPU",
                                 "curves", "workers", smt ? 2 : 1,
                                 words(smt ? "one thread of each core first" : "one worker for each CPU",
                                       smt ? "siblings together" : NULL, NULL),
                                 n, column);
    for (size_t i = 0; i < n; i++) {
        add(s, f, 0, i, WB_CORES, w[i], WEFT_PIN_CORE, false);
        if (smt && w[i] > 1)
            add(s, f, 1, i, WB_SIBLINGS, w[i], WEFT_PIN_CORE, false);
    }
    if (!smt)
        wb__note(b, "missing", "second hardware threads",
                 b->machine.cores > 0
                     ? "each core here has one hardware thread that this process may use: no curve with and without"
                     : "which CPUs share a core is not told here: no curve with and without");
}

static void over_pins(struct sweep *s)
{
    struct wb__figure *f =
        begin(s, "pins", "pin policy",
              "Rate with all workers, placed by the kernel, bound to their node, and to one CPU each", "bars", "", 3,
              words("none", "node", "core"), 1, words("rate", NULL, NULL));
    static const unsigned pins[] = {WEFT_PIN_NONE, WEFT_PIN_NODE, WEFT_PIN_CORE};
    for (size_t i = 0; i < 3; i++)
        add(s, f, i, 0, WB_CORES, s->b->options.workers, pins[i], false);
}

static void over_places(struct sweep *s)
{
    const struct wb__machine *m = &s->b->machine;
    size_t cores = m->cores > 0 ? m->cores : m->cpus, half = cores / 2;
    if (half > s->b->options.workers)
        half = s->b->options.workers;
    if ((m->caches <= 1 && m->nodes <= 1) || half < 2) {
        wb__note(
            s->b, "missing", "places",
            "all CPUs here share one cache and one node, or are too few: near together and far apart are the same");
        return;
    }
    struct wb__figure *f = begin(s, "places", "placement", "Rate with half of the cores, one worker each", "bars", "",
                                 2, words("neighbours", "spread", NULL), 1, words("rate", NULL, NULL));
    add(s, f, 0, 0, WB_COMPACT, half, WEFT_PIN_CORE, false);
    add(s, f, 1, 0, WB_CORES, half, WEFT_PIN_CORE, false);
}

static void over_stealing(struct sweep *s)
{
    weft_options o = wb__options(1);
    if (!wb__steal_randomly(&o)) {
        wb__note(s->b, "missing", "order of stealing",
                 "weft %s always asks the nearest worker first: nothing to set beside it", weft_version());
        return;
    }
    if (s->b->options.workers < 3) {
        wb__note(s->b, "missing", "order of stealing", "with two workers there is only one to steal from");
        return;
    }
    struct wb__figure *f =
        begin(s, "stealing", "order of stealing", "Rate with all workers, the nearest asked first, and anybody", "bars",
              "", 2, words("near first", "random", NULL), 1, words("rate", NULL, NULL));
    add(s, f, 0, 0, WB_CORES, s->b->options.workers, WEFT_PIN_CORE, false);
    add(s, f, 1, 0, WB_CORES, s->b->options.workers, WEFT_PIN_CORE, true);
}

static bool is_name(const char *name)
{
    return name != NULL && *name != '\0' &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] == '\0';
}

static bool taken(const weft_bench *b, const char *name)
{
    for (size_t i = 0; i < b->figures; i++) {
        if (strcmp(b->figure[i]->text.section, name) == 0)
            return true;
    }
    return false;
}

int weft_bench_run_(weft_bench *b, const weft_bench_workload *w, weft_frame *frame, size_t frame_size)
{
    if (w == NULL || w->size != sizeof *w || !is_name(w->name) || taken(b, w->name) ||
        !(w->operations >= 0 && w->operations <= MOST_OPERATIONS) || !(w->seconds >= 0 && w->seconds <= MOST_SECONDS) ||
        (w->sweeps & ~(unsigned)ALL_SWEEPS) != 0)
        return -EINVAL;
    if (weft_current_task() != NULL)
        return -EBUSY;
    struct sweep *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    *s = (struct sweep){.b = b, .w = w, .frame = frame, .frame_size = frame_size};
    unsigned sweeps = w->sweeps != 0 ? w->sweeps : ALL_SWEEPS;
    if ((sweeps & WEFT_BENCH_WORKERS) != 0)
        over_workers(s);
    if ((sweeps & WEFT_BENCH_PINS) != 0)
        over_pins(s);
    if ((sweeps & WEFT_BENCH_PLACES) != 0)
        over_places(s);
    if ((sweeps & WEFT_BENCH_STEALING) != 0)
        over_stealing(s);
    int rc = b->error;
    size_t turns = s->settings * b->rounds;
    s->slot = turns > 0 ? WEFT_SEC((w->seconds > 0 ? w->seconds : 20) / (double)turns) : 0;
    for (size_t turn = 0; turn < turns && rc == 0; turn++) {
        size_t i = turn % s->settings;
        b->round = (unsigned)(turn / s->settings);
        if (i == 0)
            wb__noise_look(b);
        rc = measure(s, &s->setting[b->round % 2 == 0 ? i : s->settings - 1 - i]);
        wb__progress(b, (double)(turn + 1) / (double)turns);
    }
    for (size_t i = 0; i < s->settings; i++)
        free(s->setting[i].cpu);
    free(s);
    return rc != 0 ? rc : b->error;
}
