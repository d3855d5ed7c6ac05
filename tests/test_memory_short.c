/* SPDX-License-Identifier: Apache-2.0 */
/* Memory is short at the k-th allocation of a call, for every k: it says so by its documented answer, changes nothing, keeps nothing, and the
 * same call goes well afterwards. malloc and its kin are replaced in this program; where a tool replaces them itself, it skips. */
#include <stdlib.h>

#include "support/actors.h"
#include "support/threads.h"

#include <weft/callback.h>
#include <weft/context.h>
#include <weft/future.h>
#include <weft/strand.h>

static _Thread_local long allow; /* allocations of this thread until one fails, counted down; 0: none fails */
static _Thread_local bool none;  /* malloc has none for this thread */
static _Thread_local bool failed;

#if !THREADS_SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *old, size_t size);
void *aligned_alloc(size_t alignment, size_t size);

static bool refuse(void)
{
    if (allow == 0 || --allow != 0)
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}
void *malloc(size_t size)
{
    return none || refuse() ? NULL : __libc_malloc(size);
}
void *calloc(size_t n, size_t size)
{
    return refuse() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *old, size_t size)
{
    return refuse() ? NULL : __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    return refuse() ? NULL : __libc_memalign(alignment, size);
}
#endif

/* Runs `statement` with the first, the second ... allocation failing until none does; `check` says what must hold when one has. */
#define WITHOUT_MEMORY(statement, check)                                                                               \
    do {                                                                                                               \
        failed = true;                                                                                                 \
        for (long k = 1; failed && k < 1000; k++) {                                                                    \
            failed = false;                                                                                            \
            allow = k;                                                                                                 \
            statement;                                                                                                 \
            allow = 0;                                                                                                 \
            if (failed)                                                                                                \
                CHECK(check);                                                                                          \
        }                                                                                                              \
    } while (0)

struct big {
    WEFT_FRAME;
    char room[300];
};
static int big(struct big *b)
{
    return b->room[7];
}
WEFT_CORO(big);

static weft_context_var var = WEFT_CONTEXT_VAR("var", NULL), other = WEFT_CONTEXT_VAR("other", NULL);

/* One worker: nobody else allocates in this thread, and nothing moves to another. */
static int futures(void *unused)
{
    (void)unused;
    weft_future *f = NULL, *g = NULL;
    WITHOUT_MEMORY(f = weft_future_create_of(big), f == NULL);
    CHECK(f != NULL);
    weft_task *const tasks[3] = {f, f, NULL};
    WITHOUT_MEMORY(g = weft_gather_future(tasks, 2, true), g == NULL && !weft_done(f));
    CHECK(g != NULL && !weft_done(g));
    weft_future *s = NULL;
    WITHOUT_MEMORY(s = weft_shield_future(g), s == NULL);
    CHECK(s != NULL);
    CHECK(weft_future_set_result(f, 0) == 0 && weft_await(s) == 0);
    weft_release(s);
    weft_release(g);
    weft_release(f);
    return 0;
}

static int callbacks(void *unused)
{
    (void)unused;
    weft_handle *h[4] = {NULL};
    weft_future *f = weft_future_create();
    CHECK(weft_context_set(&var, &var, NULL) == 0); /* so that there is something to inherit */
    WITHOUT_MEMORY(h[0] = weft_call_soon(big), h[0] == NULL);
    WITHOUT_MEMORY(h[1] = weft_call_later(WEFT_MS(1), big), h[1] == NULL);
    WITHOUT_MEMORY(h[2] = weft_add_done_callback(f, big), h[2] == NULL);
    WITHOUT_MEMORY(h[3] = weft_call_soon_threadsafe(weft_runtime_current(), big), h[3] == NULL);
    CHECK(weft_future_set_result(f, 0) == 0 && weft_gather_n(h, 4) == 0);
    for (int i = 0; i < 4; i++)
        weft_release(h[i]);
    /* So many that the heap of timers has to grow while memory is short. */
    weft_handle *many[200];
    for (int i = 0; i < 200; i++) {
        many[i] = NULL;
        WITHOUT_MEMORY(many[i] = weft_call_later(WEFT_SEC(1), big), many[i] == NULL);
        CHECK(many[i] != NULL);
    }
    for (int i = 0; i < 200; i++) {
        CHECK(weft_cancel(many[i]));
        weft_release(many[i]);
    }
    weft_release(f);
    return 0;
}

