/* SPDX-License-Identifier: Apache-2.0 */
/* Three fetches in the time of one. Each is a task of its own; weft_gather waits for all of them. */
#include "intro.h"

struct fetch {
    WEFT_FRAME;
    const char *page;
    weft_ns takes;
    int bytes; /* result */
};
static int fetch(struct fetch *f)
{
    int rc = weft_sleep(f->takes); /* a server far away */
    f->bytes = (int)(f->takes / WEFT_MS(1)) * 10;
    return rc;
}
WEFT_CORO(fetch);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();
    weft_task *tasks[] = {
        weft_create_task(fetch, .page = "index", .takes = WEFT_MS(2000)),
        weft_create_task(fetch, .page = "news", .takes = WEFT_MS(1000)),
        weft_create_task(fetch, .page = "about", .takes = WEFT_MS(1500)),
    };
    int rc = weft_gather(tasks[0], tasks[1], tasks[2]);
    printf("all done after " INTRO_ELAPSED "\n", INTRO_SINCE(start));

    /* The results are in the tasks: in the order asked for, whatever the order of completion. */
    for (int i = 0; i < 3; i++) {
        if (rc == 0) {
            printf("%s: %d bytes\n", weft_result(fetch, tasks[i])->page, weft_result(fetch, tasks[i])->bytes);
        }
        weft_release(tasks[i]);
    }
    return rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
