/* SPDX-License-Identifier: Apache-2.0 */
/* weft-bench compare A.json B.json: each cell that both reports have, the ratio of the medians, and its interval by resampling the samples.
 *
 * A difference is called real when the interval leaves out 1 at the level 1 - 5 % / number of cells (so that all comparisons together
 * are wrong with 5 % at most, as far as the samples know), and is at least 1 %. "perhaps": only at 95 %. What differs between two runs of the
 * same machine is in the interval only as far as it differed between the rounds of each run. Main thread only. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology.h"

enum verdict { SAME, PERHAPS, REAL, FEW, VERDICTS };
static const char *const verdicts[] = {"none", "perhaps", "real", "few"};
static const double LEAST = 0.01;
enum { LEAST_SAMPLES = 3 };

struct cell {
    const json_t *figure; /* of A */
    const char *row, *column;
    struct wb__samples a, b;
    struct wb__interval ratio; /* at 95 % */
    enum verdict verdict;
};

struct comparison {
    json_t *a, *b;
    struct cell *cell;
    size_t cells;
    int error;
};

/* ---- reading ---- */

static const char *string(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

/* Which of these fields is not there, or of another type; NULL: none. */
struct wanted {
    const char *key;
    json_type type;
};
static const char *missing(const json_t *o, const struct wanted *wanted)
{
    while (wanted->key != NULL) {
        const json_t *field = json_object_get(o, wanted->key);
        if (field == NULL || json_typeof(field) != wanted->type)
            break;
        wanted++;
    }
    return wanted->key;
}

static bool all_strings(const json_t *list)
{
    size_t i;
    json_t *s;
    json_array_foreach(list, i, s)
    {
        if (!json_is_string(s))
            return false;
    }
    return true;
}

/* What is wrong with a report; NULL: it can be worked with. Files are edited by hand, and cut off by full disks. */
static const char *wrong(const json_t *o)
{
    static const struct wanted whole[] = {{"label", JSON_STRING}, {"date", JSON_STRING},   {"machine", JSON_OBJECT},
                                          {"notes", JSON_ARRAY},  {"figures", JSON_ARRAY}, {NULL, JSON_NULL}};
    static const struct wanted machine[] = {{"cpus", JSON_ARRAY}, {"nodes", JSON_ARRAY}, {NULL, JSON_NULL}};
    static const struct wanted figure[] = {{"id", JSON_STRING},     {"title", JSON_STRING},  {"what", JSON_STRING},
                                           {"unit", JSON_STRING},   {"better", JSON_STRING}, {"rows", JSON_ARRAY},
                                           {"columns", JSON_ARRAY}, {"samples", JSON_ARRAY}, {NULL, JSON_NULL}};
    if (strcmp(string(o, "format"), "weft-bench report") != 0)
        return "format";
    if (json_integer_value(json_object_get(o, "format_version")) != 1)
        return "format_version";
    const char *key = missing(o, whole);
    if (key == NULL)
        key = missing(json_object_get(o, "machine"), machine);
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(o, "figures"), i, f)
    {
        if (key == NULL)
            key = missing(f, figure);
        if (key == NULL && !(all_strings(json_object_get(f, "rows")) && all_strings(json_object_get(f, "columns"))))
            key = "rows, columns";
    }
    return key;
}

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *o = json_load_file(path, 0, &error);
    const char *key = o != NULL ? wrong(o) : NULL;
    if (o == NULL && error.line < 0) /* it could not even be opened */
        fprintf(stderr, "weft-bench compare: %s\n", error.text);
    else if (o == NULL)
        fprintf(stderr, "weft-bench compare: %s: %s (line %d)\n", path, error.text, error.line);
    else if (key != NULL) {
        fprintf(stderr, "weft-bench compare: %s: not a whole report of weft-bench topology: %s\n", path, key);
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* [[first round], [second round] ...]; anything else is no sample. */
static int read_samples(const json_t *rounds, struct wb__samples *out)
{
    size_t n = 0, i, k;
    json_t *round, *value;
    json_array_foreach(rounds, i, round) n += json_array_size(round);
    out->value = malloc((n + 1) * sizeof *out->value);
    out->round = malloc((n + 1) * sizeof *out->round);
    out->n = 0;
    if (out->value == NULL || out->round == NULL)
        return -ENOMEM;
    json_array_foreach(rounds, i, round)
    {
        json_array_foreach(round, k, value)
        {
            double x = json_number_value(value);
            if (json_is_number(value) && x > 0) {
                out->value[out->n] = x;
                out->round[out->n++] = (uint16_t)i;
            }
        }
    }
    return 0;
}

static const json_t *at(const json_t *figure, const char *key, size_t row, size_t column)
{
    return json_array_get(json_array_get(json_object_get(figure, key), row), column);
}

static size_t find_name(const json_t *names, const char *name)
{
    size_t i;
    json_t *n;
    json_array_foreach(names, i, n)
    {
        if (json_is_string(n) && strcmp(json_string_value(n), name) == 0)
            return i;
    }
    return SIZE_MAX;
}

static void add_cell(struct comparison *c, const json_t *fa, size_t ra, size_t ca, const json_t *fb, size_t rb,
                     size_t cb)
{
    struct cell *all = realloc(c->cell, (c->cells + 1) * sizeof *all);
    if (all == NULL) {
        c->error = -ENOMEM;
        return;
    }
    c->cell = all;
    struct cell *cell = &all[c->cells++];
    *cell = (struct cell){.figure = fa,
                          .row = json_string_value(json_array_get(json_object_get(fa, "rows"), ra)),
                          .column = json_string_value(json_array_get(json_object_get(fa, "columns"), ca))};
    if (read_samples(at(fa, "samples", ra, ca), &cell->a) < 0 || read_samples(at(fb, "samples", rb, cb), &cell->b) < 0)
        c->error = -ENOMEM;
    if (c->error != 0 || cell->a.n == 0 || cell->b.n == 0) {
        free(cell->a.value);
        free(cell->a.round);
        free(cell->b.value);
        free(cell->b.round);
        c->cells--;
    }
}

static void match(struct comparison *c, const json_t *fa, const json_t *fb)
{
    size_t r, k;
    json_t *row, *column;
    if (strcmp(string(fa, "unit"), string(fb, "unit")) != 0)
        return;
    json_array_foreach(json_object_get(fa, "rows"), r, row)
    {
        json_array_foreach(json_object_get(fa, "columns"), k, column)
        {
            if (!json_is_string(row) || !json_is_string(column))
                continue;
            size_t rb = find_name(json_object_get(fb, "rows"), json_string_value(row)),
                   cb = find_name(json_object_get(fb, "columns"), json_string_value(column));
            if (rb != SIZE_MAX && cb != SIZE_MAX)
                add_cell(c, fa, r, k, fb, rb, cb);
        }
    }
}

static void judge(struct comparison *c)
{
    for (size_t i = 0; i < c->cells; i++) {
        struct cell *cell = &c->cell[i];
        cell->ratio = wb__ratio(&cell->a, &cell->b, 0.95);
        if (!isfinite(cell->ratio.value) || !isfinite(cell->ratio.high) || cell->a.n < LEAST_SAMPLES ||
            cell->b.n < LEAST_SAMPLES) {
            cell->verdict = FEW;
            continue;
        }
        if ((cell->ratio.low <= 1 && cell->ratio.high >= 1) || fabs(cell->ratio.value - 1) < LEAST)
            continue;
        struct wb__interval strict = wb__ratio(&cell->a, &cell->b, 1 - 0.05 / (double)c->cells);
        cell->verdict = strict.low > 1 || strict.high < 1 ? REAL : PERHAPS;
    }
}

/* ---- telling ---- */

static void print_number(char *buf, size_t size, double x, const char *unit)
{
    static const struct {
        double least;
        const char *sign, *time; /* of units, of nanoseconds */
    } steps[] = {{1e9, "G", "s"}, {1e6, "M", "ms"}, {1e3, "k", "us"}, {0, "", "ns"}};
    bool time = strcmp(unit, "us") == 0 || strcmp(unit, "ns") == 0;
    x *= strcmp(unit, "us") == 0 ? 1e3 : 1;
    size_t i = 0;
    while (x < steps[i].least)
        i++;
    double v = steps[i].least > 0 ? x / steps[i].least : x;
    (void)snprintf(buf, size, "%.*f %s%s",
                   v < 10    ? 2
                   : v < 100 ? 1
                             : 0,
                   v, time ? steps[i].time : steps[i].sign, time ? "" : unit);
}

static const char *word(const struct cell *cell)
{
    bool higher = strcmp(string(cell->figure, "better"), "higher") == 0;
    if (cell->verdict == SAME || cell->verdict == FEW)
        return cell->verdict == SAME ? "no difference seen" : "too few samples";
    bool better = (cell->ratio.value > 1) == higher;
    return cell->verdict == REAL ? (better ? "B is better" : "B is worse")
           : better              ? "B better, perhaps"
                                 : "B worse, perhaps";
}

/* Over all cells of a figure: the median of their ratios, resampled over cells. */
static struct wb__interval overall(const struct cell *cell, size_t n)
{
    struct wb__samples s = {.value = malloc(n * sizeof *s.value), .round = calloc(n, sizeof *s.round), .n = n};
    struct wb__interval out = {NAN, NAN, NAN};
    if (s.value != NULL && s.round != NULL) {
        for (size_t i = 0; i < n; i++)
            s.value[i] = cell[i].ratio.value;
        out = wb__estimate(&s, 0.95);
    }
    free(s.value);
    free(s.round);
    return out;
}

static void tell(FILE *out, const struct comparison *c, bool all)
{
    size_t count[VERDICTS] = {0};
    fprintf(out, "A: %s, %s, %s\nB: %s, %s, %s\n", string(c->a, "label"),
            string(json_object_get(c->a, "machine"), "kernel"), string(c->a, "date"), string(c->b, "label"),
            string(json_object_get(c->b, "machine"), "kernel"), string(c->b, "date"));
    for (size_t i = 0; i < c->cells;) {
        size_t begin = i, end = i;
        for (; end < c->cells && c->cell[end].figure == c->cell[i].figure; end++)
            count[c->cell[end].verdict]++;
        const char *unit = string(c->cell[i].figure, "unit");
        fprintf(out, "\n%s (%s, %s is better): %zu compared", string(c->cell[i].figure, "title"), unit,
                string(c->cell[i].figure, "better"), end - i);
        if (end - i > 3) {
            struct wb__interval o = overall(&c->cell[i], end - i);
            fprintf(out, ", median ratio B/A %.3f (%.3f to %.3f)", o.value, o.low, o.high);
        }
        fprintf(out, "\n");
        for (; i < end; i++) {
            const struct cell *x = &c->cell[i];
            char a[32], b[32], where[96];
            if (!all && (x->verdict == SAME || x->verdict == FEW) && end - begin > 24)
                continue;
            print_number(a, sizeof a, wb__median(x->a.value, x->a.n), unit);
            print_number(b, sizeof b, wb__median(x->b.value, x->b.n), unit);
            (void)snprintf(where, sizeof where, "%s, %s", x->row, x->column);
            fprintf(out, "  %-36s %11s -> %11s  x %.3f (%.3f to %.3f)  %s\n", where, a, b, x->ratio.value, x->ratio.low,
                    x->ratio.high, word(x));
        }
    }
    fprintf(out, "\n%zu cells compared: %zu %s real, %zu perhaps, %zu not seen, %zu with too few samples\n", c->cells,
            count[REAL], count[REAL] == 1 ? "difference is" : "differences are", count[PERHAPS], count[SAME],
            count[FEW]);
    for (int k = 0; k < 2; k++) {
        size_t i;
        json_t *note;
        json_array_foreach(json_object_get(k == 0 ? c->a : c->b, "notes"), i, note)
        {
            if (strcmp(string(note, "kind"), "noise") == 0)
                fprintf(out, "%c was disturbed: %s: %s\n", 'A' + k, string(note, "what"), string(note, "text"));
        }
    }
}

/* Reports come from anywhere: nothing in them is to be taken for an order to the terminal. */
static void put_clean(FILE *to, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0'; s++) {
        bool control = (*s < ' ' && *s != '\n') || *s == 0x7f || (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0);
        fputc(control ? '?' : *s, to);
        s += *s == 0xc2 && control;
    }
}

