/* SPDX-License-Identifier: Apache-2.0 */
/* A report as JSON: the machine, notes, figures. Field by field in docs/benchmarking.md. Texts are given to jansson, which refuses what is no UTF-8:
 * such a text becomes "?". One thread at a time. */
#define _GNU_SOURCE
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "report.h"

static json_t *text(const char *s)
{
    json_t *t = json_string(s != NULL ? s : "");
    return t != NULL ? t : json_string("?");
}

static void set(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* ---- the machine ---- */

static void set_line(json_t *o, const char *key, const char *path)
{
    char line[256];
    if (wb__read_line(path, line, sizeof line)[0] != '\0')
        set(o, key, text(line));
}

static const char *compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

static json_t *machine(const weft_bench *b)
{
    const struct wb__machine *m = &b->machine;
    json_t *o = json_object();
    struct utsname u;
    char line[256];
    if (uname(&u) == 0) {
        set(o, "host", text(u.nodename));
        set(o, "kernel", json_sprintf("%s %s", u.sysname, u.release));
        set(o, "architecture", text(u.machine));
    }
    wb__cpuinfo("model name", line, sizeof line);
    set(o, "cpu_model", text(line[0] != '\0' ? line : wb__cpuinfo("CPU part", line, sizeof line)));
    set_line(o, "governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    set_line(o, "frequency_driver", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver");
    set_line(o, "idle_governor", "/sys/devices/system/cpu/cpuidle/current_governor");
    set_line(o, "idle_driver", "/sys/devices/system/cpu/cpuidle/current_driver");
    set_line(o, "boost", "/sys/devices/system/cpu/cpufreq/boost");
    set_line(o, "smt_control", "/sys/devices/system/cpu/smt/control");
    set_line(o, "isolated_cpus", "/sys/devices/system/cpu/isolated");
    set_line(o, "clock_source", "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    set_line(o, "huge_pages", "/sys/kernel/mm/transparent_hugepage/enabled");
    set(o, "weft", text(weft_version()));
    set(o, "compiler", text(compiler()));
    set(o, "memory", json_integer((json_int_t)m->memory));
    if (b->noise.quota > 0)
        set(o, "cpu_quota", number(b->noise.quota));
    set(o, "cores", json_integer(m->cores));
    set(o, "last_caches", json_integer(m->caches));
    set(o, "packages", json_integer(m->packages));
    json_t *caches = json_object();
    for (int level = 1; level <= 4; level++) {
        if (m->cache_size[level] != 0) {
            (void)snprintf(line, sizeof line, "L%d", level);
            set(caches, line, json_integer((json_int_t)m->cache_size[level]));
        }
    }
    set(o, "caches", caches);
    json_t *cpus = json_array(), *nodes = json_array();
    for (size_t i = 0; i < m->cpus; i++)
        (void)json_array_append_new(cpus, json_pack("{s:i,s:i,s:i,s:i,s:i,s:i}", "cpu", m->cpu[i].cpu, "core",
                                                    m->cpu[i].core, "cache", m->cpu[i].cache, "node", m->cpu[i].node,
                                                    "package", m->cpu[i].package, "smt", (int)m->cpu[i].smt));
    for (size_t i = 0; i < m->nodes; i++) {
        json_t *n = json_pack("{s:i,s:i,s:I}", "node", m->node[i].node, "cpus", (int)m->node[i].cpus, "memory",
                              (json_int_t)m->node[i].memory);
        json_t *distance = json_array();
        for (size_t j = 0; m->distance != NULL && j < m->nodes; j++)
            (void)json_array_append_new(distance, json_integer((json_int_t)m->distance[i * m->nodes + j]));
        set(n, "distance", distance);
        (void)json_array_append_new(nodes, n);
    }
    set(o, "cpus", cpus);
    set(o, "nodes", nodes);
    return o;
}

/* ---- figures ---- */

static json_t *names(char *const name[], size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(a, text(name[i]));
    return a;
}

static json_t *samples(const struct wb__samples *s)
{
    json_t *all = json_array(), *round = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || s->round[i] != s->round[i - 1])
            (void)json_array_append_new(all, round = json_array());
        (void)json_array_append_new(round, number(s->value[i]));
    }
    return all;
}

static json_t *figure(const struct wb__figure *f, bool with_samples)
{
    json_t *o = json_object();
    const struct wb__text *t = &f->text;
    set(o, "id", text(t->id));
    set(o, "section", text(t->section));
    set(o, "title", text(t->title));
    set(o, "what", text(t->what));
    set(o, "kind", text(t->kind));
    set(o, "unit", text(t->unit));
    set(o, "better", text(t->higher ? "higher" : "lower"));
    set(o, "row_axis", text(t->row_axis));
    set(o, "column_axis", text(t->column_axis));
    set(o, "rows", names(f->row, f->rows));
    set(o, "columns", names(f->column, f->columns));
    json_t *all[5] = {json_array(), json_array(), json_array(), json_array(), json_array()};
    for (size_t r = 0; r < f->rows; r++) {
        json_t *line[5] = {json_array(), json_array(), json_array(), json_array(), json_array()};
        for (size_t c = 0; c < f->columns; c++) {
            const struct wb__samples *s = &f->cell[r * f->columns + c];
            struct wb__interval i = f->estimate[r * f->columns + c];
            (void)json_array_append_new(line[0], number(i.value));
            (void)json_array_append_new(line[1], number(i.low));
            (void)json_array_append_new(line[2], number(i.high));
            (void)json_array_append_new(line[3], json_integer((json_int_t)s->n));
            (void)json_array_append_new(line[4], with_samples ? samples(s) : json_null());
        }
        for (int k = 0; k < 5; k++)
            (void)json_array_append_new(all[k], line[k]);
    }
    static const char *const keys[] = {"values", "low", "high", "count", "samples"};
    for (int k = 0; k < 5; k++) {
        if (k < 4 || with_samples)
            set(o, keys[k], all[k]);
        else
            json_decref(all[k]);
    }
    return o;
}

json_t *wb__json(const weft_bench *b, bool with_samples)
{
    json_t *o = json_object(), *figures = json_array(), *notes = json_array();
    time_t now = time(NULL);
    struct tm utc;
    char date[64] = "";
    if (gmtime_r(&now, &utc) != NULL)
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    set(o, "format", text("weft-bench report"));
    set(o, "format_version", json_integer(1));
    set(o, "title", text(b->title));
    set(o, "label", text(b->label));
    set(o, "date", text(date));
    set(o, "seconds", number((double)(weft_now() - b->began) / 1e9));
    set(o, "rounds", json_integer(b->rounds));
    set(o, "workers", json_integer(b->options.workers));
    set(o, "machine", machine(b));
    for (size_t i = 0; i < b->notes; i++)
        (void)json_array_append_new(notes, json_pack("{s:o,s:o,s:o}", "kind", text(b->note[i].kind), "what",
                                                     text(b->note[i].what), "text", text(b->note[i].text)));
    set(o, "notes", notes);
    for (size_t i = 0; i < b->figures; i++)
        (void)json_array_append_new(figures, figure(b->figure[i], with_samples));
    set(o, "figures", figures);
    return o;
}
