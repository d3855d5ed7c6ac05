/* SPDX-License-Identifier: Apache-2.0 */
/* stress/planted/races.c -- the ten. Each says what its fault is; all of them are faults of the program, none of weft. */
#include <stdlib.h>
#include <string.h>

#include "planted.h"

/* 1 Lost update: read, something that lets others in, write. Cure: a lock around both. */
struct counter {
    int value;
    bool cured;
    weft_lock lock;
};
static int count_up(void *scene, int number)
{
    struct counter *c = scene;
    (void)number;
    int rc = c->cured ? weft_lock_acquire(&c->lock) : 0;
    if (rc < 0)
        return rc;
    int seen = c->value;
    weft_point();
    c->value = seen + 1;
    if (c->cured)
        weft_lock_release(&c->lock);
    return 0;
}
static int lost_update(bool cured)
{
    struct counter c = {.cured = cured, .lock = WEFT_LOCK_INIT};
    int rc = play_all(count_up, &c, 3);
    weft_expect(c.value == 3);
    return rc;
}

/* 2 Look, then act: both see that a place is free. Cure: take it, and see whether that went well. */
struct seats {
    int free, sold;
    bool cured;
};
static int buy(void *scene, int number)
{
    struct seats *s = scene;
    (void)number;
    if (s->free > 0) {
        if (s->cured)
            s->free--;
        int rc = weft_yield(); /* pays */
        if (!s->cured)
            s->free--;
        s->sold++;
        return rc;
    }
    return 0;
}
static int look_then_act(bool cured)
{
    struct seats s = {.free = 2, .cured = cured};
    int rc = play_all(buy, &s, 4);
    weft_expect(s.sold <= 2);
    return rc;
}

/* 3 Two locks in two orders. Cure: always the same order. */
struct two {
    weft_lock lock[2];
    bool cured;
};
static int take_both(void *scene, int number)
{
    struct two *t = scene;
    int first = t->cured ? 0 : number;
    int rc = weft_lock_acquire(&t->lock[first]);
    if (rc < 0)
        return rc;
    if ((rc = weft_lock_acquire(&t->lock[1 - first])) == 0)
        weft_lock_release(&t->lock[1 - first]);
    weft_lock_release(&t->lock[first]);
    return rc;
}
static int embrace(bool cured)
{
    struct two t = {.lock = {WEFT_LOCK_INIT, WEFT_LOCK_INIT}, .cured = cured};
    return play_all(take_both, &t, 2);
}

/* 4 A notification that nobody waits for yet is lost: the flag is looked at without the lock. Cure: look and wait under the lock. */
struct mailbox {
    weft_lock lock;
    weft_condition arrived;
    bool full, cured;
};
static int correspond(void *scene, int number)
{
    struct mailbox *m = scene;
    if (number == 0) {
        bool seen = m->full;
        if (seen)
            return 0;
        int rc = weft_lock_acquire(&m->lock);
        if (rc < 0)
            return rc;
        while (rc == 0 && (m->cured ? !m->full : !seen)) {
            rc = weft_condition_wait(&m->arrived);
            seen = true;
        }
        weft_lock_release(&m->lock);
        return rc;
    }
    int rc = weft_lock_acquire(&m->lock);
    if (rc < 0)
        return rc;
    m->full = true;
    weft_condition_notify(&m->arrived, 1);
    weft_lock_release(&m->lock);
    return 0;
}
static int lost_notification(bool cured)
{
    struct mailbox m = {.lock = WEFT_LOCK_INIT, .cured = cured};
    weft_condition_init(&m.arrived, &m.lock);
    return play_all(correspond, &m, 2);
}

/* 5 A permit that is not given back when the one who has it is cancelled. Cure: give it back on every way out. */
struct pool {
    weft_semaphore permits;
    bool cured;
};
static int borrow(void *scene, int number)
{
    struct pool *p = scene;
    int rc = weft_semaphore_acquire(&p->permits);
    if (rc < 0)
        return rc;
    rc = weft_sleep(WEFT_MS(number + 1));
    if (rc < 0 && !p->cured)
        return rc;
    weft_semaphore_release(&p->permits);
    return rc;
}
static int lost_permit(bool cured)
{
    struct pool p = {.permits = WEFT_SEMAPHORE_INIT(1), .cured = cured};
    weft_task *t = weft_create_task(actor, .play = borrow, .scene = &p, .number = 0);
    int rc = weft_sleep(WEFT_MS(1)); /* as long as it takes: it may just have ended, or not */
    weft_cancel(t);
    (void)weft_await_release(t);
    rc = rc < 0 ? rc : weft_semaphore_acquire(&p.permits);
    if (rc == 0)
        weft_semaphore_release(&p.permits);
    return rc;
}

/* 6 ABA: a stack whose top is what it was, and yet not the same. Cure: a number that grows with each change. */
struct stack {
    int top, next[3], taken[3], changes;
    bool cured;
};
static int pop(struct stack *s)
{
    for (;;) {
        int top = s->top, changes = s->changes;
        if (top < 0)
            return -1;
        int next = s->next[top];
        weft_point();
        if (s->top == top && (!s->cured || s->changes == changes)) {
            s->top = next;
            s->changes++;
            return top;
        }
    }
}
static void push(struct stack *s, int node)
{
    s->next[node] = s->top;
    s->top = node;
    s->changes++;
}
static int use_stack(void *scene, int number)
{
    struct stack *s = scene;
    int first = pop(s);
    if (first >= 0)
        weft_expect(s->taken[first]++ == 0);
    if (number == 0) {
        int second = pop(s);
        if (second >= 0)
            weft_expect(s->taken[second]++ == 0);
        if (first >= 0) {
            s->taken[first]--;
            push(s, first);
        }
        weft_point();
    }
    int last = pop(s);
    if (last >= 0)
        weft_expect(s->taken[last]++ == 0);
    return 0;
}
static int aba(bool cured)
{
    struct stack s = {.top = 0, .next = {1, 2, -1}, .cured = cured};
    return play_all(use_stack, &s, 2);
}

