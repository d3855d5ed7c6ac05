/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of another runtime's tasks: whatever would wait for one that has not ended says -EXDEV, and leaves it alone; one that has ended
 * is as good as one's own. */
#include "support/actors.h"

#include <weft/callback.h>
#include <weft/future.h>

static weft_future *pending, *ended, *failed;

static int make_them(void *unused)
{
    (void)unused;
    pending = weft_future_create();
    ended = weft_future_create();
    failed = weft_future_create();
    CHECK(weft_future_set_result(ended, 7) == 0 && weft_future_set_error(failed, -EIO) == 0);
    return 0;
}

static int end_them(void *unused)
{
    (void)unused;
    CHECK(!weft_done(pending) && weft_future_set_result(pending, 1) == 0);
    return 0;
}

static int called(void *count)
{
    ++*(int *)count;
    return 0;
}

TEST(refused_until_it_has_ended)
{
    weft_future *own = weft_future_create(), *f;
    weft_task *t = NULL, *both[] = {own, pending}, *over[] = {ended, failed};
    int count = 0;
    weft_as_completed it;
    CHECK(weft_await(pending) == -EXDEV && weft_shield(pending) == -EXDEV);
    CHECK(weft_wait_for(pending, 0) == -EXDEV && weft_wait_for(pending, 1) == -EXDEV);
    CHECK(weft_gather_n(both, 2) == -EXDEV && weft_gather_settled_n(both, 2) == -EXDEV);
    CHECK(weft_wait(both, 2, WEFT_FIRST_COMPLETED, WEFT_MS(1)) == -EXDEV);
    CHECK(weft_as_completed_begin(&it, both, 2, WEFT_FOREVER) == -EXDEV && weft_as_completed_next(&it, &t) == -EXDEV);
    weft_as_completed_end(&it);
    CHECK(weft_add_done_callback(pending, call, .fn = called, .argument = &count) == NULL);
    for (int re = 0; re < 2; re++) {
        f = weft_gather_future(both, 2, re);
        CHECK(f != NULL && weft_done(f) && weft_await(f) == -EXDEV && !weft_cancel(f));
        weft_release(f);
    }
    f = weft_shield_future(pending);
    CHECK(f != NULL && f != pending && weft_await(f) == -EXDEV);
    weft_release(f);
    CHECK(!weft_done(pending) && !weft_done(own) && weft_cancelling(pending) == 0);

    CHECK(weft_await(ended) == 7 && weft_shield(ended) == 7 && weft_wait_for(ended, 0) == 7);
    CHECK(weft_gather_n(over, 2) == -EIO && weft_gather_settled_n(over, 2) == 1);
    CHECK(weft_wait(over, 2, WEFT_ALL_COMPLETED, WEFT_FOREVER) == 2);
    CHECK(weft_as_completed_begin(&it, over, 2, WEFT_FOREVER) == 0);
    CHECK(weft_as_completed_next(&it, &t) == 1 && t == ended && weft_as_completed_next(&it, &t) == 1 && t == failed);
    CHECK(weft_as_completed_next(&it, &t) == 0);
    weft_as_completed_end(&it);
    weft_handle *h = weft_add_done_callback(ended, call, .fn = called, .argument = &count);
    CHECK(h != NULL && weft_await_release(h) == 0 && count == 1);
    f = weft_gather_future(over, 2, false);
    CHECK(weft_await_release(f) == -EIO);
    f = weft_shield_future(ended);
    CHECK(f == ended);
    weft_release(f);
    weft_release(own);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused_until_it_has_ended)};
    weft_runner *other;
    struct call make = {.frame_ = {&call_coro_}, .fn = make_them}, end = {.frame_ = {&call_coro_}, .fn = end_them};
    if (weft_runner_open(&other, WEFT_OPTIONS(.workers = 2)) != 0)
        return 1;
    int rc = weft_runner_run_(other, &make.frame_, sizeof make);
    int failures = rc != 0 || first_failure != NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
    rc = rc != 0 ? rc : weft_runner_run_(other, &end.frame_, sizeof end);
    weft_release(pending);
    weft_release(ended);
    weft_release(failed);
    if (weft_runner_close(other) != 0 || rc != 0 || first_failure != NULL)
        failures++;
    return failures;
}
