/* SPDX-License-Identifier: Apache-2.0 */
/* executor/cgroup.c -- the CPU quota of the control groups (cgroups) this process lives in.
 *
 * A program that starts one worker per CPU in a container limited to two CPUs' worth of time is stopped by the kernel
 * for most of each period. The limit that counts is the tightest of the process's own group and of all groups above
 * it: a pod's limit holds though the container's own file says "max".
 *
 * Where to look. /proc/self/cgroup names the group in each hierarchy ("0::/a/b" in version 2, "4:cpu,cpuacct:/a/b" in
 * version 1), /proc/self/mountinfo where hierarchies are mounted and which group is each mount's top. Both are told
 * relative to the process's cgroup namespace, so they fit together with one and without one:
 *
 *     group         mount's top     files read
 *     /a/b          /               MOUNT/a/b, MOUNT/a, MOUNT      the whole host is seen, or a namespace's inside
 *     /a/b          /a/b            MOUNT                          a container without a namespace of its own
 *     /             /..             MOUNT                          mounted from outside the namespace: an ancestor
 *     /../x, /a     /, /c           none                           this mount does not show the process's group
 *
 * Invariants. 1. Every limit taken is one of the process's own group or of an ancestor: where that is in doubt, none
 * is taken. 2. What cannot be read or understood limits nothing. 3. Of several mounts and of both versions (a
 * "hybrid" machine) the tightest limit counts, since each is in force by itself.
 *
 * Limits that change are read again by follow.c. Shares and weights, bursts and real-time budgets are no limits of
 * this kind. Any thread; allocates and reads files, so not on a hot path. */
#include "executor/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hierarchy {
    const char *fstype;
    bool v1;
};

static const struct hierarchy hierarchy_v1 = {"cgroup", true}, hierarchy_v2 = {"cgroup2", false};

static FILE *open_below(const char *root, const char *path, const char *name)
{
    size_t size = strlen(root) + strlen(path) + strlen(name) + 2;
    char *full = malloc(size);
    if (!full)
        return NULL;
    (void)snprintf(full, size, "%s%s%s%s", root, path, *name ? "/" : "", name);
    FILE *file = fopen(full, "re");
    free(full);
    return file;
}

/* The first line of a file of a group, without its newline. */
static bool read_line(const char *root, const char *group, const char *name, char *line, size_t size)
{
    FILE *file = open_below(root, group, name);
    if (!file)
        return false;
    bool got = fgets(line, (int)size, file) != NULL;
    (void)fclose(file);
    return got;
}

/* "QUOTA PERIOD" in microseconds, as cpu.max has it; "max" and -1 mean no limit. */
static double parse_quota(const char *text)
{
    long long quota, period;
    if (sscanf(text, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
        return 0;
    return (double)quota / (double)period;
}

static double quota_of_group(const char *root, const char *group, const struct hierarchy *h)
{
    char line[128], period[64];
    if (!h->v1)
        return read_line(root, group, "cpu.max", line, sizeof(line)) ? parse_quota(line) : 0;
    if (!read_line(root, group, "cpu.cfs_quota_us", line, 64) ||
        !read_line(root, group, "cpu.cfs_period_us", period, sizeof(period)))
        return 0;
    line[strcspn(line, "\n")] = '\0';
    (void)strcat(strcat(line, " "), period); /* 63 + 1 + 63 characters at most */
    return parse_quota(line);
}

static double tighter(double a, double b)
{
    if (a <= 0 || b <= 0)
        return a > b ? a : b;
    return a < b ? a : b;
}

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (;;) {
        size_t n = strcspn(list, ",\n");
        if (n == length && strncmp(list, word, n) == 0)
            return true;
        if (list[n] != ',')
            return false;
        list += n + 1;
    }
}

/* mountinfo writes blanks, tabs, newlines and backslashes as three octal digits. Decodes in place. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; out++) {
        unsigned code;
        if (s[0] == '\\' && sscanf(s + 1, "%3o", &code) == 1 && code < 256) {
            *out = (char)code;
            s += 4;
        } else {
            *out = *s++;
        }
    }
    *out = '\0';
}

static bool has_dotdot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "/..")) != NULL; p += 3)
        if (p[3] == '/' || p[3] == '\0')
            return true;
    return false;
}

/* Where below a mount whose top is the group `top` does `group` lie? NULL: it cannot be seen there. */
static const char *below_mount(const char *group, const char *top)
{
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(group, top, n) == 0 && (group[n] == '/' || group[n] == '\0')) {
        const char *rest = strcmp(group + n, "/") == 0 ? "" : group + n;
        return has_dotdot(rest) ? NULL : rest;
    }
    /* A top of dots only is an ancestor of the namespace, and so of every group inside it. */
    return strspn(top, "/.") == n && has_dotdot(top) && !has_dotdot(group) ? "" : NULL;
}

/* From the group up to the mount's top. */
static double quota_upwards(const char *root, const char *mount, const char *rest, const struct hierarchy *h)
{
    size_t top = strlen(mount), size = top + strlen(rest) + 1;
    char *path = malloc(size);
    if (!path)
        return 0;
    (void)snprintf(path, size, "%s%s", mount, rest);
    double quota = 0;
    for (;;) {
        quota = tighter(quota, quota_of_group(root, path, h));
        char *slash = strrchr(path + top, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
    free(path);
    return quota;
}

/* One line of mountinfo: "36 35 98:0 TOP MOUNT options [optional fields] - FSTYPE source superoptions". */
static double quota_of_mount(const char *root, char *line, const char *group, const struct hierarchy *h)
{
    char *tail = strstr(line, " - ");
    if (!tail)
        return 0;
    *tail = '\0';
    char *rest = NULL, *field = strtok_r(tail + 3, " \n", &rest);
    if (!field || strcmp(field, h->fstype) != 0)
        return 0;
    (void)strtok_r(NULL, " \n", &rest);
    field = strtok_r(NULL, " \n", &rest);
    if (h->v1 && (!field || !has_word(field, "cpu")))
        return 0;
    field = strtok_r(line, " ", &rest);
    for (unsigned i = 0; field && i < 3; i++)
        field = strtok_r(NULL, " ", &rest);
    char *mount = field ? strtok_r(NULL, " ", &rest) : NULL;
    if (!mount)
        return 0;
    unescape(field);
    unescape(mount);
    const char *below = below_mount(group, field);
    return below ? quota_upwards(root, mount, below, h) : 0;
}

static double quota_of_hierarchy(const char *root, const char *group, const struct hierarchy *h)
{
    FILE *file = open_below(root, "/proc/self/mountinfo", "");
    if (!file)
        return 0;
    char *line = NULL;
    size_t size = 0;
    double quota = 0;
    while (getline(&line, &size, file) >= 0)
        quota = tighter(quota, quota_of_mount(root, line, group, h));
    free(line);
    (void)fclose(file);
    return quota;
}

double weft__cgroup_quota(const char *root)
{
    FILE *file = open_below(root, "/proc/self/cgroup", "");
    if (!file)
        return 0;
    char *line = NULL;
    size_t size = 0;
    double quota = 0;
    while (getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL; /* the group's name may have colons itself */
        if (!group || group[1] != '/')
            continue;
        *controllers++ = '\0';
        *group++ = '\0';
        if (*controllers == '\0' && strcmp(line, "0") == 0)
            quota = tighter(quota, quota_of_hierarchy(root, group, &hierarchy_v2));
        else if (has_word(controllers, "cpu"))
            quota = tighter(quota, quota_of_hierarchy(root, group, &hierarchy_v1));
    }
    free(line);
    (void)fclose(file);
    return quota;
}
