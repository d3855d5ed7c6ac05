/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the installed library weft_testing; with WEFT_NO_TESTING the same coroutine as production builds it. */
#include <stdio.h>
#include <weft.h>
#include <weft/testing.h>

struct nap {
    WEFT_FRAME;
};
static int nap(struct nap *f)
{
    (void)f;
    weft_point();
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(nap);

static inline void clean_up(weft_stream *s)
{
    weft_drain_until_end(s, WEFT_MS(1));
    weft_close(s);
}

int main(void)
{
    void (*unused)(weft_stream *) = clean_up;
    (void)unused;
#ifdef WEFT_NO_TESTING
    int rc = weft_run(nap);
#else
    int rc = weft_sweep_cancel(NULL, nap) > 0 ? 0 : -1;
#endif
    printf("%s\n", rc == 0 ? "swept" : "failed");
    return rc == 0 ? 0 : 1;
}
