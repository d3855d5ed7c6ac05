/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the installed library, strict C17: one task creates and awaits another and reads its result, and forks and joins some (which is
 * done inline, with a variable of the library's thread). */
#include <stdio.h>
#include <string.h>
#include <weft.h>

struct twice {
    WEFT_FRAME;
    int number;
    int result;
};

static int twice(struct twice *f)
{
    int rc = weft_yield();
    f->result = 2 * f->number;
    return rc;
}
WEFT_CORO(twice);

struct ask {
    WEFT_FRAME;
    int answer;
};

static int ask(struct ask *f)
{
    weft_task *task = weft_create_task(twice, .number = 21);
    int rc = weft_await(task);
    if (rc == 0)
        f->answer = weft_result(twice, task)->result;
    weft_release(task);
    struct twice halves[8];
    weft_child children[8];
    for (int i = 0; i < 8; i++) {
        halves[i] = (struct twice){.number = i};
        weft_fork(&children[i], twice, &halves[i]);
    }
    for (int i = 8; i-- > 0;) {
        int joined = weft_join(&children[i]);
        if (joined < 0 || halves[i].result != 2 * i)
            rc = -1;
    }
    if (rc == 0)
        printf("answer %d\n", f->answer);
    return rc;
}
WEFT_CORO(ask);

int main(void)
{
    if (strcmp(weft_version(), WEFT_VERSION_STRING) != 0) {
        fprintf(stderr, "headers of %s, library of %s\n", WEFT_VERSION_STRING, weft_version());
        return 1;
    }
    int rc = weft_run_with(WEFT_OPTIONS(.workers = 2), ask);
    if (rc < 0)
        fprintf(stderr, "weft_run: %s\n", weft_strerror(rc));
    return rc < 0;
}
