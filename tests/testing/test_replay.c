/* SPDX-License-Identifier: Apache-2.0 */
/* The line that repeats a failure of weft_sweep_faults names the call, so that it is the same one when the program does things in another order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft.h>
#include <weft/testing.h>

static char said[8192];
static void keep(void *user, const char *line)
{
    (void)user;
    size_t at = strlen(said);
    snprintf(said + at, sizeof said - at, "%s\n", line);
}

struct careful {
    WEFT_FRAME;
};
static int careful(struct careful *f)
{
    (void)f;
    for (int i = 0; i < 3; i++) {
        void *memory = malloc(16);
        if (memory == NULL)
            return -ENOMEM;
        free(memory);
    }
    return 0;
}
WEFT_CORO(careful);

static char *forgotten; /* what it leaves is freed by the test: leak checkers have nothing to say */
struct careless {
    WEFT_FRAME;
};
static int careless(struct careless *f)
{
    (void)f;
    free(forgotten);
    forgotten = malloc(16);
    char *second = forgotten != NULL ? malloc(16) : NULL;
    if (second == NULL)
        return -ENOMEM; /* the fault, at the second one */
    free(second);
    free(forgotten);
    forgotten = NULL;
    return 0;
}
WEFT_CORO(careless);

static bool turned;
struct pair {
    WEFT_FRAME;
};
static int pair(struct pair *f)
{
    (void)f;
    weft_task *a = turned ? weft_create_task(careless) : weft_create_task(careful);
    weft_task *b = turned ? weft_create_task(careful) : weft_create_task(careless);
    int rc = weft_await(a), other = weft_await(b);
    weft_release(a);
    weft_release(b);
    return rc != 0 ? rc : other;
}
WEFT_CORO(pair);

static long sweep_with(const char *line)
{
    said[0] = '\0';
    setenv("WEFT_SWEEP", line, 1);
    long rc = weft_sweep_faults(WEFT_SWEEP(.calls = "malloc", .report = keep), pair);
    unsetenv("WEFT_SWEEP");
    return rc;
}

static void test_a_failed_call_is_found_again(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        char line[100];
        snprintf(line, sizeof line, "pair:fault:%u:0:0:malloc@careless#2", workers);
        turned = false;
        said[0] = '\0';
        assert_int_equal(weft_sweep_faults(WEFT_SWEEP(.workers = workers, .calls = "malloc", .report = keep), pair),
                         -EPROTO);
        assert_non_null(strstr(said, "memory was left"));
        assert_non_null(strstr(said, "to run this one alone: WEFT_SWEEP=pair"));
        assert_non_null(strstr(said, line));
        for (int i = 0; i < 2; i++) {
            turned = i != 0;
            assert_int_equal(sweep_with(line), -EPROTO);
            assert_non_null(strstr(said, "malloc@careless#2 fails: malloc, ENOMEM"));
            assert_non_null(strstr(said, line));
        }
        snprintf(line, sizeof line, "pair:fault:%u:0:0:malloc@careless#3", workers);
        assert_int_equal(sweep_with(line), 1); /* it makes but two */
        assert_non_null(strstr(said, "call malloc@careless#3 of WEFT_SWEEP="));
        snprintf(line, sizeof line, "pair:fault:%u:0:0:malloc@careful#2", workers);
        assert_int_equal(sweep_with(line), 1); /* it is reached, and right: that is told, with how often it was made */
        char well[160];
        snprintf(well, sizeof well, "pair: WEFT_SWEEP=%s went well %s\n", line, workers == 1 ? "1 time" : "30 times");
        assert_string_equal(said, well);
        snprintf(line, sizeof line, "pair:fault:%u:0:0:0", workers);
        assert_int_equal(sweep_with(line), 1); /* the undisturbed one */
        assert_non_null(strstr(said, workers == 1 ? "went well 1 time\n" : "went well 30 times\n"));
    }
    free(forgotten);
    forgotten = NULL;
}

static void test_lines_that_are_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {"pair:fault:1:0:0:nonsense@careless#1", "pair:fault:1:0:0:malloc@careless",
                                        "pair:fault:1:0:0:malloc@careless#0",   "pair:fault:1:0:0:malloc@careless#2x",
                                        "pair:cancel:1:1:0:malloc@careless#1",  "pair:fault:1:0:0:"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(sweep_with(wrong[i]), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failed_call_is_found_again),
        cmocka_unit_test(test_lines_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
