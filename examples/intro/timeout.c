/* SPDX-License-Identifier: Apache-2.0 */
/* A time limit over a block of code, and over one task. */
#include <errno.h>

#include "intro.h"

struct slow {
    WEFT_FRAME;
};
static int slow(struct slow *f)
{
    (void)f;
    return weft_sleep(WEFT_SEC(3600));
}
WEFT_CORO(slow);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();

    weft_timeout limit; /* async with asyncio.timeout(1): */
    weft_timeout_begin(&limit, WEFT_SEC(1));
    int rc = slow(&(struct slow){.frame_ = {0}});
    rc = weft_timeout_end(&limit, rc);
    printf("%s after " INTRO_ELAPSED "\n", rc == -ETIMEDOUT ? "timeout" : "no timeout", INTRO_SINCE(start));
    if (rc == -ECANCELED) {
        return rc;
    }

    weft_task *task = weft_create_task(slow); /* await asyncio.wait_for(slow(), timeout=1) */
    rc = weft_wait_for(task, WEFT_SEC(1));
    printf("%s after " INTRO_ELAPSED ", the task is %s\n", rc == -ETIMEDOUT ? "timeout" : "no timeout",
           INTRO_SINCE(start), weft_cancelled(task) ? "cancelled" : "not cancelled");
    weft_release(task);
    return rc == -ETIMEDOUT ? 0 : rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
