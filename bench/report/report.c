/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a report, its figures, notes and progress. One thread at a time; see report.h. */
#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

char *wb__print(const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    int n = vasprintf(&text, format, list);
    va_end(list);
    return n >= 0 ? text : NULL;
}

char **wb__names(size_t n)
{
    return calloc(n + 1, sizeof(char *));
}

void wb__names_free(char **names, size_t n)
{
    for (size_t i = 0; names != NULL && i < n; i++)
        free(names[i]);
    free(names);
}

/* ---- figures ---- */

static char *copy(weft_bench *b, const char *text)
{
    char *s = strdup(text != NULL ? text : "");
    if (s == NULL)
        b->error = -ENOMEM;
    return s;
}

static char **copy_names(weft_bench *b, size_t n, char *const name[])
{
    char **out = wb__names(n);
    if (out == NULL)
        b->error = -ENOMEM;
    for (size_t i = 0; out != NULL && i < n; i++)
        out[i] = copy(b, name != NULL ? name[i] : "");
    return out;
}

static void free_figure(struct wb__figure *f)
{
    if (f == NULL)
        return;
    const char *const texts[] = {f->text.id,   f->text.section, f->text.title,    f->text.what,
                                 f->text.kind, f->text.unit,    f->text.row_axis, f->text.column_axis};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((void *)(uintptr_t)texts[i]);
    for (size_t i = 0; f->cell != NULL && i < f->rows * f->columns; i++) {
        free(f->cell[i].value);
        free(f->cell[i].round);
    }
    free(f->cell);
    free(f->estimate);
    wb__names_free(f->row, f->rows);
    wb__names_free(f->column, f->columns);
    free(f);
}

struct wb__figure *wb__find(const weft_bench *b, const char *id)
{
    for (size_t i = 0; i < b->figures; i++) {
        if (strcmp(b->figure[i]->text.id, id) == 0)
            return b->figure[i];
    }
    return NULL;
}

struct wb__figure *wb__figure(weft_bench *b, const struct wb__text *text, size_t rows, char *const row[],
                              size_t columns, char *const column[])
{
    struct wb__figure *f = wb__find(b, text->id);
    if (f != NULL)
        return f;
    int before = b->error;
    b->error = 0;
    struct wb__figure **all = realloc(b->figure, (b->figures + 1) * sizeof *all);
    if (all != NULL)
        b->figure = all;
    f = all != NULL ? calloc(1, sizeof *f) : NULL;
    if (f != NULL) {
        f->text = (struct wb__text){copy(b, text->id),       copy(b, text->section),     copy(b, text->title),
                                    copy(b, text->what),     copy(b, text->kind),        copy(b, text->unit),
                                    copy(b, text->row_axis), copy(b, text->column_axis), text->higher};
        f->rows = rows;
        f->columns = columns;
        f->row = copy_names(b, rows, row);
        f->column = copy_names(b, columns, column);
        f->cell = calloc(rows * columns + 1, sizeof *f->cell);
        f->estimate = calloc(rows * columns + 1, sizeof *f->estimate);
    }
    if (f == NULL || f->cell == NULL || f->estimate == NULL || b->error != 0) {
        free_figure(f);
        b->error = -ENOMEM;
        return NULL;
    }
    b->error = before;
    b->figure[b->figures++] = f;
    return f;
}

void wb__sample(weft_bench *b, struct wb__figure *f, size_t row, size_t column, double value)
{
    if (f == NULL || !isfinite(value))
        return;
    struct wb__samples *s = &f->cell[row * f->columns + column];
    if ((s->n & (s->n - 1)) == 0) { /* room for a power of two */
        size_t room = s->n == 0 ? 1 : 2 * s->n;
        double *v = realloc(s->value, room * sizeof *v);
        if (v != NULL)
            s->value = v;
        uint16_t *r = realloc(s->round, room * sizeof *r);
        if (r != NULL)
            s->round = r;
        if (v == NULL || r == NULL) {
            b->error = -ENOMEM;
            return;
        }
    }
    s->value[s->n] = value;
    s->round[s->n++] = (uint16_t)b->round;
}

void wb__settle(weft_bench *b)
{
    for (size_t i = 0; i < b->figures; i++) {
        struct wb__figure *f = b->figure[i];
        for (size_t k = 0; k < f->rows * f->columns; k++)
            f->estimate[k] = wb__estimate(&f->cell[k], 0.95);
    }
}

/* ---- notes ---- */

void wb__note(weft_bench *b, const char *kind, const char *what, const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0)
        text = NULL;
    va_end(list);
    for (size_t i = 0; text != NULL && i < b->notes; i++) {
        if (strcmp(b->note[i].what, what) == 0 && strcmp(b->note[i].text, text) == 0) {
            free(text);
            return;
        }
    }
    struct wb__note *all = text != NULL ? realloc(b->note, (b->notes + 1) * sizeof *all) : NULL;
    if (all != NULL) {
        b->note = all;
        all[b->notes] = (struct wb__note){strdup(kind), strdup(what), text};
        if (all[b->notes].kind != NULL && all[b->notes].what != NULL) {
            b->notes++;
            return;
        }
        free(all[b->notes].kind);
        free(all[b->notes].what);
    }
    free(text);
    b->error = -ENOMEM;
}

/* ---- progress ---- */

void wb__progress(weft_bench *b, double part)
{
    double share = b->done + b->share * (part < 0 ? 0 : part > 1 ? 1 : part);
    if (b->options.progress != NULL)
        b->options.progress(b->options.progress_user, share > 1 ? 1 : share, b->doing);
}

void wb__part(weft_bench *b, const char *what, double share)
{
    b->done += b->share;
    b->share = share;
    b->doing = what;
    wb__progress(b, 0);
}

/* ---- opening and closing ---- */

void weft_bench_close(weft_bench *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->figures; i++)
        free_figure(b->figure[i]);
    free(b->figure);
    for (size_t i = 0; i < b->notes; i++) {
        free(b->note[i].kind);
        free(b->note[i].what);
        free(b->note[i].text);
    }
    free(b->note);
    wb__noise_free(b);
    wb__machine_free(&b->machine);
    free(b->title);
    free(b->label);
    free(b);
}

int weft_bench_open(weft_bench **out, const weft_bench_options *options)
{
    enum { MOST_ROUNDS = 1000 };
    if (options != NULL && (options->size != sizeof *options || options->rounds > MOST_ROUNDS))
        return -EINVAL;
    weft_bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    if (options != NULL)
        b->options = *options;
    struct utsname name;
    b->title = copy(b, b->options.title != NULL ? b->options.title : "weft-bench");
    b->label = copy(b, b->options.label != NULL ? b->options.label
                       : uname(&name) == 0      ? name.nodename
                                                : "this machine");
    b->options.title = b->options.label = NULL; /* the caller's; ours are above */
    b->rounds = b->options.rounds != 0 ? b->options.rounds : 3;
    b->doing = "";
    b->began = weft_now();
    int rc = wb__machine_read(&b->machine);
    if (rc == 0 && b->error == 0) {
        if (b->options.workers == 0 || b->options.workers > b->machine.cpus)
            b->options.workers = (unsigned)b->machine.cpus;
        if (b->options.workers > WEFT_MAX_WORKERS)
            b->options.workers = WEFT_MAX_WORKERS;
        wb__noise_begin(b);
    }
    rc = rc != 0 ? rc : b->error;
    if (rc != 0) {
        weft_bench_close(b);
        return rc;
    }
    *out = b;
    return 0;
}
