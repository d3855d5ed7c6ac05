/* SPDX-License-Identifier: Apache-2.0 */
/* weft-conform -- runs programs of the conformance language on weft, on the virtual clock, and prints what happened.
 *
 *   weft-conform [options] FILE   one JSON line for each event, then the result
 *   weft-conform [options] -      programs as JSON lines on stdin, one line for each: the result with its trace
 *
 * Exit status: 0; 2 for what is no program or a runtime that does not start; 3 when a program took too long (its
 * line says so). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interp.h"

static const char usage[] =
    "usage: weft-conform [options] FILE|-\n"
    "  --workers N                   worker threads (1)\n"
    "  --order fifo|default          fifo with one worker, else default\n"
    "  --inline auto|never|always    run an awaited, unstarted task at once (auto)\n"
    "  --joins auto|structured       structured: fork children that are waited for where they are made (auto)\n"
    "  --sched default|seeded        who decides what runs next (default)\n"
    "  --seed S                      of the seeded schedule\n"
    "  --limit S                     seconds of real time for one program (20)\n";

static _Noreturn void fail(const char *what, const char *value)
{
    fprintf(stderr, "weft-conform: %s%s\n%s", what, value, usage);
    exit(2);
}

static int choice(const char *option, const char *value, const char *const names[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(value, names[i]) == 0)
            return (int)i;
    fprintf(stderr, "weft-conform: --%s %s?\n%s", option, value, usage);
    exit(2);
}

static uint64_t number(const char *option, const char *value, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || end == value || n > most) {
        fprintf(stderr, "weft-conform: --%s %s?\n%s", option, value, usage);
        exit(2);
    }
    return n;
}

/* ---- a program that does not end --------------------------------------------------------------------------------- */

static char limit_line[512];
static size_t limit_length;

/* Ends the process with the line made before: only what a signal handler may do. */
static void too_long(int signal)
{
    (void)signal;
    ssize_t written = write(STDOUT_FILENO, limit_line, limit_length);
    (void)written;
    _exit(3);
}

static void start_limit(const json_t *program, unsigned seconds)
{
    const char *name = json_string_value(json_object_get(program, "name"));
    json_t *result = json_pack("{s:s, s:[s], s:i, s:{}, s:[], s:[], s:[]}", "name", name != NULL ? name : "", "main",
                               "limit", "time", 0, "tasks", "handler", "unretrieved", "trace");
    char *line = json_dumps(result, JSON_COMPACT);
    int length = snprintf(limit_line, sizeof limit_line, "%s\n", line);
    limit_length = length < (int)sizeof limit_line ? (size_t)length : 0;
    free(line);
    json_decref(result);
    alarm(seconds);
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static json_t *run_limited(const json_t *program, const struct settings *settings)
{
    start_limit(program, settings->limit);
    json_t *result = run_program(program, settings);
    alarm(0);
    return result;
}

static void print(const json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
}

static int run_file(const char *path, const struct settings *settings)
{
    json_error_t error;
    json_t *program = json_load_file(path, 0, &error);
    if (!json_is_object(program)) {
        fprintf(stderr, "weft-conform: %s: %s\n", path, program == NULL ? error.text : "not an object");
        json_decref(program);
        return 2;
    }
    json_t *result = run_limited(program, settings), *trace = json_object_get(result, "trace");
    for (size_t i = 0; i < json_array_size(trace); i++)
        print(json_array_get(trace, i));
    json_object_del(result, "trace");
    print(result);
    json_decref(result);
    json_decref(program);
    return 0;
}

static int run_lines(const struct settings *settings)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int status = 0;
    while (status == 0 && (length = getline(&line, &size, stdin)) >= 0) {
        if (line[strspn(line, " \t\r\n")] == '\0')
            continue;
        json_error_t error;
        json_t *program = json_loadb(line, (size_t)length, 0, &error);
        if (json_is_object(program)) {
            json_t *result = run_limited(program, settings);
            print(result);
            json_decref(result);
        } else {
            fprintf(stderr, "weft-conform: %s\n", program == NULL ? error.text : "not an object");
            status = 2;
        }
        json_decref(program);
    }
    free(line);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"workers", required_argument, NULL, 'w'},
        {"order", required_argument, NULL, 'o'},
        {"inline", required_argument, NULL, 'i'},
        {"joins", required_argument, NULL, 'j'},
        {"sched", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'S'},
        {"limit", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const orders[] = {"default", "fifo"}, *const inlinings[] = {"auto", "never", "always"},
                             *const joins[] = {"auto", "structured"}, *const scheds[] = {"default", "seeded"};
    struct settings settings = {.workers = 1, .limit = 20};
    int order = -1, option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'w':
            settings.workers = (unsigned)number("workers", optarg, WEFT_MAX_WORKERS);
            break;
        case 'o':
            order = choice("order", optarg, orders, 2);
            break;
        case 'i':
            settings.inlining = (enum weft_inlining)choice("inline", optarg, inlinings, 3);
            break;
        case 'j':
            settings.structured = choice("joins", optarg, joins, 2) == 1;
            break;
        case 's':
            settings.sched = (enum weft_sched)choice("sched", optarg, scheds, 2);
            break;
        case 'S':
            settings.seed = number("seed", optarg, UINT64_MAX);
            break;
        case 'l':
            settings.limit = (unsigned)number("limit", optarg, 1000000);
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind + 1 != argc)
        fail("one program is wanted", "");
    settings.order = order >= 0 ? (enum weft_order)order : settings.workers == 1 ? WEFT_ORDER_FIFO : WEFT_ORDER_DEFAULT;
    struct sigaction action = {.sa_handler = too_long};
    sigaction(SIGALRM, &action, NULL);
    return strcmp(argv[optind], "-") == 0 ? run_lines(&settings) : run_file(argv[optind], &settings);
}
