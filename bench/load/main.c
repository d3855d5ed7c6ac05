/* SPDX-License-Identifier: Apache-2.0 */
/* load/main.c -- weft-load: the command line, and the line of figures. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "load.h"

struct options options = {
    .host = "127.0.0.1",
    .path = "/",
    .connections = 64,
    .bytes = 64,
    .depth = 1,
    .rate = 1000,
    .seconds = 5,
    .warmup = 1,
    .patience = 5,
    .keys = 100000,
    .seed = 1,
    .set_share = 0.1,
};

static const char help[] =
    "usage: weft-load MODE --port N [OPTIONS]      drives a server on loopback; one line of figures (CSV) to stdout\n"
    "\n"
    "modes\n"
    "  open     --rate requests a second over --connections, in turn; each leaves when it is due, whatever became of "
    "those\n"
    "           before. A latency counts from the instant at which the request was DUE, so a server that stands still "
    "for a\n"
    "           second shows in all requests of that second (no coordinated omission)\n"
    "  closed   each connection has --depth requests under way and sends the next one when an answer comes. "
    "slowest_share:\n"
    "           answers of the slowest connection, divided by the mean of all (1: perfectly fair)\n"
    "  storm    --rate new connections a second, one request on each, then closed; at most --connections at once. From "
    "the\n"
    "           instant at which the connection was due\n"
    "  stalled  connections that send for ever and never read; sent_each: bytes that the kernels and the server took "
    "of each\n"
    "  idle     connections that are answered once, held for --seconds, and answered again\n"
    "  resp     GET and SET at a key-value server: each connection sends --depth commands at once, compares all "
    "replies, and "
    "sends\n"
    "           the next. Of --keys, all set before, each is drawn by Zipf's law with the exponent --zipf; --set-share "
    "of "
    "the\n"
    "           commands are SET. A latency is that of --depth commands\n"
    "\n"
    "options\n"
    "  --host A           an IPv4 address (127.0.0.1)\n"
    "  --protocol P       http (GET --path), echo (--bytes of them have to come back), ping (RESP) (http)\n"
    "  --path P           (/)\n"
    "  --bytes N          (64)\n"
    "  --connections N    (64; storm: 10000)\n"
    "  --sources N        come from so many loopback addresses, for more connections than one address has ports (0: "
    "the\n"
    "                     kernel's choice; storm, and more than 20,000 connections: 64)\n"
    "  --depth N          (1)\n"
    "  --rate N           (1000)\n"
    "  --keys N  --zipf S  --set-share P  --seed N   resp: (100000; 0: all alike; 0.1; 1)\n"
    "  --seconds N        measured (5), after --warmup N seconds that are not (1; storm, stalled, idle: 0)\n"
    "  --patience N       seconds after the end, or from the connection on, in which an answer has to come (5). resp: "
    "while\n"
    "                     the keys are set, which has to be done in 60 s, some answer has to come in this time\n"
    "  --pid N[,N...]     the server's processes: cpu_us is their CPU time for each answer in the measured time (open, "
    "closed,\n"
    "                     storm), bytes_each the growth of their memory (resident and page tables) for each "
    "connection\n"
    "  --bare             without the line of names\n"
    "\n"
    "columns: sent (due in the measured time), ok and refused (answered 2xx, or +; answered otherwise), lost (not "
    "answered:\n"
    "reset, refused a connection, or beyond the patience; in no percentile, so look here first), goodput (ok answers "
    "that\n"
    "came in the measured time, a second), p50 p99 p99.9 max in us of ok answers, p99 of refusals, late_p99: how far "
    "this\n"
    "program itself was behind its schedule (when it is large, the client is the bottleneck: the rest means little).\n"
    "What failed last on a connection is told on stderr. Where nobody listens any more at the end, or (closed, resp) "
    "in "
    "the\n"
    "middle, the figures are those so far, and the exit status is 1.\n"
    "Pin server and client apart (taskset), or they take turns on the same CPUs.\n";

static double number(const char *name, const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !(v >= 0 && v <= 1e18)) {
        die("%s: %s is no number that can be meant", name, text);
    }
    return v;
}

static long whole(const char *name, const char *text)
{
    enum { MOST = 1 << 30 };
    double v = number(name, text);
    if (v > MOST || v != (double)(long)v) {
        die("%s takes a whole number up to %d, not %s", name, MOST, text);
    }
    return (long)v;
}

static enum protocol protocol_of(const char *text)
{
    static const char *const names[] = {"http", "echo", "ping"};
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum protocol)i;
        }
    }
    die("there is no protocol %s", text);
}

static void arguments(int argc, char **argv)
{
    struct {
        const char *name;
        double *real;
        long *whole;
        const char **text;
    } table[] = {
        {"--rate", &options.rate, NULL, NULL},       {"--seconds", &options.seconds, NULL, NULL},
        {"--warmup", &options.warmup, NULL, NULL},   {"--patience", &options.patience, NULL, NULL},
        {"--port", NULL, &options.port, NULL},       {"--connections", NULL, &options.connections, NULL},
        {"--sources", NULL, &options.sources, NULL}, {"--bytes", NULL, &options.bytes, NULL},
        {"--depth", NULL, &options.depth, NULL},     {"--pid", NULL, NULL, &options.pids},
        {"--host", NULL, NULL, &options.host},       {"--path", NULL, NULL, &options.path},
        {"--keys", NULL, &options.keys, NULL},       {"--zipf", &options.zipf, NULL, NULL},
        {"--seed", NULL, &options.seed, NULL},       {"--set-share", &options.set_share, NULL, NULL},
    };
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        exit(0);
    }
    if (argc < 2 || argv[1][0] == '-') {
        fputs(help, stderr);
        exit(2);
    }
    options.mode = argv[1];
    bool storm = strcmp(options.mode, "storm") == 0;
    if (storm || strcmp(options.mode, "stalled") == 0 || strcmp(options.mode, "idle") == 0) {
        options.warmup = 0;
    }
    if (storm) {
        options.connections = 10000;
        options.sources = 64;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--bare") == 0) {
            options.bare = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool found = value != NULL && strcmp(argv[i], "--protocol") == 0;
        if (found) {
            options.protocol = protocol_of(value);
        }
        for (size_t k = 0; !found && value != NULL && k < sizeof table / sizeof *table; k++) {
            found = strcmp(argv[i], table[k].name) == 0;
            if (found && table[k].real != NULL) {
                *table[k].real = number(argv[i], value);
            } else if (found && table[k].whole != NULL) {
                *table[k].whole = whole(argv[i], value);
            } else if (found) {
                *table[k].text = value;
            }
        }
        if (!found) {
            die("%s: unknown, or without a value (--help)", argv[i]);
        }
        i++;
    }
    if (options.connections > 20000 && options.sources == 0) {
        options.sources = 64;
    }
    if (options.keys < 1 || options.zipf > 20 || options.set_share > 1) {
        die("--keys from 1, --zipf up to 20, --set-share up to 1 (--help)");
    }
    if (options.port < 1 || options.port > 65535) {
        die("--port is needed, from 1 to 65535 (--help)");
    }
    if (options.connections < 1 || options.bytes < 1 || options.depth < 1 || options.rate <= 0 ||
        options.seconds <= 0) {
        die("--connections, --bytes, --depth, --rate and --seconds are above 0 (--help)");
    }
}

static struct result result; /* what is known of it so far */

