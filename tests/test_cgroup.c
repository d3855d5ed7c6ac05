/* SPDX-License-Identifier: Apache-2.0 */
/* test_cgroup.c -- the CPU quota is read from the right files, whatever hierarchy, namespace and mount the process is
 * in. Each case is a small machine in a scratch directory: /proc/self/cgroup, /proc/self/mountinfo, and the groups'
 * files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/cgroup.h"

#define MOUNT2(top, at)                                                                                                \
    "25 1 8:1 / / rw - ext4 /dev/sda rw\n31 24 0:27 " top " " at " rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
#define MOUNT1(top, at) "33 24 0:29 " top " " at " rw,nosuid shared:5 master:1 - cgroup cgroup rw,cpu,cpuacct\n"

struct file {
    const char *path, *text;
};

struct machine {
    const char *name;
    double quota;
    const char *cgroup, *mountinfo;
    struct file file[4];
};

static const struct machine machines[] = {
    {"own limit", 1.5, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/a/cpu.max", "150000 100000\n"}}},
    {"the kernel's default period", 0.5, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/a/cpu.max", "50000 100000\n"}}},
    {"max", 0, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/a/cpu.max", "max 100000\n"}}},
    {"no file", 0, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/cgroup.procs", "1\n"}}},
    {"nested: the parent's is tighter",
     2,
     "0::/a/b/c\n",
     MOUNT2("/", "/cg"),
     {{"/cg/a/b/c/cpu.max", "max 100000\n"},
      {"/cg/a/b/cpu.max", "300000 100000\n"},
      {"/cg/a/cpu.max", "20000 10000\n"}}},
    {"nested: its own is tighter",
     1,
     "0::/a/b\n",
     MOUNT2("/", "/cg"),
     {{"/cg/a/b/cpu.max", "100000 100000\n"}, {"/cg/a/cpu.max", "200000 100000\n"}}},
    {"nested: own group gone", 2, "0::/a/b (deleted)\n", MOUNT2("/", "/cg"), {{"/cg/a/cpu.max", "200000 100000\n"}}},
    {"a neighbour's", 0, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/b/cpu.max", "100000 100000\n"}}},
    {"inside a namespace", 3, "0::/\n", MOUNT2("/", "/cg"), {{"/cg/cpu.max", "300000 100000\n"}}},
    {"a container without namespace",
     4,
     "0::/docker/x\n",
     MOUNT2("/docker/x", "/cg"),
     {{"/cg/cpu.max", "400000 100000\n"}, {"/cg/docker/x/cpu.max", "100000 100000\n"}}},
    {"below such a container's group",
     1,
     "0::/docker/x/y\n",
     MOUNT2("/docker/x", "/cg"),
     {{"/cg/y/cpu.max", "1000 1000\n"}}},
    {"a mount that shows others",
     0,
     "0::/docker/xy\n",
     MOUNT2("/docker/x", "/cg"),
     {{"/cg/cpu.max", "400000 100000\n"}}},
    {"a mount from outside the namespace", 4, "0::/a\n", MOUNT2("/..", "/cg"), {{"/cg/cpu.max", "400000 100000\n"}}},
    {"outside the mount's namespace",
     0,
     "0::/../b\n",
     MOUNT2("/", "/cg"),
     {{"/cg/cpu.max", "400000 100000\n"}, {"/b/cpu.max", "1 1\n"}}},
    {"both outside the namespace",
     2,
     "0::/../b\n",
     MOUNT2("/..", "/cg"),
     {{"/cg/cpu.max", "400000 100000\n"}, {"/cg/b/cpu.max", "2 1\n"}}},
    {"names with blanks and colons",
     2,
     "0::/a b:c\n",
     MOUNT2("/", "/c\\040\\134g"),
     {{"/c \\g/a b:c/cpu.max", "200000 100000\n"}}},
    {"mounted twice",
     1,
     "0::/a\n",
     MOUNT2("/", "/x") MOUNT2("/a", "/y"),
     {{"/x/a/cpu.max", "max 1\n"}, {"/y/cpu.max", "1 1\n"}}},
    {"version 1",
     2.5,
     "4:memory:/m\n3:cpu,cpuacct:/a\n1:name=systemd:/s\n",
     MOUNT1("/", "/cpu"),
     {{"/cpu/a/cpu.cfs_quota_us", "250000\n"}, {"/cpu/a/cpu.cfs_period_us", "100000\n"}}},
    {"version 1, nested",
     1,
     "3:cpuacct,cpu:/a/b\n",
     MOUNT1("/", "/cpu"),
     {{"/cpu/a/b/cpu.cfs_quota_us", "-1\n"},
      {"/cpu/a/b/cpu.cfs_period_us", "100000\n"},
      {"/cpu/a/cpu.cfs_quota_us", "50000\n"},
      {"/cpu/a/cpu.cfs_period_us", "50000\n"}}},
    {"version 1, no limit",
     0,
     "3:cpu:/a\n",
     MOUNT1("/", "/cpu"),
     {{"/cpu/a/cpu.cfs_quota_us", "-1\n"}, {"/cpu/a/cpu.cfs_period_us", "100000\n"}}},
    {"version 1, no period", 0, "3:cpu:/a\n", MOUNT1("/", "/cpu"), {{"/cpu/a/cpu.cfs_quota_us", "1000\n"}}},
    {"version 1, another controller's group",
     0,
     "3:cpuset,cpuacct:/a\n",
     MOUNT1("/", "/cpu"),
     {{"/cpu/a/cpu.cfs_quota_us", "1\n"}, {"/cpu/a/cpu.cfs_period_us", "1\n"}}},
    {"both versions",
     1,
     "1:cpu:/a\n0::/b\n",
     MOUNT1("/", "/one") MOUNT2("/", "/two"),
     {{"/one/a/cpu.cfs_quota_us", "1000\n"}, {"/one/a/cpu.cfs_period_us", "1000\n"}, {"/two/b/cpu.max", "2 1\n"}}},
    {"garbage in the limit", 0, "0::/a\n", MOUNT2("/", "/cg"), {{"/cg/a/cpu.max", "lots\n"}, {"/cg/cpu.max", ""}}},
    {"nonsense in the limit",
     0,
     "0::/a\n",
     MOUNT2("/", "/cg"),
     {{"/cg/a/cpu.max", "100000 0\n"}, {"/cg/cpu.max", "-5 100000\n"}}},
    {"garbage in the lists",
     2,
     "\n:\n0:\n0::\nx\n0::/a",
     "\n - \nx - cgroup2\n1 - cgroup2 a b\n" MOUNT2("/", "/cg"),
     {{"/cg/a/cpu.max", "2 1"}}},
    {"nothing mounted", 0, "0::/a\n", "25 1 8:1 / / rw - ext4 /dev/sda rw\n", {{"/cg/a/cpu.max", "2 1\n"}}},
    {"no list of mounts", 0, "0::/a\n", NULL, {{"/cg/a/cpu.max", "2 1\n"}}},
    {"no list of groups", 0, NULL, MOUNT2("/", "/cg"), {{"/cg/cpu.max", "2 1\n"}}},
};

static void write_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void remove_folder(const char *root)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
}

static void quotas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        const struct machine *m = &machines[i];
        char root[] = "/tmp/weft-cgroup-XXXXXX";
        assert_non_null(mkdtemp(root));
        if (m->cgroup)
            write_file(root, "/proc/self/cgroup", m->cgroup);
        if (m->mountinfo)
            write_file(root, "/proc/self/mountinfo", m->mountinfo);
        for (unsigned k = 0; k < 4 && m->file[k].path; k++)
            write_file(root, m->file[k].path, m->file[k].text);
        double quota = weft__cgroup_quota(root);
        remove_folder(root);
        if (quota < m->quota - 1e-9 || quota > m->quota + 1e-9)
            fail_msg("%s: quota %f where %f is right", m->name, quota, m->quota);
    }
}

static void many_mounts(void **state)
{
    (void)state;
    enum { MOUNTS = 5000 };
    static char text[MOUNTS * 80];
    size_t at = 0;
    for (int i = 0; i < MOUNTS; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d 1 0:%d / /volumes/%d rw - tmpfs tmpfs rw\n", i + 100, i,
                               i);
    snprintf(text + at, sizeof text - at, "%s", MOUNT2("/", "/cg"));
    char root[] = "/tmp/weft-cgroup-XXXXXX";
    assert_non_null(mkdtemp(root));
    write_file(root, "/proc/self/cgroup", "0::/a\n");
    write_file(root, "/proc/self/mountinfo", text);
    write_file(root, "/cg/a/cpu.max", "7 1\n");
    double quota = weft__cgroup_quota(root);
    remove_folder(root);
    assert_true(quota > 6.99 && quota < 7.01);
}

static void this_machine(void **state)
{
    (void)state;
    assert_true(weft__cgroup_quota("") >= 0);
    assert_true(weft__cgroup_quota("/nonexistent") <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotas),
        cmocka_unit_test(many_mounts),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
