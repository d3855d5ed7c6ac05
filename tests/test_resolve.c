/* SPDX-License-Identifier: Apache-2.0 */
/* Names: numbers and "localhost" (which needs no network), errors, cancellation, room. */
#include "support/io.h"

TEST(numbers)
{
    char buf[64];
    CHECK(weft_resolve("127.0.0.1:80", buf, sizeof buf) == 1 && strcmp(buf, "127.0.0.1:80") == 0);
    CHECK(weft_resolve("[::1]:443", buf, sizeof buf) == 1 && strcmp(buf, "[::1]:443") == 0);
    CHECK(weft_resolve("[0:0::0:2]:0", buf, sizeof buf) == 1 && strcmp(buf, "[::2]:0") == 0);
    CHECK(weft_resolve("127.0.0.1:http", buf, sizeof buf) == 1 && strcmp(buf, "127.0.0.1:80") == 0);
    CHECK(weft_resolve("unix:/nowhere", buf, sizeof buf) == -EINVAL);
    CHECK(weft_resolve("127.0.0.1:no-such-service", buf, sizeof buf) == -EINVAL);
    return 0;
}

TEST(room)
{
    char buf[64];
    CHECK(weft_resolve(":80", buf, sizeof buf) == 2);
    const char *first = buf, *second = buf + strlen(buf) + 1;
    bool six = strcmp(first, "[::1]:80") == 0; /* a machine without IPv6 has it last */
    CHECK(strcmp(six ? second : first, "127.0.0.1:80") == 0 && strcmp(six ? first : second, "[::1]:80") == 0);
    size_t just = strlen(first) + 1;
    CHECK(weft_resolve(":80", buf, just) == 1 && strcmp(buf, six ? "[::1]:80" : "127.0.0.1:80") == 0);
    CHECK(weft_resolve(":80", buf, just - 1) == -ENOBUFS);
    CHECK(weft_resolve(":80", NULL, 0) == -ENOBUFS);
    return 0;
}

TEST(localhost)
{
    char buf[256];
    int n = weft_resolve("localhost:http", buf, sizeof buf);
    REQUIRE(n >= 1);
    const char *text = buf;
    for (int i = 0; i < n; i++, text += strlen(text) + 1)
        CHECK(strcmp(text, "127.0.0.1:80") == 0 || strcmp(text, "[::1]:80") == 0);
    return 0;
}

TEST(no_such_name)
{
    char buf[64];
    int rc = weft_resolve("no-such-host.invalid:80", buf, sizeof buf);
    CHECK(rc == -ENOENT || rc == -EAGAIN); /* without any name server there is no answer at all */
    weft_stream *s;
    rc = weft_connect(&s, "no-such-host.invalid:80");
    CHECK(rc == -ENOENT || rc == -EAGAIN);
    return 0;
}

static int resolve(void *name)
{
    char buf[64];
    return weft_resolve(name, buf, sizeof buf);
}

/* The asker goes on at once; what the helper thread still finds is nobody's, and is not leaked. */
TEST(cancelled)
{
    for (int i = 0; i < 20; i++) {
        weft_task *t = start(resolve, (void *)(uintptr_t) "localhost:80");
        if (i % 2 == 0)
            CHECK(weft_yield() == 0);
        if (i % 4 == 0)
            CHECK(weft_sleep(WEFT_US(50)) == 0);
        weft_cancel(t);
        int rc = weft_await_release(t);
        CHECK(rc == -ECANCELED || rc >= 1);
    }
    return 0;
}

TEST(many_at_once)
{
    enum { MANY = 50 };
    weft_task *t[MANY];
    for (int i = 0; i < MANY; i++)
        t[i] = start(resolve, (void *)(uintptr_t) "localhost:80");
    for (int i = 0; i < MANY; i++)
        CHECK(weft_await_release(t[i]) >= 1);
    return 0;
}

int main(void)
{
    setenv("RES_OPTIONS", "timeout:1 attempts:1",
           1); /* where name servers do not answer the tests are not to wait for them */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),      cmocka_unit_test(room),      cmocka_unit_test(localhost),
        cmocka_unit_test(no_such_name), cmocka_unit_test(cancelled), cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