/* 7 Made twice: two see that it does not exist yet. Cure: a lock, and a look inside. */
struct lazy {
    weft_lock lock;
    int made;
    bool there, cured;
};
static int get_lazily(void *scene, int number)
{
    struct lazy *l = scene;
    (void)number;
    if (l->there)
        return 0;
    int rc = l->cured ? weft_lock_acquire(&l->lock) : 0;
    if (rc < 0)
        return rc;
    if (!l->cured || !l->there) {
        rc = weft_sleep(WEFT_US(10)); /* connects */
        l->made++;
        l->there = true;
    }
    if (l->cured)
        weft_lock_release(&l->lock);
    return rc;
}
static int made_twice(bool cured)
{
    struct lazy l = {.lock = WEFT_LOCK_INIT, .cured = cured};
    int rc = play_all(get_lazily, &l, 3);
    weft_expect(l.made == 1);
    return rc;
}

/* 8 Known too early: the object is in the queue before it is finished. Cure: the other way round. */
struct item {
    int price;
};
struct shop {
    weft_queue *queue;
    struct item item;
    bool cured;
};
static int trade(void *scene, int number)
{
    struct shop *s = scene;
    struct item *i = &s->item;
    if (number == 0) {
        if (s->cured)
            i->price = 7;
        int rc = weft_queue_put(s->queue, &i);
        weft_point();
        i->price = 7;
        return rc;
    }
    int rc = weft_queue_get(s->queue, &i);
    if (rc == 0)
        weft_expect(i->price == 7);
    return rc;
}
static int known_too_early(bool cured)
{
    struct shop s = {.queue = weft_queue_create(sizeof(struct item *), 1), .cured = cured};
    int rc = play_all(trade, &s, 2);
    weft_queue_destroy(s.queue);
    return rc;
}

/* 9 Two locks, each held for its own half: what belongs together is seen torn. It takes two moments. Cure: both at once. */
struct books {
    weft_lock lock;
    int ours, theirs;
    bool cured;
};
static int step(struct books *b, int *account, int by)
{
    int rc = b->cured ? 0 : weft_lock_acquire(&b->lock);
    if (rc < 0)
        return rc;
    *account += by;
    if (!b->cured)
        weft_lock_release(&b->lock);
    return 0;
}
static int keep_books(void *scene, int number)
{
    struct books *b = scene;
    int rc = weft_lock_acquire(&b->lock);
    if (rc < 0)
        return rc;
    if (number == 1) {
        weft_expect(b->ours + b->theirs == 0);
    } else if (b->cured) {
        rc = step(b, &b->ours, -5);
        rc = rc < 0 ? rc : step(b, &b->theirs, 5);
    }
    weft_lock_release(&b->lock);
    if (number == 0 && !b->cured) {
        rc = step(b, &b->ours, -5);
        rc = rc < 0 ? rc : step(b, &b->theirs, 5);
    }
    return rc;
}
static int torn(bool cured)
{
    struct books b = {.lock = WEFT_LOCK_INIT, .cured = cured};
    return play_all(keep_books, &b, 2);
}

/* 10 Two moments in the right order, among eight tasks: the first request finds the cache warm, the flush comes, and a second one sees what the
 * first has left half done. Cure: the flush waits for those inside. */
struct cache {
    int entry, users;
    bool cured, flushed;
    weft_event idle;
};
static int serve(void *scene, int number)
{
    struct cache *c = scene;
    int rc = 0;
    if (number == 7) {
        while (c->cured && c->users > 0 && rc == 0)
            rc = weft_event_wait(&c->idle);
        c->entry = 0;
        c->flushed = true;
        rc = rc < 0 ? rc : weft_yield();
        c->entry = 1;
        c->flushed = false;
        return rc;
    }
    while (c->cured && c->flushed && rc == 0)
        rc = weft_yield();
    c->users++;
    weft_event_clear(&c->idle);
    if (number == 3 && c->entry != 0) {
        weft_point();
        weft_expect(c->entry != 0);
    }
    if (--c->users == 0)
        weft_event_set(&c->idle);
    return rc;
}
static int flushed_under_its_user(bool cured)
{
    struct cache c = {.entry = 1, .cured = cured};
    weft_event_init(&c.idle);
    return play_all(serve, &c, 8);
}

const struct planted planted_races[] = {
    {"lost-update", lost_update, 20},
    {"look-then-act", look_then_act, 20},
    {"embrace", embrace, 40},
    {"lost-notification", lost_notification, 60},
    {"lost-permit", lost_permit, 60},
    {"aba", aba, 400},
    {"made-twice", made_twice, 20},
    {"known-too-early", known_too_early, 60},
    {"torn", torn, 60},
    {"flushed-under-its-user", flushed_under_its_user, 200},
    {NULL, NULL, 0},
};