static int print(const struct comparison *c, bool all)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return -ENOMEM;
    tell(out, c, all);
    int rc = ferror(out) | fclose(out) ? -ENOMEM : 0;
    if (rc == 0)
        put_clean(stdout, text);
    free(text);
    return rc;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *side(json_t *report)
{
    json_t *o = json_object(), *machine = json_deep_copy(json_object_get(report, "machine"));
    static const char *const keys[] = {"label", "date", "title", "seconds", "rounds", "workers", "notes"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        (void)json_object_set(o, keys[i], json_object_get(report, keys[i]));
    (void)json_object_set_new(o, "machine", machine);
    return o;
}

static int write_page(const struct comparison *c, const char *path)
{
    json_t *o = json_object(), *cells = json_array();
    (void)json_object_set_new(o, "format", json_string("weft-bench comparison"));
    (void)json_object_set_new(o, "a", side(c->a));
    (void)json_object_set_new(o, "b", side(c->b));
    for (size_t i = 0; i < c->cells; i++) {
        const struct cell *x = &c->cell[i];
        json_t *j = json_object();
        static const char *const keys[] = {"id", "section", "title", "what", "unit", "better", "kind"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            (void)json_object_set(j, keys[k], json_object_get(x->figure, keys[k]));
        (void)json_object_set_new(j, "row", json_string(x->row));
        (void)json_object_set_new(j, "column", json_string(x->column));
        (void)json_object_set_new(j, "a", number(wb__median(x->a.value, x->a.n)));
        (void)json_object_set_new(j, "b", number(wb__median(x->b.value, x->b.n)));
        (void)json_object_set_new(j, "ratio", number(x->ratio.value));
        (void)json_object_set_new(j, "low", number(x->ratio.low));
        (void)json_object_set_new(j, "high", number(x->ratio.high));
        (void)json_object_set_new(j, "verdict", json_string(verdicts[x->verdict]));
        (void)json_object_set_new(j, "says", json_string(word(x)));
        (void)json_array_append_new(cells, j);
    }
    (void)json_object_set_new(o, "cells", cells);
    int rc = wb__write_page(path, "weft-bench compare", o);
    json_decref(o);
    return rc;
}

int compare_command(int argc, char **argv)
{
    static const struct option options[] = {
        {"html", required_argument, NULL, 'h'}, {"all", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
    const char *html = NULL;
    bool all = false;
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (k != 'h' && k != 'a')
            return 2;
        html = k == 'h' ? optarg : html;
        all = all || k == 'a';
    }
    if (argc - optind != 2) {
        fprintf(stderr, "weft-bench compare: two reports are needed, not %d\nusage:\n", argc - optind);
        topology_usage(stderr);
        return 2;
    }
    struct comparison c = {.a = load(argv[optind]), .b = load(argv[optind + 1])};
    int rc = c.a == NULL || c.b == NULL ? 2 : 0;
    size_t i, k;
    json_t *fa, *fb;
    if (rc == 0) {
        json_array_foreach(json_object_get(c.a, "figures"), i, fa)
        {
            json_array_foreach(json_object_get(c.b, "figures"), k, fb)
            {
                if (strcmp(string(fa, "id"), string(fb, "id")) == 0)
                    match(&c, fa, fb);
            }
        }
        judge(&c);
        int written = print(&c, all);
        if (written == 0 && c.error == 0 && html != NULL)
            written = write_page(&c, html);
        written = written != 0 ? written : c.error;
        if (written < 0) {
            fprintf(stderr, "weft-bench compare: %s: %s\n", html != NULL ? html : "reading", weft_strerror(written));
            rc = 1;
        }
    }
    for (i = 0; i < c.cells; i++) {
        free(c.cell[i].a.value);
        free(c.cell[i].a.round);
        free(c.cell[i].b.value);
        free(c.cell[i].b.round);
    }
    free(c.cell);
    json_decref(c.a);
    json_decref(c.b);
    return rc;
}
