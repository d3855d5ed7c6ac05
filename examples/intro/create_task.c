/* SPDX-License-Identifier: Apache-2.0 */
/* A task runs beside its creator: start it, do other work, then await its result. */
#include "intro.h"

struct brew {
    WEFT_FRAME;
    int cups;   /* argument */
    int brewed; /* result */
};
static int brew(struct brew *f)
{
    int rc = weft_sleep(WEFT_SEC(3));
    f->brewed = f->cups;
    return rc;
}
WEFT_CORO(brew);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();
    weft_task *coffee = weft_create_task(brew, .cups = 2);
    printf("the coffee is on\n");

    int rc = weft_sleep(WEFT_SEC(1)); /* other work, while the task runs */
    printf("the table is laid after " INTRO_ELAPSED "\n", INTRO_SINCE(start));

    if (rc == 0) {
        rc = weft_await(coffee);
    }
    if (rc == 0) {
        printf("%d cups after " INTRO_ELAPSED "\n", weft_result(brew, coffee)->brewed, INTRO_SINCE(start));
    }
    weft_release(coffee);
    return rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
