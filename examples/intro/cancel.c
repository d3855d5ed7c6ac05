/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling: the task meets the request as -ECANCELED from the call it waits in, cleans up, and passes it on. */
#include <errno.h>

#include "intro.h"

struct forever {
    WEFT_FRAME;
};
static int forever(struct forever *f)
{
    (void)f;
    printf("working\n");
    int rc = weft_sleep(WEFT_SEC(3600));
    if (rc == -ECANCELED) {
        printf("cleaning up\n");
        weft_sleep(WEFT_MS(500)); /* cleaning up may wait: a request is delivered once */
        printf("clean\n");
    }
    return rc; /* -ECANCELED: the task ends cancelled */
}
WEFT_CORO(forever);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();
    weft_task *task = weft_create_task(forever);
    int rc = weft_sleep(WEFT_SEC(1));
    weft_cancel(task);
    if (rc == 0) {
        rc = weft_await(task);
        printf("the task ended %s after " INTRO_ELAPSED "\n", weft_cancelled(task) ? "cancelled" : "by itself",
               INTRO_SINCE(start));
    }
    weft_release(task);
    return rc == -ECANCELED && weft_cancelling(weft_current_task()) == 0 ? 0 : rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
