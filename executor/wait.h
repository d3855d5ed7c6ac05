/* SPDX-License-Identifier: Apache-2.0 */
/* executor/wait.h -- the only way to suspend, and the only way to wake.
 *
 * A fiber (a stack with the task or the chain of tasks that runs on it) waits in three moves:
 *
 *     struct weft__fiber *f = weft__fiber_require("weft_lock_acquire");
 *     guard the object;
 *     uint32_t ticket = weft__wait_begin(f, &lock_wait, lock);   // from here on somebody may wake (f, ticket)
 *     make f and ticket known to those who will wake it;
 *     unguard;
 *     enum weft__wake how = weft__wait_commit(f, WEFT_FOREVER);  // suspends, unless woken or cancelled already
 *     guard the object; take f off its list if it is still there; unguard;
 *
 * weft__wake(f, ticket, reason) may be called by any thread, any number of times, also long after: exactly one call for a
 * ticket returns true, late ones find the ticket used up (the memory of fibers is never anything but fibers while the
 * runtime lives, and the waiter must make sure its runtime lives). A wake never runs the woken fiber in the caller.
 *
 * commit returns WEFT__CANCELLED when the task was cancelled, whatever else may have happened: the caller must then find out
 * under the object's guard whether a grant had reached it too, and pass that on. It returns WEFT__TIMED_OUT only if a
 * deadline was given. Otherwise the reason of the one wake.
 *
 * Between begin and commit nothing else may suspend. After commit the task may be in another thread. */
#ifndef WEFT_EXECUTOR_WAIT_H
#define WEFT_EXECUTOR_WAIT_H

#include <weft/here.h>
#include <weft/run.h>

#include "executor/sole.h"

struct weft__fiber;
struct weft__cancel_list;
struct weft__sight;

enum weft__wake {
    WEFT__WOKEN = 1, /* reasons from WEFT__WOKEN up to 63 are the waker's own */
    WEFT__TIMED_OUT = 64,
    WEFT__CANCELLED = 65,
};

/* What a fiber waits for: shown in task dumps; says what a cancellation does. `cancel` NULL (the usual case): the wait ends
 * with WEFT__CANCELLED. Else it is asked first, while the fiber cannot run: true means that the request was passed on to
 * what is waited for (weft__cancel_mark) and the fiber sleeps on. `tell`: what a dump says of it (sight.h); NULL: the name. */
struct weft__wait_kind {
    const char *name;
    bool (*cancel)(struct weft__fiber *f, void *object, struct weft__cancel_list *list);
    void (*tell)(struct weft__fiber *f, void *object, struct weft__sight *s);
};

/* The calling fiber or NULL. */
static inline struct weft__fiber *weft__fiber_self(void)
{
    return (struct weft__fiber *)(void *)weft_here_()->fiber;
}
_Noreturn WEFT__COLD void weft__outside_task(const char *call);
/* The calling fiber. Outside a task: aborts with a sentence that names the call. */
static inline struct weft__fiber *weft__fiber_require(const char *call)
{
    struct weft__fiber *f = weft__fiber_self();
    if (weft__unlikely(f == NULL))
        weft__outside_task(call);
    return f;
}
struct weft_runtime *weft__fiber_runtime(struct weft__fiber *f);

uint32_t weft__wait_begin(struct weft__fiber *f, const struct weft__wait_kind *kind, void *object);
/* `deadline`: instant of the runtime's clock, WEFT_FOREVER: none. (-ENOMEM while arming it counts as expired.) */
enum weft__wake weft__wait_commit(struct weft__fiber *f, weft_ns deadline);
/* The same with a deadline that is known to be to come, so that the clock is not read. */
enum weft__wake weft__wait_commit_future(struct weft__fiber *f, weft_ns deadline);
/* Instead of commit: give the wait up without suspending. Returns true if a wake had already come. */
bool weft__wait_abandon(struct weft__fiber *f);
bool weft__wake(struct weft__fiber *f, uint32_t ticket, enum weft__wake reason);

/* A callback was about to wait: aborts with a sentence. */
_Noreturn WEFT__COLD void weft__in_callback(const struct weft__fiber *f);
/* Give the CPU to other ready work; 0 or -ECANCELED. As weft_yield. */
int weft__yield(struct weft__fiber *f);
/* Meet a cancellation that came while what was awaited ran on this stack. True: there was one. */
bool weft__take_request(struct weft__fiber *f);
/* The runtime's clock. */
weft_ns weft__runtime_now(struct weft_runtime *rt);
/* now + duration without overflow; WEFT_FOREVER stays. */
weft_ns weft__deadline_after(struct weft_runtime *rt, weft_ns duration);

/* Many wakes in a row (a batch of events, notify_all): between these two the calling worker announces no work; end
 * wakes as many sleeping workers as there is work for. May nest not. Any thread. */
void weft__announce_later(struct weft_runtime *rt);
void weft__announce_now(struct weft_runtime *rt);

/* ---- a list of waiters, first come first served: what sync objects, queues and sockets are made of ---- */

/* One per fiber, embedded: a fiber waits on one list at a time. */
struct weft__wait_node {
    struct weft__wait_node *next, *previous;
    struct weft__fiber *fiber;
    uint32_t ticket;
    bool woken; /* a wake was given to it (weft__waitlist_wake_first) and it has not left the list yet */
    bool listed;
    uint64_t value; /* the object's own */
};
struct weft__wait_node *weft__fiber_node(struct weft__fiber *f);

#endif