static void print(const struct result *r)
{
    static const char *const protocols[] = {"http", "echo", "ping", "resp"};
    struct account *a = &account;
    if (!options.bare) {
        printf(
            "mode,protocol,target,connections,rate,seconds,sent,ok,refused,lost,goodput,p50_us,p99_us,p999_us,max_us,"
            "refused_p99_us,late_p99_us,connects,connect_errors,resets,slowest_share,bytes_each,sent_each,cpu_us\n");
    }
    bool timed = strcmp(options.mode, "open") == 0 || strcmp(options.mode, "storm") == 0;
    printf("%s,%s,%s,%ld,%.0f,%.1f,%llu,%llu,%llu,%llu,%.0f", options.mode,
           protocols[strcmp(options.mode, "resp") == 0 ? 3 : options.protocol],
           strcmp(options.mode, "resp") != 0 && options.protocol == HTTP ? options.path : "-", options.connections,
           timed ? options.rate : 0.0, r->seconds, (unsigned long long)a->sent, (unsigned long long)a->ok,
           (unsigned long long)a->refused, (unsigned long long)a->lost, (double)a->ok_arrived / r->seconds);
    static const double shares[] = {0.5, 0.99, 0.999, 1};
    for (unsigned i = 0; i < 4; i++) {
        printf(",%.1f", (double)histogram_at(&a->ok_latency, shares[i]) / 1e3);
    }
    printf(",%.1f,%.1f,%llu,%llu,%llu,", (double)histogram_at(&a->refused_latency, 0.99) / 1e3,
           (double)histogram_at(&a->late, 0.99) / 1e3, (unsigned long long)a->connects,
           (unsigned long long)a->connect_errors, (unsigned long long)a->resets);
    if (r->slowest_share >= 0) {
        printf("%.3f", r->slowest_share);
    }
    printf(",");
    if (r->bytes_each >= 0) {
        printf("%.0f", r->bytes_each);
    }
    printf(",%llu,", (unsigned long long)r->poured_each);
    if (server_known() && server_cpu() != 0 && a->ok_arrived != 0) {
        printf("%.3f", (double)server_cpu() / 1e3 / (double)a->ok_arrived);
    }
    printf("\n");
}

void die_midway(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "weft-load: ");
    vfprintf(stderr, format, args);
    va_end(args);
    uint64_t now = now_ns();
    if (account.measure_from != 0 && now > account.measure_from) {
        if (now < account.measure_to) {
            result.seconds = (double)(now - account.measure_from) / 1e9;
        }
        fprintf(stderr, " (the figures are those so far, of %.3f s)\n", result.seconds);
        print(&result);
    } else {
        fprintf(stderr, "\n");
    }
    exit(1);
}

int main(int argc, char **argv)
{
    arguments(argc, argv);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        if (strcmp(options.mode, "storm") != 0 && (rlim_t)options.connections > files.rlim_max) {
            die("--connections %ld: this process may have %llu descriptors (ulimit -Hn)", options.connections,
                (unsigned long long)files.rlim_max);
        }
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* what is due leaves when it is due, not up to 50 us after that */
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        die("no epoll");
    }
    peer_prepare();
    server_prepare();
    mode_run(&result);
    print(&result);
    if (account.connect_errors + account.resets != 0) {
        fprintf(stderr, "weft-load: %llu connections could not be made, %llu broke%s\n",
                (unsigned long long)account.connect_errors, (unsigned long long)account.resets, last_failure());
    }
    if (account.gone) {
        fprintf(stderr, "weft-load: the server has left: nobody listens on port %ld any more\n", options.port);
    }
    return account.gone ? 1 : 0;
}
