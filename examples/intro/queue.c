/* SPDX-License-Identifier: Apache-2.0 */
/* A producer and three workers with a queue between them. weft_queue_join waits until every item was dealt with. */
#include <errno.h>
#include <stdatomic.h>

#include "intro.h"

struct worker {
    WEFT_FRAME;
    weft_queue *queue;
    atomic_int *slept_ms;
};
static int worker(struct worker *f)
{
    for (;;) {
        int ms;
        int rc = weft_queue_get(f->queue, &ms);
        if (rc < 0) {
            return rc == -ESHUTDOWN ? 0 : rc; /* no more work */
        }
        rc = weft_sleep(WEFT_MS(ms));
        atomic_fetch_add(f->slept_ms, ms);
        weft_queue_task_done(f->queue);
        if (rc < 0) {
            return rc;
        }
    }
}
WEFT_CORO(worker);

struct program {
    WEFT_FRAME;
};
static int program(struct program *f)
{
    (void)f;
    weft_ns start = weft_now();
    atomic_int slept_ms = 0;
    weft_queue *queue = weft_queue_create(sizeof(int), 4); /* a fifth item has to wait */
    if (queue == NULL) {
        return -ENOMEM;
    }
    weft_task *workers[3];
    for (int i = 0; i < 3; i++) {
        workers[i] = weft_create_task(worker, .queue = queue, .slept_ms = &slept_ms);
    }
    int rc = 0;
    for (int i = 0; i < 12 && rc == 0; i++) {
        rc = weft_queue_put(queue, &(int){500});
    }
    if (rc == 0) {
        rc = weft_queue_join(queue);
    }
    weft_queue_shutdown(queue, rc < 0); /* the workers' next get ends them */
    for (int i = 0; i < 3; i++) {
        int ended = weft_await_release(workers[i]);
        rc = rc == 0 ? ended : rc;
    }
    weft_queue_destroy(queue);
    printf("3 workers slept %d.%d s together, in " INTRO_ELAPSED "\n", slept_ms / 1000, slept_ms % 1000 / 100,
           INTRO_SINCE(start));
    return rc;
}
WEFT_CORO(program);

int main(void)
{
    return weft_run_with(INTRO_OPTIONS, program) < 0;
}
