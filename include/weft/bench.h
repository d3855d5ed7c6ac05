/* SPDX-License-Identifier: Apache-2.0 */
/* weft/bench.h -- measuring a workload of one's own over worker counts, pin policies and places; the library weft_bench.
 *
 *     struct serve { WEFT_FRAME; int requests; };                     // the workload: a coroutine
 *     static int serve(struct serve *f) { ...; return answer == expected ? 0 : -EIO; }
 *     WEFT_CORO(serve);
 *
 *     weft_bench *b;
 *     int rc = weft_bench_open(&b, WEFT_BENCH_OPTIONS(.title = "our server"));
 *     rc = weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "requests", .operations = 10000), serve, .requests = 10000);
 *     rc = weft_bench_write(b, "report");                             // report.json, report.csv, report.html
 *     weft_bench_close(b);
 *
 * The files are those of `weft-bench topology`: the JSON can be given to `weft-bench compare`. Not part of weft.h; link with
 * weft_bench and weft (CMake: weft::bench; pkg-config: weft-bench).
 *
 * All calls are for one ordinary thread at a time, not for tasks, and block. They change the affinity of the calling thread while
 * they run, and give it back. asyncio has no counterpart. */
#ifndef WEFT_BENCH_H
#define WEFT_BENCH_H

#include <weft/run.h>

WEFT_BEGIN_DECLS

/* A report in the making. */
typedef struct weft_bench weft_bench;

/* A field left zero means the default named beside it. Texts are copied. */
typedef struct weft_bench_options {
    size_t size;       /* set by WEFT_BENCH_OPTIONS */
    const char *title; /* of the page; NULL: "weft-bench" */
    const char
        *label; /* what is told from others in a comparison: a machine, a kernel, a setting; NULL: the host's name */
    unsigned
        workers; /* the most; 0: one for each CPU that this process may use. More than that: as many as there are */
    unsigned
        rounds; /* everything is measured so many times over, in turn: what changes with time is seen as such; 0: 3 */
    void (*progress)(void *user, double share, const char *what); /* called now and then, share 0 to 1; NULL: nobody */
    void *progress_user;
} weft_bench_options;

/* What a workload is run over. */
enum weft_bench_sweep {
    WEFT_BENCH_WORKERS =
        1, /* 1, 2, 3, 4, 6, 8, 12 ... workers; where cores have several hardware threads, with and without */
    WEFT_BENCH_PINS = 2,     /* the policies of enum weft_pin, with all workers */
    WEFT_BENCH_PLACES = 4,   /* half of the workers, on neighbouring cores and spread over caches and nodes */
    WEFT_BENCH_STEALING = 8, /* the nearest asked first, and anybody: where the library has that option */
};

typedef struct weft_bench_workload {
    size_t size; /* set by WEFT_BENCH_WORKLOAD */
    const char *
        name; /* short, unique in a report, the same in reports that are to be compared: letters, digits, '_' and '-' */
    const char *what;  /* one operation, in words; NULL: "operations" */
    double operations; /* in one run of the coroutine; 0: 1 */
    unsigned sweeps;   /* enum weft_bench_sweep, or'ed; 0: all */
    double seconds;    /* to spend, about; 0: 20 */
} weft_bench_workload;

#ifdef __cplusplus
#define WEFT_BENCH_OPTIONS(...)                                                                                        \
    (weft__box<weft_bench_options>{{.size = sizeof(weft_bench_options), __VA_ARGS__}}.address())
#define WEFT_BENCH_WORKLOAD(...)                                                                                       \
    (weft__box<weft_bench_workload>{{.size = sizeof(weft_bench_workload), __VA_ARGS__}}.address())
#else
#define WEFT_BENCH_OPTIONS(...) (&(weft_bench_options){.size = sizeof(weft_bench_options), __VA_ARGS__})
#define WEFT_BENCH_WORKLOAD(...) (&(weft_bench_workload){.size = sizeof(weft_bench_workload), __VA_ARGS__})
#endif

/* Begin a report: describes the machine. options may be NULL. 0 and *out, to be closed; -EINVAL: a size that is not of this struct; -ENOMEM; -EIO:
 * the kernel does not tell what CPUs there are. */
WEFT_API WEFT_NODISCARD int weft_bench_open(weft_bench **out, const weft_bench_options *options);

/* Measure a coroutine over the sweeps. Each setting gets a runtime of its own in each round; there the coroutine is called to warm up, at
 * least once, and then as often as the time allows, at least three times, each time on a new copy of the frame. It is timed from its first
 * statement to its return: what it creates it should await. It checks its own answer: a negative result ends the call, which returns it.
 * Rates (operations a second) become figures of the report; a sweep that this machine cannot show becomes a note that says why.
 * Also -EINVAL (no name, or one that is taken; a size; numbers that cannot be meant; sweeps that are none; a workload that returns WEFT_PARK: it
 * is called as a function), -EBUSY (inside a task), and what keeps a runtime from starting.
 * What the report has so far stays. */
#define weft_bench_run(bench, workload, ...) weft__BENCH_RUN(bench, workload, __VA_ARGS__, )
#define weft__BENCH_RUN(bench, workload, fn, ...)                                                                      \
    weft_bench_run_((bench), (workload), weft__FRAME(fn, __VA_ARGS__), sizeof(struct fn))
WEFT_API WEFT_NODISCARD int weft_bench_run_(weft_bench *b, const weft_bench_workload *workload, weft_frame *frame,
                                            size_t frame_size);

/* Write PREFIX.json, PREFIX.csv and PREFIX.html, over what is there. 0, the negative errno of a file, -EINVAL (no prefix), or -ENOMEM (also from
 * earlier). */
WEFT_API WEFT_NODISCARD int weft_bench_write(weft_bench *b, const char *prefix);

/* Throw the report away. NULL is allowed. */
WEFT_API void weft_bench_close(weft_bench *b);

WEFT_END_DECLS

#endif