static int contexts(void *unused)
{
    (void)unused;
    int rc = 0;
    weft_context_token token = {.var_ = &other};
    WITHOUT_MEMORY(rc = weft_context_set(&var, &rc, NULL), rc == -ENOMEM && weft_context_get(&var) == NULL);
    CHECK(rc == 0 && weft_context_get(&var) == &rc);
    CHECK(weft_context_set(&other, &other, NULL) == 0);
    WITHOUT_MEMORY(rc = weft_context_set(&var, &token, &token), rc == -ENOMEM && weft_context_get(&var) == &rc &&
                                                                    token.var_ == &other &&
                                                                    weft_context_get(&other) == &other);
    CHECK(rc == 0 && weft_context_get(&var) == &token && token.var_ == &var);
    CHECK(weft_context_set(&other, &var, NULL) == 0);
    WITHOUT_MEMORY(rc = weft_context_reset(&token), rc == -ENOMEM && weft_context_get(&var) == &token);
    CHECK(rc == 0 && weft_context_get(&var) == &rc && weft_context_get(&other) == &var);
    weft_context *c = NULL;
    WITHOUT_MEMORY(c = weft_context_copy(), c == NULL);
    CHECK(weft_context_lookup(c, &var) == &rc);
    weft_context_release(c);
    return 0;
}

static int tasks(void *unused)
{
    (void)unused;
    weft_task *t[4] = {NULL};
    weft_strand *s = NULL;
    CHECK(weft_context_set(&var, &var, NULL) == 0);
    WITHOUT_MEMORY(s = weft_strand_create(), s == NULL);
    weft_context *c = weft_context_copy();
    WITHOUT_MEMORY(t[0] = weft_create_task(big), t[0] == NULL);
    WITHOUT_MEMORY(t[1] = weft_create_task_with(WEFT_TASK_OPTIONS(.name = "named", .strand = s, .context = c), big),
                   t[1] == NULL);
    WITHOUT_MEMORY(t[2] = weft_create_task_with(WEFT_TASK_OPTIONS(.eager = true, .name = "eager"), big), t[2] == NULL);
    for (long k = 1; k < 50; k++) { /* a helper thread that can't be had is another answer */
        failed = false;
        allow = k;
        t[3] = weft_to_thread(big);
        allow = 0;
        if (!failed)
            break;
        int rc = weft_await_release(t[3]);
        CHECK(rc == -ENOMEM || rc == -EAGAIN || rc == 0);
        t[3] = NULL;
    }
    weft_strand_release(s);
    weft_context_release(c);
    CHECK(weft_done(t[2]));
    int rc = 1;
    WITHOUT_MEMORY(rc = weft_gather_n(t, 4), rc == -ENOMEM);
    CHECK(rc == 0);
    for (int i = 0; i < 4; i++)
        weft_release(t[i]);
    return 0;
}

/* A message that finds no room is lost; the request is not. */
static int messages(void *unused)
{
    (void)unused;
    for (long k = 1; k <= 3; k++) {
        weft_task *t = weft_create_task(actor, .id = 0, .work = 100);
        CHECK(weft_sleep(WEFT_MS(1)) == 0);
        allow = k;
        bool taken = weft_cancel_with(t, "message");
        allow = 0;
        CHECK(taken && weft_await_release(t) == -ECANCELED);
    }
    return 0;
}

