/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of disturbances: /proc/stat (other load, time stolen by a hypervisor), cpu.stat of the control group (throttling),
 * /proc/pressure/cpu; and a fixed piece of work, timed on each CPU now and then (clock frequency). See noise.h. */
#define _GNU_SOURCE
#include "noise.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "report.h"

char *wb__read_line(const char *path, char *buf, size_t size)
{
    FILE *f = fopen(path, "r");
    if (f == NULL || fgets(buf, (int)size, f) == NULL)
        buf[0] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    if (f != NULL)
        fclose(f);
    return buf;
}

char *wb__cpuinfo(const char *key, char *buf, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    size_t length = strlen(key);
    bool found = false;
    while (f != NULL && !found && fgets(buf, (int)size, f) != NULL)
        found = strncmp(buf, key, length) == 0 && strchr("\t :", buf[length]) != NULL;
    if (f != NULL)
        fclose(f);
    const char *value = found ? strchr(buf, ':') : NULL;
    value = value == NULL ? "" : value + 1 + (value[1] == ' ');
    memmove(buf, value, strlen(value) + 1);
    buf[strcspn(buf, "\n")] = '\0';
    return buf;
}

/* ---- the control group: the second version's own group and those above it, or the first version's cpu hierarchy ---- */

static double field(const char *path, const char *name)
{
    FILE *f = fopen(path, "r");
    char line[256], key[64];
    double value, found = -1;
    while (f != NULL && found < 0 && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%63s %lf", key, &value) == 2 && strcmp(key, name) == 0)
            found = value;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

static void look_at_group(const char *folder, struct wb__counts *c, double *quota)
{
    char path[4400], line[128];
    (void)snprintf(path, sizeof path, "%s/cpu.stat", folder);
    double periods = field(path, "nr_throttled"), us = field(path, "throttled_usec"),
           ns = field(path, "throttled_time");
    double seconds = us >= 0 ? us / 1e6 : ns >= 0 ? ns / 1e9 : -1;
    if (periods >= 0 && seconds >= 0) {
        c->periods = fmax(c->periods, 0) + periods;
        c->throttled = fmax(c->throttled, 0) + seconds;
    }
    (void)snprintf(path, sizeof path, "%s/cpu.max", folder);
    double limit, period, found = 0;
    if (sscanf(wb__read_line(path, line, sizeof line), "%lf %lf", &limit, &period) == 2 && period > 0) {
        found = limit / period;
    } else {
        (void)snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        limit = atof(wb__read_line(path, line, sizeof line));
        (void)snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        period = atof(wb__read_line(path, line, sizeof line));
        found = limit > 0 && period > 0 ? limit / period : 0;
    }
    if (found > 0 && (*quota <= 0 || found < *quota))
        *quota = found;
}

static void look_at_groups(struct wb__counts *c, double *quota)
{
    FILE *f = fopen("/proc/self/cgroup", "r");
    char line[4096], folder[4300];
    c->throttled = c->periods = -1;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        controllers++;
        bool second = *controllers == '\0',
             first = strcmp(controllers, "cpu") == 0 || strstr(controllers, "cpu,cpuacct") != NULL;
        if (!second && !first)
            continue;
        for (;;) { /* up to the root: each of them may stop us */
            (void)snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", first ? "/cpu" : "", path);
            look_at_group(folder, c, quota);
            char *slash = strrchr(path, '/');
            if (slash == NULL || path[1] == '\0')
                break;
            slash[slash == path] = '\0';
        }
    }
    if (f != NULL)
        fclose(f);
}

/* ---- the whole machine ---- */

static void count(struct wb__counts *c, double *quota)
{
    char line[512];
    double v[8] = {0}, tick = (double)sysconf(_SC_CLK_TCK);
    int n = sscanf(wb__read_line("/proc/stat", line, sizeof line), "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &v[0], &v[1],
                   &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    c->total = 0;
    for (int i = 0; i < n; i++)
        c->total += v[i] / tick;
    c->idle = (v[3] + v[4]) / tick;
    c->steal = v[7] / tick;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    c->own = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    const char *total = strstr(wb__read_line("/proc/pressure/cpu", line, sizeof line), "total=");
    c->pressure = total != NULL ? atof(total + 6) / 1e6 : -1;
    look_at_groups(c, quota);
}

void wb__noise_begin(weft_bench *b)
{
    b->noise.speed = calloc(b->machine.cpus, sizeof *b->noise.speed);
    if (b->noise.speed == NULL)
        b->error = -ENOMEM;
    count(&b->noise.before, &b->noise.quota);
}

void wb__noise_free(weft_bench *b)
{
    free(b->noise.speed);
    b->noise.speed = NULL;
}

/* Each step needs the one before: the time is that of so many multiplications, whatever the machine does in parallel. */
static uint64_t chain(uint64_t x)
{
    for (int i = 0; i < 100000; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

void wb__noise_look(weft_bench *b)
{
    enum { TIMES = 7 };
    for (size_t i = 0; b->noise.speed != NULL && i < b->machine.cpus; i++) {
        struct wb__mask before;
        if (wb__bind(&b->machine.cpu[i].cpu, 1, &before) != 0)
            continue;
        double best = INFINITY;
        uint64_t x = i + 1;
        for (int k = 0; k < TIMES; k++) {
            weft_ns start = weft_now();
            x = chain(x);
            best = fmin(best, (double)(weft_now() - start));
        }
        wb__unbind(&before);
        struct wb__speed *s = &b->noise.speed[i];
        best += x == 0 ? 1 : 0; /* used */
        s->best = s->best == 0 ? best : fmin(s->best, best);
        s->worst = fmax(s->worst, best);
    }
}

void wb__noise_tell(weft_bench *b)
{
    struct wb__counts now, *was = &b->noise.before;
    count(&now, &b->noise.quota);
    double total = fmax(now.total - was->total, 0.01), own = now.own - was->own, steal = now.steal - was->steal;
    double others = total - (now.idle - was->idle) - steal - own;
    if (others > 0.03 * total)
        wb__note(b, "noise", "other load",
                 "other programs used %.0f %% of the machine's CPU time during the measurement", 100 * others / total);
    if (steal > 0.005 * total)
        wb__note(b, "noise", "time stolen", "the hypervisor kept %.1f %% of the CPU time for others",
                 100 * steal / total);
    if (now.periods > was->periods && was->periods >= 0)
        wb__note(b, "noise", "throttled", "a CPU quota stopped this control group %.0f times, for %.2f s in all",
                 now.periods - was->periods, now.throttled - was->throttled);
    if (b->noise.quota > 0)
        wb__note(b, "limit", "CPU quota", "the control groups leave %.2f CPUs' worth of time", b->noise.quota);
    double change = 1, low = INFINITY, high = 0;
    size_t where = 0;
    for (size_t i = 0; b->noise.speed != NULL && i < b->machine.cpus; i++) {
        const struct wb__speed *s = &b->noise.speed[i];
        if (s->best > 0 && s->worst / s->best > change) {
            change = s->worst / s->best;
            where = i;
        }
        low = s->best > 0 ? fmin(low, s->best) : low;
        high = fmax(high, s->best);
    }
    if (change > 1.05)
        wb__note(b, "noise", "speed changed",
                 "the same work took %.0f %% longer at some time on CPU %d: its clock frequency changes, or a sibling "
                 "or another guest slows it down",
                 100 * (change - 1), b->machine.cpu[where].cpu);
    if (high > 1.1 * low)
        wb__note(b, "limit", "unequal CPUs", "the slowest CPU takes %.0f %% longer than the fastest for the same work",
                 100 * (high / low - 1));
    char line[256];
    if (strcmp(wb__read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line),
               "performance") != 0 &&
        line[0] != '\0')
        wb__note(b, "noise", "governor", "CPU frequency is governed by \"%s\": for steady figures use \"performance\"",
                 line);
    wb__read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", line, sizeof line);
    weft_ns start = weft_now();
    for (int i = 0; i < 1000; i++)
        (void)weft_now();
    double clock = (double)(weft_now() - start) / 1000;
    if (clock > 200)
        wb__note(b, "noise", "slow clock",
                 "one look at the clock (%s) takes %.0f ns, which is part of every short latency", line, clock);
    if (b->machine.nodes <= 1)
        wb__note(b, "limit", "one node",
                 "this machine has one NUMA node: near and far memory, and stealing over nodes, cannot be shown on it");
    if (b->machine.cpus == 1)
        wb__note(b, "limit", "one CPU",
                 "this process may use one CPU only: nothing that happens between CPUs can be shown");
    wb__read_line("/proc/sys/kernel/numa_balancing", line, sizeof line);
    if (b->machine.nodes > 1 && strcmp(line, "1") == 0)
        wb__note(b, "noise", "NUMA balancing",
                 "the kernel moves pages between nodes by itself (kernel.numa_balancing = 1)");
    char flags[8192];
    if (strstr(wb__cpuinfo("flags", flags, sizeof flags), " hypervisor") != NULL ||
        access("/sys/hypervisor/type", R_OK) == 0 ||
        strstr(wb__read_line("/sys/class/dmi/id/sys_vendor", line, sizeof line), "QEMU") != NULL)
        wb__note(b, "limit", "virtual machine",
                 "a hypervisor is below: which real cores these CPUs are, and whether they stay there, is not known");
}
