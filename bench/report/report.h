/* SPDX-License-Identifier: Apache-2.0 */
/* bench/report/report.h -- a report in the making: figures with their samples, the machine, and what to hold against the figures.
 *
 * A figure is a table of cells, a cell is the samples taken for it. Matrices, curves, bars and latencies differ only in how they are
 * drawn. Short memory is remembered (b->error) and told by weft_bench_write; until then everything may be called. One thread at a time. */
#ifndef BENCH_REPORT_REPORT_H
#define BENCH_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <weft/bench.h>

#include "noise.h"
#include "place.h"
#include "stats.h"

/* What a figure is; texts are copied. Kinds: "matrix" (from each row to each column), "curves" (a curve for each row), "bars" (a bar for
 * each cell), "latency" (columns are percentiles). */
struct wb__text {
    const char *id;      /* unique; stays the same from version to version, since reports are compared by it */
    const char *section; /* figures of a section stand together */
    const char *title, *what, *kind, *unit, *row_axis, *column_axis;
    bool higher; /* is better */
};

struct wb__figure {
    struct wb__text text;
    size_t rows, columns;
    char **row, **column;          /* names */
    struct wb__samples *cell;      /* of row r and column c: [r * columns + c] */
    struct wb__interval *estimate; /* of each cell, at 95 %; made by wb__settle */
};

struct wb__note {
    char *
        kind; /* "noise": figures suffer; "limit": this machine cannot show it; "missing": what and why; "domains": what was found */
    char *what, *text;
};

struct weft_bench {
    weft_bench_options options;
    char *title, *label;
    unsigned rounds, round; /* the one that is under way */
    int error;
    struct wb__machine machine;
    struct wb__noise noise;
    struct wb__figure **figure;
    size_t figures;
    struct wb__note *note;
    size_t notes;
    weft_ns began;
    double done, share; /* of the whole: what is over, and what is under way */
    const char *doing;
};

/* The figure of this id; made when there is none. NULL: short of memory; the functions below take that. */
struct wb__figure *wb__figure(weft_bench *b, const struct wb__text *text, size_t rows, char *const row[],
                              size_t columns, char *const column[]);
struct wb__figure *wb__find(const weft_bench *b, const char *id);
/* One more sample, of the round under way. What is no number is left out. */
void wb__sample(weft_bench *b, struct wb__figure *f, size_t row, size_t column, double value);

/* All samples are there: estimates are made. */
void wb__settle(weft_bench *b);

/* The same note twice is one. */
void wb__note(weft_bench *b, const char *kind, const char *what, const char *format, ...) WEFT_PRINTF(4, 5);

/* Names for rows and columns: n texts, freed together. */
char **wb__names(size_t n);
char *wb__print(const char *format, ...) WEFT_PRINTF(1, 2);
void wb__names_free(char **names, size_t n);

/* Progress: a part begins that is `share` of the whole (of all rounds); how far it is, 0 to 1. */
void wb__part(weft_bench *b, const char *what, double share);
void wb__progress(weft_bench *b, double part);

/* The whole report, settled, as JSON (jansson's json_t), with the samples or only with what is drawn. A new reference; NULL: short of memory. */
struct json_t *wb__json(const weft_bench *b, bool samples);
/* Could the three files of a report be written there? 0 or -errno. */
int wb__may_write(const char *prefix);
/* Write the page with this JSON in it. 0 or -errno. */
int wb__write_page(const char *path, const char *title, const struct json_t *data);
int wb__write_json(const char *path, const struct json_t *data);

#endif
