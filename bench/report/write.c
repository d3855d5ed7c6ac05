/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the files of a report: JSON, CSV, and the page, which is a template with the JSON in it. One thread at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "report.h"

enum { DIGITS = 6 };

/* page.html, page.css and page.js, as bytes that end with a 0 (cmake/EmbedText.cmake). */
extern const char wb__page_html[], wb__page_css[], wb__page_js[];

static int finish(FILE *f, int rc)
{
    if (ferror(f) != 0)
        rc = rc < 0 ? rc : -EIO;
    if (fclose(f) != 0 && rc == 0)
        rc = -errno;
    return rc;
}

int wb__write_json(const char *path, const json_t *data)
{
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return -errno;
    int rc = json_dumpf(data, f, JSON_REAL_PRECISION(DIGITS) | JSON_COMPACT) == 0 ? 0 : -EIO;
    fputc('\n', f);
    return finish(f, rc);
}

/* ---- the page ---- */

/* In a script element nothing of HTML is read but its end and comments: no "<" gets there. */
static int put_json(const char *text, size_t n, void *to)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '<')
            fputs("\\u003c", to);
        else
            fputc(text[i], to);
    }
    return 0;
}

static void put_html(const char *s, FILE *to)
{
    for (; *s != '\0'; s++) {
        if (*s == '<')
            fputs("&lt;", to);
        else if (*s == '&')
            fputs("&amp;", to);
        else
            fputc(*s, to);
    }
}

int wb__write_page(const char *path, const char *title, const json_t *data)
{
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return -errno;
    int rc = 0;
    /* @TITLE@, @STYLE@, @DATA@, @SCRIPT@ stand once each in the template. */
    for (const char *s = wb__page_html; *s != '\0';) {
        const char *mark = strchr(s, '@');
        size_t n = mark != NULL ? (size_t)(mark - s) : strlen(s);
        (void)fwrite(s, 1, n, f);
        s += n;
        if (strncmp(s, "@TITLE@", 7) == 0) {
            put_html(title, f);
            s += 7;
        } else if (strncmp(s, "@STYLE@", 7) == 0) {
            fputs(wb__page_css, f);
            s += 7;
        } else if (strncmp(s, "@DATA@", 6) == 0) {
            rc = json_dump_callback(data, put_json, f, JSON_REAL_PRECISION(DIGITS) | JSON_COMPACT) == 0 ? 0 : -EIO;
            s += 6;
        } else if (strncmp(s, "@SCRIPT@", 8) == 0) {
            fputs(wb__page_js, f);
            s += 8;
        } else if (*s != '\0') {
            fputc(*s++, f);
        }
    }
    return finish(f, rc);
}

/* ---- CSV ---- */

static void put_cell(const char *s, FILE *to)
{
    fputc('"', to);
    for (; *s != '\0'; s++) {
        if (*s == '"')
            fputc('"', to);
        fputc(*s, to);
    }
    fputc('"', to);
}

static int write_csv(const weft_bench *b, const char *path)
{
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return -errno;
    struct utsname u;
    char line[256];
    fprintf(f, "# weft-bench %s, label %s, %zu CPUs, %zu nodes", weft_version(), b->label, b->machine.cpus,
            b->machine.nodes);
    if (uname(&u) == 0)
        fprintf(f, ", %s %s %s", u.sysname, u.release, u.machine);
    fprintf(f, ", %s", wb__cpuinfo("model name", line, sizeof line));
    wb__read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line);
    fprintf(f, ", governor %s\n", line[0] != '\0' ? line : "not visible");
    for (size_t i = 0; i < b->machine.cpus; i++) {
        const struct wb__cpu *c = &b->machine.cpu[i];
        fprintf(f, "# CPU %d: core %d, cache %d, node %d, package %d\n", c->cpu, c->core, c->cache, c->node,
                c->package);
    }
    for (size_t i = 0; i < b->notes; i++)
        fprintf(f, "# %s: %s: %s\n", b->note[i].kind, b->note[i].what, b->note[i].text);
    fprintf(f, "figure,row,column,unit,median,low95,high95,samples\n");
    for (size_t i = 0; i < b->figures; i++) {
        const struct wb__figure *g = b->figure[i];
        for (size_t k = 0; k < g->rows * g->columns; k++) {
            struct wb__interval e = g->estimate[k];
            if (isnan(e.value)) /* not measured: no line */
                continue;
            put_cell(g->text.id, f);
            fputc(',', f);
            put_cell(g->row[k / g->columns], f);
            fputc(',', f);
            put_cell(g->column[k % g->columns], f);
            fputc(',', f);
            put_cell(g->text.unit, f);
            fprintf(f, ",%.6g,%.6g,%.6g,%zu\n", e.value, e.low, e.high, g->cell[k].n);
        }
    }
    return finish(f, 0);
}

static const char *const endings[] = {"json", "csv", "html"};

static int may_write(const char *path)
{
    struct stat found;
    if (stat(path, &found) == 0)
        return S_ISDIR(found.st_mode) ? -EISDIR : access(path, W_OK) == 0 ? 0 : -errno;
    char *folder = wb__print("%s", path);
    if (folder == NULL)
        return -ENOMEM;
    int rc = access(dirname(folder), W_OK | X_OK) == 0 ? 0 : -errno;
    free(folder);
    return rc;
}

int wb__may_write(const char *prefix)
{
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        char *path = wb__print("%s.%s", prefix, endings[i]);
        rc = path != NULL ? may_write(path) : -ENOMEM;
        free(path);
    }
    return rc;
}

int weft_bench_write(weft_bench *b, const char *prefix)
{
    if (b->error != 0)
        return b->error;
    if (prefix == NULL || *prefix == '\0')
        return -EINVAL;
    wb__noise_look(b);
    wb__noise_tell(b);
    wb__settle(b);
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        char *path = wb__print("%s.%s", prefix, endings[i]);
        json_t *data = i == 1 ? NULL : wb__json(b, i == 0);
        if (path == NULL || (i != 1 && data == NULL))
            rc = -ENOMEM;
        else
            rc = i == 0   ? wb__write_json(path, data)
                 : i == 1 ? write_csv(b, path)
                          : wb__write_page(path, b->title, data);
        json_decref(data);
        free(path);
    }
    return rc;
}
