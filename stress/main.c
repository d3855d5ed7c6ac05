/* SPDX-License-Identifier: Apache-2.0 */
/* weft-stress: random work that checks invariants.
 *     weft-stress list
 *     weft-stress run [NAME...] [--seconds S] [--seed X] [--workers W] [--faults PLAN] [--json FILE]
 * The first line is the seed, the last one "N passed, M failed"; exit 0 only if all passed. The time is shared by the
 * stressors asked for. Each stressor runs in a child process, so one that crashes or hangs is one failure.
 * This process stays without threads, so that it can fork. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"
#ifdef STRESS_FAULTS
#include <weft/testing.h>
#endif

/* The child's own watchdog comes first; this one is for when even that is stuck. */
#define STUCK_SECONDS 60

static const struct stressor *const groups[] = {
    task_stressors,     wait_stressors,      join_stressors,   sync_stressors,    queue_stressors,  time_stressors,
    thread_stressors,   runtime_stressors,   socket_stressors, signal_stressors,  strand_stressors, future_stressors,
    callback_stressors, gathering_stressors, raid_stressors,   machine_stressors, storm_stressors,  parking_stressors,
#ifdef STRESS_FAULTS
    fault_stressors,
#endif
};
#define GROUPS (sizeof groups / sizeof groups[0])
#define MOST 64

static size_t all_stressors(const struct stressor *out[MOST])
{
    size_t n = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        for (const struct stressor *s = groups[g]; s->name != NULL && n < MOST; s++)
            out[n++] = s;
    }
    return n;
}

static const struct stressor *find(const char *name)
{
    const struct stressor *all[MOST];
    size_t n = all_stressors(all);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    }
    return NULL;
}

struct outcome {
    const struct stressor *stressor;
    bool passed;
    uint64_t rounds, operations, late_wakes;
    double seconds;
    char replay[REPLAY];
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* On a terminal: how far this stressor is. */
static void show(double share)
{
    static int shown = -1;
    int bars = (int)(share * 30);
    if (!isatty(STDOUT_FILENO) || bars == shown)
        return;
    shown = bars > 30 ? 30 : bars;
    printf("\r%-14s [%.*s%*s] %" PRIu64 " operations ", stress_name, shown, "##############################",
           30 - shown, "", (uint64_t)atomic_load(&stress_account->operations));
    fflush(stdout);
}

/* The child's wait status. */
static int wait_for_child(pid_t child, double seconds)
{
    double begin = seconds_now();
    int status = 0;
    uint64_t last = 0;
    unsigned looks = 0;
    for (;;) {
        pid_t rc = waitpid(child, &status, WNOHANG);
        if (rc == child)
            return status;
        if (rc < 0 && errno != EINTR)
            return -1;
        uint64_t now = atomic_load(&stress_account->operations);
        if (now != last) {
            last = now;
            looks = 0;
        } else if (++looks > 100 * STUCK_SECONDS) {
            fprintf(stderr, "weft-stress: %s is stuck; ending it\n", stress_name);
            kill(child, SIGKILL);
        }
        show(seconds > 0 ? (seconds_now() - begin) / seconds : 1);
        usleep(10000);
    }
}

static void run_one(const struct stressor *s, uint64_t seed, double seconds, struct outcome *out)
{
    *stress_account = (struct account){0};
    atomic_store(&stress_account->seed, seed);
    stress_name = s->name;
    double begin = seconds_now();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        stress_do(s, seed, seconds);
        exit(stress_failed() ? 1 : 0); /* leak checkers have their word here */
    }
    int status = child > 0 ? wait_for_child(child, seconds) : -1;
    *out = (struct outcome){
        .stressor = s,
        .passed = status == 0,
        .rounds = atomic_load(&stress_account->rounds),
        .operations = atomic_load(&stress_account->operations),
        .late_wakes = atomic_load(&stress_account->late_wakes),
        .seconds = seconds_now() - begin,
    };
    stress_replay(out->replay, sizeof out->replay);
    char how[64] = "";
    if (status == -1)
        snprintf(how, sizeof how, " (no child process)");
    else if (WIFSIGNALED(status))
        snprintf(how, sizeof how, " (ended by signal %d)", WTERMSIG(status));
    else if (status != 0 && !stress_failed())
        snprintf(how, sizeof how, " (exit code %d)", WEXITSTATUS(status));
    if (isatty(STDOUT_FILENO))
        printf("\r%*s\r", 79, "");
    printf("%-14s %s%s: %" PRIu64 " rounds, %" PRIu64 " operations, %" PRIu64 " late wakes, %.1f s\n", s->name,
           out->passed ? "passed" : "FAILED", how, out->rounds, out->operations, out->late_wakes, out->seconds);
    if (!out->passed)
        printf("    replay: %s\n", out->replay);
    fflush(stdout);
}

