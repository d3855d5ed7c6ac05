/* SPDX-License-Identifier: Apache-2.0 */
/* weft/sync.h -- lock, event, condition, semaphore, barrier: asyncio's, for tasks on any worker.
 *
 * The objects are plain memory with a static initialiser or an init function; they need no destroy call and must
 * outlive their waiters. Waiters are served first come first served. A waiter that is cancelled takes nothing; a
 * wake-up that had already reached it is passed on. Calls that cannot suspend may come from any thread, those that
 * can only from tasks. Everything before a release, set or notify happens before what it wakes. */
#ifndef WEFT_SYNC_H
#define WEFT_SYNC_H

#include <weft/base.h>

WEFT_BEGIN_DECLS

/* First in, first out list of waiters and the word that guards it (and tells whether a lock is held, an event set). */
typedef struct weft__waitlist {
    void *first_, *last_;
    uint32_t guard_;
    uint32_t count_;
} weft__waitlist;

/* ---- lock (asyncio.Lock): not recursive, no owner: any task may release it. With the option debug weft_dump_tasks tells who took it ---- */
typedef struct weft_lock {
    weft__waitlist waiters_;
    uint32_t patience_, owner_; /* hints; owner_ with the option debug only */
} weft_lock;
/* clang-format off */
#define WEFT_LOCK_INIT {{NULL, NULL, 0, 0}, 0, 0}
/* clang-format on */
/* As the initialiser, for a lock that nobody uses: so too with the other objects' init. */
WEFT_API void weft_lock_init(weft_lock *l);
/* 0 with the lock held; -ECANCELED without it. asyncio: async with lock, acquire. Does not suspend when it is free and nobody waits. While other workers
 * run it may look for some microseconds, before it waits, whether a holder there lets go. */
WEFT_API WEFT_NODISCARD int weft_lock_acquire(weft_lock *l);
/* 0 with the lock held, -EBUSY otherwise. Any thread. Never suspends. */
WEFT_API WEFT_NODISCARD int weft_lock_try_acquire(weft_lock *l);
/* 0; -EPERM if it is not locked. Wakes the first waiter. Any thread. Never suspends. */
WEFT_API int weft_lock_release(weft_lock *l);
/* Does anybody hold it? Any thread; by the time of the answer it may be different. Never suspends. */
WEFT_API bool weft_lock_locked(const weft_lock *l);

/* ---- event (asyncio.Event) ---- */
typedef struct weft_event {
    weft__waitlist waiters_;
} weft_event;
/* clang-format off */
#define WEFT_EVENT_INIT {{NULL, NULL, 0, 0}}
/* clang-format on */
WEFT_API void weft_event_init(weft_event *e);
/* 0 once the event is set (at once if it is); -ECANCELED. */
WEFT_API WEFT_NODISCARD int weft_event_wait(weft_event *e);
/* Wake all waiters; later waits return at once. Any thread. Never suspends. */
WEFT_API void weft_event_set(weft_event *e);
/* Later waits suspend again; waiters already woken do return. Any thread. Never suspends. */
WEFT_API void weft_event_clear(weft_event *e);
/* Is it set? Who sees it set sees what was done before the set. Any thread. Never suspends. */
WEFT_API bool weft_event_is_set(const weft_event *e);

/* ---- condition (asyncio.Condition): used with a lock that the caller names ---- */
typedef struct weft_condition {
    weft__waitlist waiters_;
    weft_lock *lock_;
} weft_condition;
/* clang-format off */
#define WEFT_CONDITION_INIT(lock) {{NULL, NULL, 0, 0}, (lock)}
/* clang-format on */
WEFT_API void weft_condition_init(weft_condition *c, weft_lock *lock);
/* Release the lock, wait to be notified, take the lock again. 0 or -ECANCELED, in both cases with the lock held;
 * -EPERM if the lock is not held, -EINVAL if there is none (NULL). A cancelled waiter that had been notified hands that on. It may return 0 without a
 * notification meant for it: wait in a loop until what you wait for is true. */
WEFT_API WEFT_NODISCARD int weft_condition_wait(weft_condition *c);
/* Wake at most n waiters, first come first served; they go on when they get the lock. 0; -EPERM if the lock is not
 * held, -EINVAL if there is none. Any thread. Never suspends. */
WEFT_API int weft_condition_notify(weft_condition *c, size_t n);
/* The same for all of them. */
WEFT_API int weft_condition_notify_all(weft_condition *c);

/* ---- semaphore (asyncio.Semaphore, BoundedSemaphore) ---- */
typedef struct weft_semaphore {
    weft__waitlist waiters_;
    int64_t value_, bound_;
} weft_semaphore;
/* clang-format off */
#define WEFT_SEMAPHORE_INIT(value) {{NULL, NULL, 0, 0}, (value), INT64_MAX}
#define WEFT_BOUNDED_SEMAPHORE_INIT(value) {{NULL, NULL, 0, 0}, (value), (value)}
/* clang-format on */
/* 0; -EINVAL for a negative value. */
WEFT_API int weft_semaphore_init(weft_semaphore *s, int64_t value);
WEFT_API int weft_bounded_semaphore_init(weft_semaphore *s, int64_t value);
/* 0 with a permit; -ECANCELED without. Never overtakes a waiter. */
WEFT_API WEFT_NODISCARD int weft_semaphore_acquire(weft_semaphore *s);
/* 0 with a permit, -EBUSY otherwise. Any thread. Never suspends. */
WEFT_API WEFT_NODISCARD int weft_semaphore_try_acquire(weft_semaphore *s);
/* Give a permit back: 0; -EOVERFLOW above a bounded semaphore's first value. Any thread. Never suspends. */
WEFT_API int weft_semaphore_release(weft_semaphore *s);
/* Would acquire suspend now? Any thread. Never suspends. */
WEFT_API bool weft_semaphore_locked(const weft_semaphore *s);

/* ---- barrier (asyncio.Barrier) ---- */
typedef struct weft_barrier {
    weft__waitlist waiters_;
    uint32_t parties_, count_, state_;
} weft_barrier;
/* 0; -EINVAL for no parties or more than INT32_MAX. */
WEFT_API int weft_barrier_init(weft_barrier *b, uint32_t parties);
/* Wait until `parties` tasks wait, then all go on: 0..parties-1, the number inside on arrival; -ECANCELED (the place
 * is free again); -EPIPE when the barrier is or gets broken. A newcomer during release waits for the next round. */
WEFT_API WEFT_NODISCARD int weft_barrier_wait(weft_barrier *b);
/* Those waiting get -EPIPE; the barrier works again. Any thread. Never suspends. */
WEFT_API void weft_barrier_reset(weft_barrier *b);
/* Those waiting and all later ones get -EPIPE until reset. Any thread. Never suspends. */
WEFT_API void weft_barrier_abort(weft_barrier *b);
/* How many wait for the others just now. Is it broken? Any thread. Never suspend. */
WEFT_API uint32_t weft_barrier_n_waiting(const weft_barrier *b);
WEFT_API bool weft_barrier_broken(const weft_barrier *b);

WEFT_END_DECLS

#endif
