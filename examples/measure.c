/* SPDX-License-Identifier: Apache-2.0 */
/* measure: a workload of one's own over workers, pin policies and places. A word count: a text is cut into parts, a task counts each part, and the
 * sum is checked. Writes measure.json, .csv and .html, or what the first argument says.
 *
 *     measure [PREFIX [SECONDS]] */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft.h>
#include <weft/bench.h>

enum { PARTS = 256, PART = 8192 };

struct count {
    WEFT_FRAME;
    const char *text;
    int length;
    long words; /* the result */
};
static int count(struct count *f)
{
    for (int i = 0; i < f->length; i++)
        f->words += f->text[i] == ' ';
    return 0;
}
WEFT_CORO(count);

/* What is measured. Its result says whether the answer was right. */
struct count_all {
    WEFT_FRAME;
    const char *text;
    long expected;
};
static int count_all(struct count_all *f)
{
    weft_task *t[PARTS];
    long words = 0;
    for (int i = 0; i < PARTS; i++)
        t[i] = weft_create_task(count, .text = f->text + (long)i * PART, .length = PART);
    int rc = 0;
    for (int i = 0; i < PARTS; i++) {
        int ended = weft_await(t[i]);
        rc = ended < 0 ? ended : rc;
        words += ended == 0 ? weft_result(count, t[i])->words : 0;
        weft_release(t[i]);
    }
    return rc < 0 ? rc : words == f->expected ? 0 : -EIO;
}
WEFT_CORO(count_all);

int main(int argc, char **argv)
{
    bool help = argc > 1 && strcmp(argv[1], "--help") == 0;
    double seconds = argc > 2 ? atof(argv[2]) : 10;
    if (help || argc > 3 || (argc > 1 && argv[1][0] == '-') || !(seconds > 0)) {
        fprintf(help ? stdout : stderr,
                "usage: weft-measure [PREFIX [SECONDS]]\n"
                "  measures, and writes PREFIX.json, PREFIX.csv, PREFIX.html (measure; 10 s)\n");
        return help ? 0 : 2;
    }
    long words = 0;
    char *text = malloc((size_t)PARTS * PART);
    if (text == NULL)
        return 1;
    for (long i = 0; i < (long)PARTS * PART; i++) {
        text[i] = i % 6 == 5 ? ' ' : 'x';
        words += i % 6 == 5;
    }
    weft_bench *b;
    int rc = weft_bench_open(&b, WEFT_BENCH_OPTIONS(.title = "Counting words"));
    if (rc == 0) {
        rc = weft_bench_run(b,
                            WEFT_BENCH_WORKLOAD(.name = "words", .what = "a part of 8 KiB counted by a task of its own",
                                                .operations = PARTS, .seconds = seconds),
                            count_all, .text = text, .expected = words);
        if (rc == 0)
            rc = weft_bench_write(b, argc > 1 ? argv[1] : "measure");
        weft_bench_close(b);
    }
    free(text);
    if (rc < 0)
        fprintf(stderr, "measure: %s\n", weft_strerror(rc));
    return rc < 0;
}
