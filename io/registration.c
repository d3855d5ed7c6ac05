/* SPDX-License-Identifier: Apache-2.0 */
/* io/registration.c -- a descriptor is registered once, edge-triggered, for both directions; from then on one word a
 * direction carries what the kernel told and who wants to know.
 *
 * | word of a direction      | event             | user: consume | user: wait           | user: withdraw | close            |
 * | -                        | READY             | -             | WAITING, turn + 1    | -              | CLOSED + READY   |
 * | READY                    | READY             | -             | refused: try again   | -              | CLOSED + READY   |
 * | WAITING                  | READY, wake       | no            | no                   | -              | CLOSED + READY, wake |
 * | CLOSED + READY           | same              | CLOSED        | refused              | same           | no               |
 * | CLOSED                   | CLOSED + READY    | same          | refused              | same           | no               |
 * HANGUP comes with an event and stays. "User" is the one call inside for that direction (READER or WRITER of `users`).
 *
 * Reading. consume, then recv: whatever arrives after the consume sets READY again, so a recv that says EAGAIN, or that
 * gives less than asked on a TCP socket, proves that nothing is left but what a new event will tell. The next read then waits
 * without asking the kernel. HANGUP is the exception: the end of a stream may have been told by the same event as its last
 * bytes. Writing. send first; on EAGAIN consume and send again; only the second EAGAIN is believed.
 *
 * Waking. A waker reads fiber and ticket, then takes WAITING away by CAS on the whole word. The turn in the word makes that
 * CAS fail if the user withdrew and waits anew meanwhile, so the pair that was read belongs to the wait that was ended. A user
 * that was cancelled or timed out takes WAITING away itself, and if the waker was faster, the wake with the old ticket is
 * refused by the fiber. READY stays in the word in every case: nothing needs to be passed on.
 *
 * Closing. CLOSED is set in both words (and wakes), `users` gets GONE. Only the last call to leave closes the descriptor:
 * nobody can be between loading its number and the system call. Then the record leaves epoll and retires.
 *
 * Stale events. An event carries the record's address and generation. (1) A record taken out of epoll while a collect is
 * open is not used again before that collect has ended, so that an event in its batch finds the record closed or as it was.
 * (2) The generation stops events that still come afterwards, for a descriptor that lives on elsewhere (dup, fork) and was
 * closed behind our back. (3) A wrong READY, if it got through all the same, costs one system call: every user tries again.
 *
 * Threads: events from the holder of the collector token; everything else from any thread. */
#include "io/registration.h"

#include <errno.h>

#include "executor/guard.h"
#include "executor/sight.h"

/* Retired records wait for the end of a collect; a long one is ended when so many do. */
#define RETIRED_KICK 1024u

/* A pointer of user space has 48 significant bits on both architectures. */
static uint64_t event_data(const struct weft__registration *reg)
{
    uint64_t generation = weft__load_relaxed(&reg->generation); /* relaxed: changed by its owner only */
    return ((uint64_t)(uintptr_t)reg & 0xffffffffffffu) | generation << 48;
}

#define ALL_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

struct weft__registration *weft__registration_new(struct weft__io *io)
{
    struct weft__registration *reg = weft__slab_get(&io->records, NULL);
    if (reg != NULL)
        reg->io = io;
    return reg;
}

void weft__registration_free(struct weft__registration *reg)
{
    weft__slab_put(&reg->io->records, NULL, reg);
}

