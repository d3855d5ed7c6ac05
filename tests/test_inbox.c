/* SPDX-License-Identifier: Apache-2.0 */
/* tests/test_inbox.c -- the inbox: order of one thread, lists, many producers with one and with several claimers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>

#include "executor/inbox.h"
#include "tests/support/threads.h"

#define PRODUCERS 4U

struct letter {
    struct weft__link link;
    unsigned producer, number;
    _Atomic(unsigned) claimed;
};

static struct letter *letter_of(struct weft__link *link)
{
    return weft__container_of(link, struct letter, link);
}

static void test_claim_gives_all_oldest_first(void **state)
{
    (void)state;
    struct weft__inbox b;
    struct letter letters[10];
    weft__inbox_init(&b);
    assert_true(weft__inbox_empty(&b));
    assert_null(weft__inbox_claim(&b));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++) {
            letters[i].number = i;
            weft__inbox_push(&b, &letters[i].link);
            assert_false(weft__inbox_empty(&b));
        }
        unsigned seen = 0;
        for (struct weft__link *l = weft__inbox_claim(&b); l; l = l->next)
            assert_int_equal(letter_of(l)->number, seen++);
        assert_int_equal(seen, 10);
        assert_true(weft__inbox_empty(&b));
        assert_null(weft__inbox_claim(&b));
    }
}

static void test_a_list_counts_as_pushed_in_its_order(void **state)
{
    (void)state;
    struct weft__inbox b;
    struct letter letters[8];
    weft__inbox_init(&b);
    for (unsigned i = 0; i < 8; i++)
        letters[i].number = i;
    weft__inbox_push(&b, &letters[0].link);
    for (unsigned i = 1; i < 5; i++)
        letters[i].link.next = &letters[i + 1].link;
    weft__inbox_push_list(&b, &letters[1].link, &letters[5].link); /* the last one's link may be anything */
    weft__inbox_push_list(&b, &letters[6].link, &letters[6].link); /* a list of one */
    weft__inbox_push(&b, &letters[7].link);
    unsigned seen = 0;
    for (struct weft__link *l = weft__inbox_claim(&b); l; l = l->next)
        assert_int_equal(letter_of(l)->number, seen++);
    assert_int_equal(seen, 8);
}

/* Threads 0 .. PRODUCERS - 1 push, singly and in lists; the rest claim until all letters have come. */
struct office {
    struct weft__inbox b;
    struct letter *letters; /* producer by producer */
    unsigned each, claimers;
    _Atomic(unsigned) received;
    _Atomic(unsigned) disorder;
};

static void office_produce(struct office *o, unsigned producer)
{
    struct letter *mine = o->letters + producer * o->each;
    uint64_t random = producer + 1;
    for (unsigned i = 0; i < o->each;) {
        unsigned n = weft__random(&random) >> 62 == 0 ? 1 + (unsigned)(weft__random(&random) >> 61) : 1;
        unsigned end = i + n < o->each ? i + n : o->each;
        for (unsigned k = i; k < end; k++) {
            mine[k].producer = producer;
            mine[k].number = k;
            mine[k].link.next = k + 1 < end ? &mine[k + 1].link : NULL;
        }
        if (end - i == 1)
            weft__inbox_push(&o->b, &mine[i].link);
        else
            weft__inbox_push_list(&o->b, &mine[i].link, &mine[end - 1].link);
        i = end;
    }
}

static void office_claim(struct office *o)
{
    unsigned next[PRODUCERS] = {0}; /* what one claimer gets of a producer rises, over all its claims */
    while (weft__load_relaxed(&o->received) < PRODUCERS * o->each) {
        struct weft__link *l = weft__inbox_claim(&o->b);
        if (!l)
            sched_yield();
        while (l) {
            struct letter *letter = letter_of(l);
            l = l->next;
            unsigned p = letter->producer;
            if (p >= PRODUCERS || letter->number < next[p] || (o->claimers == 1 && letter->number != next[p]))
                weft__fetch_add_relaxed(&o->disorder, 1);
            else
                next[p] = letter->number + 1;
            weft__fetch_add_relaxed(&letter->claimed, 1);
            weft__fetch_add_relaxed(&o->received, 1);
        }
    }
}

static void office_body(void *shared, unsigned index)
{
    struct office *o = shared;
    if (index < PRODUCERS)
        office_produce(o, index);
    else
        office_claim(o);
}

static void office_run(unsigned claimers)
{
    struct office o = {.each = threads_scale(300000), .claimers = claimers};
    o.letters = calloc((size_t)PRODUCERS * o.each, sizeof *o.letters);
    assert_non_null(o.letters);
    weft__inbox_init(&o.b);
    threads_run(PRODUCERS + claimers, office_body, &o);
    assert_true(weft__inbox_empty(&o.b));
    assert_int_equal(weft__load_relaxed(&o.disorder), 0);
    unsigned wrong = 0;
    for (unsigned i = 0; i < PRODUCERS * o.each; i++)
        wrong += weft__load_relaxed(&o.letters[i].claimed) != 1;
    assert_int_equal(wrong, 0);
    free(o.letters);
}

static void test_one_claimer_sees_each_producers_order(void **state)
{
    (void)state;
    office_run(1);
}

static void test_several_claimers_share_exactly(void **state)
{
    (void)state;
    office_run(3);
}

/* Each letter goes round: whoever claims it pushes it again. The pusher never touches what it gave away. */
struct round {
    struct weft__inbox boxes[2];
    unsigned turns; /* at most */
    weft_ns until;  /* and no later: a letter goes on when its next thread has the CPU */
    _Atomic(unsigned) done;
};

static void round_body(void *shared, unsigned index)
{
    struct round *r = shared;
    while (weft__load_relaxed(&r->done) < r->turns && weft__monotonic() < r->until) {
        struct weft__link *l = weft__inbox_claim(&r->boxes[index % 2]);
        if (!l)
            sched_yield();
        while (l) {
            struct weft__link *next = l->next;
            letter_of(l)->number++; /* plain: it is ours now */
            weft__fetch_add_relaxed(&r->done, 1);
            weft__inbox_push(&r->boxes[(index + 1) % 2], l);
            l = next;
        }
    }
}

static void test_letters_may_go_round(void **state)
{
    (void)state;
    struct round r = {.turns = threads_scale(2000000), .until = weft__monotonic() + WEFT_SEC(5)};
    struct letter letters[16] = {0};
    weft__inbox_init(&r.boxes[0]);
    weft__inbox_init(&r.boxes[1]);
    for (unsigned i = 0; i < 16; i++)
        weft__inbox_push(&r.boxes[i % 2], &letters[i].link);
    threads_run(4, round_body, &r);
    unsigned sum = 0, left = 0;
    for (unsigned i = 0; i < 16; i++)
        sum += letters[i].number;
    for (unsigned i = 0; i < 2; i++)
        for (struct weft__link *l = weft__inbox_claim(&r.boxes[i]); l; l = l->next)
            left++;
    assert_int_equal(sum, weft__load_relaxed(&r.done));
    assert_int_equal(left, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim_gives_all_oldest_first),
        cmocka_unit_test(test_a_list_counts_as_pushed_in_its_order),
        cmocka_unit_test(test_one_claimer_sees_each_producers_order),
        cmocka_unit_test(test_several_claimers_share_exactly),
        cmocka_unit_test(test_letters_may_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
