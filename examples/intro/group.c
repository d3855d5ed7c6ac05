/* SPDX-License-Identifier: Apache-2.0 */
/* A task group: no task outlives the block, and when one fails the others are cancelled. */
#include <errno.h>

#include "intro.h"

struct step {
    WEFT_FRAME;
    const char *name;
    weft_ns takes;
    int outcome;
};
static int step(struct step *f)
{
    int rc = weft_sleep(f->takes);
    printf("%s: %s\n", f->name, rc == -ECANCELED ? "cancelled" : f->outcome < 0 ? "failed" : "done");
    return rc < 0 ? rc : f->outcome;
}
WEFT_CORO(step);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();

    weft_group group; /* async with asyncio.TaskGroup() as group: */
    weft_group_begin(&group);
    int rc = weft_group_start(&group, step, .name = "first", .takes = WEFT_SEC(1));
    if (rc == 0) {
        rc = weft_group_start(&group, step, .name = "second", .takes = WEFT_SEC(2));
    }
    rc = weft_group_join(&group, rc);
    printf("both ended: %s, after " INTRO_ELAPSED "\n", rc == 0 ? "well" : weft_strerror(rc), INTRO_SINCE(start));
    if (rc < 0) {
        return rc;
    }

    weft_group_begin(&group);
    rc = weft_group_start(&group, step, .name = "broken", .takes = WEFT_SEC(1), .outcome = -EIO);
    if (rc == 0) {
        rc = weft_group_start(&group, step, .name = "long", .takes = WEFT_SEC(3600));
    }
    rc = weft_group_join(&group, rc);
    printf("both ended: %s, after " INTRO_ELAPSED "\n", rc == -EIO ? "the first error" : weft_strerror(rc),
           INTRO_SINCE(start));
    return rc == -EIO ? 0 : rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