int weft__registration_start(struct weft__registration *reg, int fd)
{
    struct weft__io *io = reg->io;
    reg->next = NULL;
    reg->fd = fd;
    reg->kind = WEFT__OF_FD;
    reg->parked = 0;
    weft__store_relaxed(&reg->users, 0); /* relaxed: nobody knows the record yet */
    weft__timer_init(&reg->park.timer, weft__park_timer_fires);
    for (int d = 0; d < 2; d++) {
        _Atomic(uint64_t) *word = &reg->interest[d].word;
        uint64_t turn = weft__load_relaxed(word) & WEFT__TURNS; /* relaxed: nobody knows the record yet */
        weft__store_relaxed(word, turn | WEFT__READY);          /* relaxed: nobody knows the record yet */
    }
    struct epoll_event e = {.events = ALL_EVENTS, .data.u64 = event_data(reg)};
    weft__fetch_add_seq_cst(&io->open, 1); /* pairs: IO-OPEN */
    if (epoll_ctl(io->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        int error = errno;
        weft__fetch_sub_seq_cst(&io->open, 1); /* pairs: IO-OPEN */
        reg->kind = WEFT__OF_NOBODY;
        return -error;
    }
    return 0;
}

int weft__registration_open(struct weft__io *io, int fd, struct weft__registration **out)
{
    struct weft__registration *reg = weft__registration_new(io);
    if (reg == NULL)
        return -ENOMEM;
    int rc = weft__registration_start(reg, fd);
    if (rc < 0)
        weft__registration_free(reg);
    else
        *out = reg;
    return rc;
}

int weft__registration_again(struct weft__registration *reg)
{
    struct epoll_event e = {.events = ALL_EVENTS, .data.u64 = event_data(reg)};
    if (epoll_ctl(reg->io->epoll, EPOLL_CTL_MOD, reg->fd, &e) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return epoll_ctl(reg->io->epoll, EPOLL_CTL_ADD, reg->fd, &e) == 0 ? 0 : -errno;
}

void weft__registration_retire(struct weft__registration *reg)
{
    struct weft__io *io = reg->io;
    struct epoll_event unused = {0};
    (void)epoll_ctl(io->epoll, EPOLL_CTL_DEL, reg->fd, &unused); /* gone already if the owner closed fd: as good */
    uint16_t generation = weft__load_relaxed(&reg->generation);  /* relaxed: changed here only */
    /* relaxed: a collector that reads the old value meets a record that is not used again before its collect has ended */
    weft__store_relaxed(&reg->generation, (uint16_t)(generation + 1));
    reg->kind = WEFT__OF_NOBODY;
    weft__fetch_sub_seq_cst(&io->open, 1); /* pairs: IO-OPEN */
    bool kick = false;
    weft__guard_lock(&io->guard);
    if ((weft__load_acquire(&io->sequence) & 1) == 0) { /* pairs: COLLECT-SEQUENCE */
        weft__guard_unlock(&io->guard);
        weft__registration_free(reg);
        return;
    }
    reg->next = weft__load_relaxed(&io->retired); /* relaxed: under the guard */
    weft__store_relaxed(&io->retired, reg);       /* relaxed: under the guard */
    kick = ++io->retired_count % RETIRED_KICK == 0;
    weft__guard_unlock(&io->guard);
    if (kick)
        weft__io_kick(io);
}

/* Somebody is in: the caller itself, if it was parked here, and has not asked so far how that ended. Then its use goes on as that of this call. */
static WEFT__COLD bool enter_again(struct weft__registration *reg, uint32_t user, uint32_t old)
{
    uint32_t taken = user & ~old, held = weft__park_hand_over(&reg->park) ? reg->parked : 0;
    if ((old & user & ~held) == 0) {
        if ((held & ~user) != 0)
            weft__registration_leave(reg, held & ~user);
        return true;
    }
    if ((taken | held) != 0)
        weft__registration_leave(reg, taken | held);
    return false;
}

int weft__registration_enter_slowly(struct weft__registration *reg, uint32_t user, uint32_t old)
{
    if (user != WEFT__GUEST && (old & user) != 0 && !enter_again(reg, user, old))
        return -EBUSY;
    if (weft__likely((old & WEFT__GONE) == 0))
        return 0;
    weft__registration_leave(reg, user);
    return -EBADF;
}

void weft__registration_dispose(struct weft__registration *reg)
{
    if (reg->kind == WEFT__OF_LISTENER)
        weft__listener_dispose(reg);
    else
        weft__stream_dispose(reg);
}

void weft__registration_close(struct weft__registration *reg, const char *call)
{
    (void)weft__park_settle_at(&reg->park); /* the closer was parked here itself, and is not any more */
    uint32_t old = weft__fetch_or_acq_rel(&reg->users, WEFT__GONE | WEFT__CLOSER); /* pairs: USERS */
    if ((old & WEFT__GONE) != 0)
        weft__misuse(call, "the object is closed already");
    if (old != 0)
        for (int d = 0; d < 2; d++)
            (void)weft__interest_notify(&reg->interest[d], WEFT__CLOSED | WEFT__READY);
    weft__registration_leave(reg, WEFT__CLOSER);
}

bool weft__interest_notify(struct weft__interest *i, uint64_t flags)
{
    uint64_t old = weft__load_acquire(&i->word); /* pairs: INTEREST */
    uintptr_t who;
    /* Told already, and nobody waits: whoever clears READY does so after this look, and asks the kernel after that. */
    if ((old & (flags | WEFT__WAITING)) == flags)
        return false;
    do {
        who = weft__load_relaxed(&i->who); /* relaxed: the CAS proves that it is this wait's */
    } while (!weft__cas_acq_rel(&i->word, &old, (old | flags) & ~(uint64_t)WEFT__WAITING)); /* pairs: INTEREST */
    if ((old & WEFT__WAITING) == 0)
        return false;
    uint32_t ticket = (uint32_t)(old >> 32);
    if (who & WEFT__WHO_PARKED)
        return weft__unpark((struct weft_task *)(who & ~WEFT__WHO_PARKED), ticket, WEFT__UNPARK_CAME);
    return weft__wake((struct weft__fiber *)who, ticket, WEFT__WOKEN);
}

unsigned weft__registration_event(struct weft__registration *reg, uint32_t events)
{
    unsigned wakes = 0;
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        uint64_t hangup = (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 ? WEFT__HANGUP : 0;
        wakes += weft__interest_notify(&reg->interest[WEFT__READ], WEFT__READY | hangup);
    }
    /* Room to write is told with everything, and mostly known. */
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 &&
        (weft__interest_look(reg, WEFT__WRITE) & (WEFT__READY | WEFT__WAITING)) != WEFT__READY)
        wakes += weft__interest_notify(&reg->interest[WEFT__WRITE], WEFT__READY);
    return wakes;
}

bool weft__interest_announce(struct weft__interest *i, uintptr_t who, uint32_t ticket)
{
    uint64_t old = weft__load_acquire(&i->word); /* pairs: INTEREST */
    if ((old & (WEFT__READY | WEFT__CLOSED)) != 0)
        return false;
    weft__store_relaxed(&i->who, who); /* relaxed: published by the CAS */
    uint64_t turn = (old + WEFT__TURN) & WEFT__TURNS, wait = (uint64_t)ticket << 32 | turn | WEFT__WAITING;
    do {
        if ((old & (WEFT__READY | WEFT__CLOSED)) != 0)
            return false;
    } while (!weft__cas_acq_rel(&i->word, &old, wait | (old & WEFT__HANGUP))); /* pairs: INTEREST */
    return true;
}

void weft__interest_withdraw(struct weft__registration *reg, unsigned directions)
{
    for (unsigned d = 0; d < 2; d++)
        if ((directions & 1u << d) != 0 && (weft__interest_look(reg, d) & WEFT__WAITING) != 0)
            weft__fetch_and_acq_rel(&reg->interest[d].word, ~(uint64_t)WEFT__WAITING); /* pairs: INTEREST */
}

int weft__registration_wait(struct weft__registration *reg, struct weft__fiber *f, unsigned directions,
                            const struct weft__wait_kind *kind, weft_ns deadline)
{
    uint32_t ticket = weft__wait_begin(f, kind, reg);
    for (unsigned d = 0; d < 2; d++) {
        if ((directions & 1u << d) != 0 && !weft__interest_announce(&reg->interest[d], (uintptr_t)f, ticket)) {
            weft__interest_withdraw(reg, directions & ((1u << d) - 1));
            (void)weft__wait_abandon(f);
            return 0;
        }
    }
    weft__io_wait_enter(reg->io);
    enum weft__wake how = weft__wait_commit(f, deadline);
    weft__io_wait_leave(reg->io);
    weft__interest_withdraw(reg, directions);
    if (how == WEFT__CANCELLED)
        return -ECANCELED;
    return how == WEFT__TIMED_OUT ? -ETIMEDOUT : 0;
}

/* ---- for dumps --------------------------------------------------------------------------------------------------- */

/* `who` waits, and may not go on meanwhile. Its listener may be closed, no more. */
static void tell(struct weft__registration *reg, uintptr_t who, const char *name, struct weft__sight *s)
{
    int fd = (int)weft__guard_glance((const uint32_t *)&reg->fd);
    bool waits[2];
    for (int d = 0; d < 2; d++) {
        struct weft__interest *i = &reg->interest[d];
        waits[d] = (weft__load_acquire(&i->word) & WEFT__WAITING) != 0 && /* pairs: INTEREST */
                   weft__load_relaxed(&i->who) == who;                    /* relaxed: only shown */
    }
    if (reg->kind == WEFT__OF_FD && (waits[0] || waits[1]))
        weft__sight_say(s, "waits for descriptor %d to be %s%s%s", fd, waits[WEFT__READ] ? "readable" : "",
                        waits[0] && waits[1] ? " or " : "", waits[WEFT__WRITE] ? "writable" : "");
    else
        weft__sight_say(s, "waits for %s, descriptor %d", name, fd);
}

void weft__registration_tell(struct weft__fiber *f, void *object, struct weft__sight *s)
{
    const struct weft__wait_kind *kind = weft__load_relaxed(&f->wait_kind); /* relaxed: FIBER-WORD published it */
    tell(object, (uintptr_t)f, kind->name, s);
}

void weft__park_tell(struct weft__park *park, struct weft_task *t, const char *name, struct weft__sight *s)
{
    tell(weft__container_of(park, struct weft__registration, park), (uintptr_t)t | WEFT__WHO_PARKED, name, s);
}