static int waits(void *unused)
{
    (void)unused;
    weft_future *f = weft_future_create();
    weft_task *list[40];
    weft_as_completed it;
    weft_timeout limit;
    int rc = 0;
    for (int i = 0; i < 40; i++)
        list[i] = f;
    WITHOUT_MEMORY(
        {
            rc = weft_as_completed_begin(&it, list, 40, WEFT_SEC(1));
            weft_task *out;
            if (rc < 0) {
                CHECK(weft_as_completed_next(&it, &out) == -ENOMEM);
                weft_as_completed_end(&it);
            }
        },
        rc == -ENOMEM);
    CHECK(rc == 0);
    weft_as_completed_end(&it);
    WITHOUT_MEMORY(
        {
            rc = weft_timeout_begin(&limit, WEFT_MS(1));
            if (rc < 0) {
                CHECK(weft_timeout_when(&limit) == WEFT_FOREVER && !weft_timeout_expired(&limit));
                CHECK(weft_timeout_reschedule(&limit, 1) == -ENOMEM && weft_timeout_end(&limit, 0) == -ENOMEM);
            }
        },
        rc == -ENOMEM);
    CHECK(rc == 0 && weft_timeout_end(&limit, 0) == 0);
    /* Few of them would find room in a block that is there. Who waits for all needs none (tests/testing/test_wait_short.c). */
    allow = 1;
    rc = weft_wait(list, 40, WEFT_FIRST_COMPLETED, WEFT_MS(1));
    allow = 0;
    CHECK(rc == -ENOMEM);
    allow = 1;
    rc = weft_gather_n(list, 40);
    allow = 0;
    CHECK(rc == -ENOMEM);
    allow = 1;
    rc = weft_wait(list, 40, WEFT_ALL_COMPLETED, WEFT_MS(1));
    CHECK(rc == 0 && allow == 0);
    allow = 0;

    /* A cancellation of many takes no memory that it could do without. */
    weft_task *many[40];
    for (int i = 0; i < 40; i++)
        many[i] = weft_create_task(actor, .id = 0, .work = 100);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    weft_future *g = weft_gather_future(many, 40, true);
    allow = 1;
    bool taken = weft_cancel(g);
    allow = 0;
    CHECK(taken && weft_await_release(g) == -ECANCELED);
    for (int i = 0; i < 40; i++) {
        CHECK(weft_cancelled(many[i]));
        weft_release(many[i]);
    }
    CHECK(weft_cancel(f));
    weft_release(f);
    return 0;
}

/* Of a gather that has passed a cancellation on already: that is what it tells. The first task suspends in the gather's chain (chain.c), and what it does
 * before comes before there is a watch. */
struct asks {
    WEFT_FRAME;
    weft_task *gatherer;
};
static int asks(struct asks *f)
{
    CHECK(weft_cancel(f->gatherer));
    CHECK(weft_yield() == -ECANCELED); /* it is one of those that it is passed on to */
    none = true;
    return weft_sleep(WEFT_MS(1));
}
WEFT_CORO(asks);
static int gathers(void *unused)
{
    (void)unused;
    weft_task *many[40];
    for (int i = 1; i < 40; i++)
        many[i] = weft_create_task(actor, .id = i, .work = 100, .swallow = true);
    CHECK(weft_sleep(WEFT_MS(1)) == 0);
    many[0] = weft_create_task(asks, .gatherer = weft_current_task());
    int rc = weft_gather_n(many, 40);
    none = false;
    CHECK(rc == -ECANCELED);
    weft_uncancel(weft_current_task());
    CHECK(weft_gather_settled_n(many, 40) == 0);
    for (int i = 0; i < 40; i++) {
        CHECK(weft_cancelling(many[i]) == 1);
        weft_release(many[i]);
    }
    return 0;
}
static int passed_on(void *unused)
{
    (void)unused;
    weft_task *t = start(gathers, NULL);
    int rc = weft_await_release(t);
    return rc;
}

static void on_one_worker(int (*fn)(void *))
{
    if (threads_cannot_starve())
        skip();
    for (size_t i = 0; i < 2; i++) {
        int rc = run_with(settings[i], fn, NULL);
        if (first_failure != NULL || rc != 0 || handles_left != 0)
            fail_msg("order %u: ended with %d, %llu handles left, %s", settings[i].order, rc,
                     (unsigned long long)handles_left, first_failure != NULL ? first_failure : "no check failed");
    }
}
#define ON_ONE_WORKER(fn)                                                                                              \
    static void short_of_memory_##fn(void **state)                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        on_one_worker(fn);                                                                                             \
    }
ON_ONE_WORKER(futures)
ON_ONE_WORKER(callbacks)
ON_ONE_WORKER(contexts)
ON_ONE_WORKER(tasks)
ON_ONE_WORKER(messages)
ON_ONE_WORKER(waits)
ON_ONE_WORKER(passed_on)

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(short_of_memory_futures),   cmocka_unit_test(short_of_memory_callbacks),
        cmocka_unit_test(short_of_memory_contexts),  cmocka_unit_test(short_of_memory_tasks),
        cmocka_unit_test(short_of_memory_messages),  cmocka_unit_test(short_of_memory_waits),
        cmocka_unit_test(short_of_memory_passed_on),
    };
    return cmocka_run_group_tests(all, NULL, NULL);
}
