/* SPDX-License-Identifier: Apache-2.0 */
/* load/load.h -- weft-load: what its files share. One thread, plain epoll, nothing of weft: it judges servers of any make. */
#ifndef BENCH_LOAD_LOAD_H
#define BENCH_LOAD_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- histogram.c: latencies in nanoseconds, to 1 part in 128, from 1 ns to 2^63 ---- */

enum { HISTOGRAM_SUB = 128, HISTOGRAM_BUCKETS = (64 - 6) * HISTOGRAM_SUB };
struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS], count, max;
};
void histogram_add(struct histogram *h, uint64_t ns);
/* The value that the share p (0 to 1) of all values does not exceed, never too low by more than the precision; 0: empty. */
uint64_t histogram_at(const struct histogram *h, double p);

/* ---- the command line ---- */

enum protocol { HTTP, ECHO, PING };
struct options {
    const char *mode, *host, *path, *pids;
    long port, connections, sources, bytes, depth, keys, seed;
    double rate, seconds, warmup, patience; /* per second; seconds */
    double zipf, set_share;                 /* resp */
    bool bare;                              /* no line of names */
    enum protocol protocol;
};
extern struct options options;

/* ---- peer.c: one connection ---- */

struct peer {
    int fd; /* -1: none */
    unsigned index;
    bool connecting, writable_wanted;
    /* All requests are the same bytes: of `queued` of them, `offset` bytes of the first are sent. */
    uint64_t queued;
    size_t offset;
    uint64_t sent_bytes;
    /* Instants at which the requests that are not answered were due: due[first .. first + waiting), a ring. */
    uint64_t *due;
    size_t first, waiting, room;
    /* The answer that is coming. */
    char head[1024];
    size_t head_n, body_left;
    bool in_body, close_after;
    int status;
    uint64_t answers; /* in the measured time */
};

/* What became of the requests; the measured ones only. */
struct account {
    uint64_t sent, ok, refused, lost, connects, connect_errors, resets;
    uint64_t ok_arrived;                                /* in the measured time, whenever they were due */
    struct histogram ok_latency, refused_latency, late; /* late: how far this program itself was behind its schedule */
    uint64_t measure_from, measure_to;                  /* instants at which a request has to be due to count */
    const char *last_call;                              /* that failed on a connection; NULL: none has */
    int last_error; /* its errno; 0: the server closed the connection while something was asked */
    bool gone;      /* nobody listens: the latest connection was refused */
};
extern struct account account;
extern int epoll_fd;

uint64_t now_ns(void);
/* Print and end with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
/* The same when the server is lost in the middle of a run: the figures so far are printed, if its measured time had begun. */
__attribute__((noreturn, format(printf, 1, 2))) void die_midway(const char *format, ...);
/* Note it as the last one, for both. */
void failed(const char *call, int error);
/* "; the last that failed: connect: Connection refused", or "". Static memory. */
const char *last_failure(void);
void peer_prepare(void); /* the request's bytes */
/* Start connecting. False: there is no descriptor, port or memory (counted). */
bool peer_open(struct peer *p);
/* Close; what was not answered is lost. */
void peer_close(struct peer *p);
/* One request more, due at that instant; sends as much as the kernel takes. False: the connection broke (it is closed). */
bool peer_request(struct peer *p, uint64_t due, uint64_t now);
/* Something happened on the descriptor. The number of answers that came; -1: the connection is over (it is closed). */
int peer_event(struct peer *p, uint32_t events, uint64_t now);
/* Send without expecting anything (stalled clients). False: broken. */
bool peer_pour(struct peer *p);
/* Wait for events until the instant and hand them to `each`. */
void peer_wait(uint64_t until, void (*each)(struct peer *p, uint32_t events, uint64_t now));

/* ---- server.c ---- */

void server_prepare(void); /* options.pids; ends the program where that is no list of processes */
bool server_known(void);   /* there are some */
void server_edge(
    uint64_t now);         /* call between batches of events: takes the CPU time at the edges of the measured time */
uint64_t server_cpu(void); /* in the measured time, in ns */
long server_memory(void);  /* resident and page tables, in kB */

/* ---- modes.c ---- */

struct result {
    double seconds;       /* measured */
    double slowest_share; /* answers of the slowest connection / mean of all; < 0: not known */
    double bytes_each;    /* the server's memory for each connection; < 0: not known */
    uint64_t poured_each; /* bytes the kernels took of a stalled client */
    long connections;     /* that were open */
};
/* Run options.mode. */
void mode_run(struct result *r);

/* ---- resp.c: weft-load resp, with connections of its own ---- */

void resp_run(struct result *r);

#endif
