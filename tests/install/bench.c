/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the installed library weft_bench. */
#include <errno.h>
#include <stdio.h>
#include <weft/bench.h>

struct nothing {
    WEFT_FRAME;
    int rc;
};
static int nothing(struct nothing *f)
{
    return f->rc;
}
WEFT_CORO(nothing);

int main(int argc, char **argv)
{
    weft_bench *b;
    if (argc != 2 || weft_bench_open(&b, NULL) != 0)
        return 1;
    int good = weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "nothing", .seconds = 0.001), nothing, .rc = 0);
    int bad = weft_bench_run(b, WEFT_BENCH_WORKLOAD(.name = "bad", .seconds = 0.001), nothing, .rc = -EIO);
    int written = weft_bench_write(b, argv[1]);
    weft_bench_close(b);
    if (good != 0 || bad != -EIO || written != 0)
        return 1;
    printf("measured, and failed as it should\n");
    return 0;
}