static int write_json(const char *path, uint64_t seed, const struct outcome *o, size_t n, size_t failed)
{
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fprintf(stderr, "weft-stress: %s: %s\n", path, strerror(errno));
        return -1;
    }
    fprintf(f, "{\"seed\":%" PRIu64 ",\"passed\":%zu,\"failed\":%zu,\"stressors\":[", seed, n - failed, failed);
    for (size_t i = 0; i < n; i++) {
        fprintf(f,
                "%s\n{\"name\":\"%s\",\"passed\":%s,\"rounds\":%" PRIu64 ",\"operations\":%" PRIu64
                ",\"late_wakes\":%" PRIu64 ",\"seconds\":%.3f,\"replay\":\"%s\"}",
                i > 0 ? "," : "", o[i].stressor->name, o[i].passed ? "true" : "false", o[i].rounds, o[i].operations,
                o[i].late_wakes, o[i].seconds, o[i].replay);
    }
    fprintf(f, "\n]}\n");
    return fclose(f) == 0 ? 0 : -1;
}

static int usage(FILE *to)
{
    fprintf(to,
            "usage: weft-stress list\n"
            "       weft-stress run [NAME...] [--seconds S] [--seed X] [--workers W] [--faults PLAN] [--json FILE]\n"
            "       PLAN: CALLS=FAULTS@WHEN, rules separated by blanks or semicolons (weft/testing.h)\n");
    return to == stderr ? 2 : 0;
}

static int list(void)
{
    const struct stressor *all[MOST];
    size_t n = all_stressors(all);
    for (size_t i = 0; i < n; i++)
        printf("%-14s %s\n", all[i]->name, all[i]->what);
    return 0;
}

struct settings {
    double seconds;
    uint64_t seed;
    const char *json;
    const struct stressor *chosen[MOST];
    size_t n;
};

static bool parse(int argc, char **argv, struct settings *s)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'x'},
        {"workers", required_argument, NULL, 'w'}, {"faults", required_argument, NULL, 'f'},
        {"json", required_argument, NULL, 'j'},    {NULL, 0, NULL, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        errno = 0;
        if (o == 's') {
            s->seconds = strtod(optarg, &end);
        } else if (o == 'x') {
            s->seed = strtoull(optarg, &end, 0);
        } else if (o == 'w') {
            unsigned long w = strtoul(optarg, &end, 10);
            if (w < 1 || w > WEFT_MAX_WORKERS)
                return false;
            stress_workers = (unsigned)w;
        } else if (o == 'f') {
            stress_faults = optarg;
        } else if (o == 'j') {
            s->json = optarg;
        } else {
            return false;
        }
        if (end != NULL && (*end != '\0' || end == optarg || errno != 0))
            return false;
    }
    for (int i = optind; i < argc; i++) {
        const struct stressor *found = find(argv[i]);
        if (found == NULL || s->n == MOST) {
            fprintf(stderr, "weft-stress: no stressor '%s'; see weft-stress list\n", argv[i]);
            return false;
        }
        s->chosen[s->n++] = found;
    }
    if (s->n == 0)
        s->n = all_stressors(s->chosen);
    return s->seconds >= 0;
}

/* Is the plan one? If not, the rule that is none is told. */
static bool faults_are_right(void)
{
    if (stress_faults == NULL)
        return true;
#ifdef STRESS_FAULTS
    char *rules = strdup(stress_faults), *rest;
    const char *wrong = rules == NULL || weft_faults_begin(stress_faults, 0) < 0 ? stress_faults : NULL;
    weft_faults_end();
    for (char *rule = wrong != NULL && rules != NULL ? strtok_r(rules, " ;\n\t", &rest) : NULL; rule != NULL;
         rule = strtok_r(NULL, " ;\n\t", &rest)) {
        if (weft_faults_begin(rule, 0) < 0) {
            wrong = rule;
            break;
        }
        weft_faults_end();
    }
    if (wrong != NULL)
        fprintf(stderr, "weft-stress: --faults: '%s' is no rule of the form CALLS=FAULTS@WHEN%s\n", wrong,
                wrong == stress_faults ? ", or too many at once" : "");
    free(rules);
    return wrong == NULL;
#else
    fprintf(stderr, "weft-stress: --faults: built without libweft_testing\n");
    return false;
#endif
}

static int run(int argc, char **argv)
{
    struct settings s = {.seconds = 30};
    if (getrandom(&s.seed, sizeof s.seed, 0) != sizeof s.seed)
        s.seed = (uint64_t)time(NULL);
    s.seed >>= 1;
    if (!parse(argc, argv, &s))
        return usage(stderr);
    if (!faults_are_right())
        return 2;
    stress_seconds = s.seconds;
    stress_account = mmap(NULL, sizeof *stress_account, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stress_account == MAP_FAILED) {
        perror("weft-stress: mmap");
        return 2;
    }
    printf("seed %" PRIu64 "\n", s.seed);
    struct outcome outcomes[MOST];
    size_t failed = 0;
    for (size_t i = 0; i < s.n; i++) {
        run_one(s.chosen[i], s.seed, s.seconds / (double)s.n, &outcomes[i]);
        failed += !outcomes[i].passed;
    }
    bool written = s.json == NULL || write_json(s.json, s.seed, outcomes, s.n, failed) == 0;
    printf("%zu passed, %zu failed\n", s.n - failed, failed);
    return failed == 0 && written ? 0 : 1;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout);
    }
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    if (argc >= 2 && strcmp(argv[1], "run") == 0)
        return run(argc - 1, argv + 1);
    return usage(stderr);
}
