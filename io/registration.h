/* SPDX-License-Identifier: Apache-2.0 */
/* io/registration.h -- one descriptor in epoll, and who waits for it. The protocol stands at the head of registration.c. */
#ifndef WEFT_IO_REGISTRATION_H
#define WEFT_IO_REGISTRATION_H

#include "io/reactor.h"

enum weft__direction { WEFT__READ = 0, WEFT__WRITE = 1 };

/* Bits of an interest's word; above them the number of the wait. */
enum {
    WEFT__READY = 1,   /* an event came since somebody last cleared this */
    WEFT__WAITING = 2, /* fiber and ticket are to be woken */
    WEFT__HANGUP = 4,  /* end of stream, error or urgent data was seen: a short read proves nothing. Sticky */
    WEFT__CLOSED = 8,  /* Sticky */
    WEFT__TURN = 256,  /* one more with each wait: a waker cannot mix up two waits of the same reader */
};

/* One direction. The fields are written by the direction's one user while the word has no WAITING, and read by wakers that
 * then prove by CAS of the whole word that they read those of the wait they end. pairs: INTEREST, all of the word. */
struct weft__interest {
    _Atomic(uint64_t) word;
    _Atomic(struct weft__fiber *) fiber;
    _Atomic(uint32_t) ticket;
};

/* Bits of `users`. */
enum {
    WEFT__READER = 1,
    WEFT__WRITER = 2,
    WEFT__GONE = 4, /* closed: the last one to leave disposes */
    WEFT__CLOSER = 8,
    WEFT__GUEST = 16, /* and its multiples: short calls, any number of them */
};

/* Memory of a slab that lives as long as the runtime: a late event meets a record, never anything else. */
struct weft__registration {
    struct weft__registration *next; /* retired, or in a bucket of foreign descriptors; the slab's link when free */
    void *slab_link;                 /* the slab's too */
    struct weft__io *io;
    struct weft__registration **home; /* the owner's pointer to this record, cleared when the runtime ends first */
    void (*dispose)(struct weft__registration *reg); /* closed, and nobody is inside any more */
    void *owner;
    int fd;
    bool alive;
    _Atomic(uint32_t) generation; /* its low 16 bits go with each event */
    _Atomic(uint32_t) users;      /* pairs: USERS: each enters after what the one before did inside */
    struct weft__interest interest[2];
};

/* Register fd for both directions, edge-triggered. 0 and *out; -ENOMEM, -ENOSPC, -EPERM, -EEXIST, -EBADF. Any thread. Both
 * directions start READY: nobody knows yet, so the first system call finds out. */
int weft__registration_open(struct weft__io *io, int fd, struct weft__registration **out);
/* Have epoll report anew what holds at present, also when fd has become another file meanwhile. 0 or -errno. */
int weft__registration_again(struct weft__registration *reg);
/* Take it out of epoll; the record is used again when no collect can know it any more. The descriptor stays open. */
void weft__registration_retire(struct weft__registration *reg);

/* Enter for one call as READER, WRITER or GUEST: 0, -EBUSY (another one is inside), -EBADF (closed). */
int weft__registration_enter(struct weft__registration *reg, uint32_t user);
void weft__registration_leave(struct weft__registration *reg, uint32_t user);
/* Wake everybody inside, for good; disposes when the last one has left, maybe at once. `call` is named when it was closed
 * before. */
void weft__registration_close(struct weft__registration *reg, const char *call);

/* What an event does to one direction; returns whether it woke somebody. Any thread. */
bool weft__interest_notify(struct weft__interest *i, uint64_t flags);
/* An event of epoll on the record. Returns the number of wakes. */
unsigned weft__registration_event(struct weft__registration *reg, uint32_t events);

static inline uint64_t weft__interest_look(const struct weft__registration *reg, enum weft__direction d)
{
    return weft__load_acquire(&reg->interest[d].word); /* pairs: INTEREST */
}
/* Clear READY; what was there. Before the system call whose EAGAIN (or short count) is to be believed. */
static inline uint64_t weft__interest_consume(struct weft__registration *reg, enum weft__direction d)
{
    uint64_t old = weft__interest_look(reg, d);
    return (old & WEFT__READY) == 0 ? old
                                    : weft__fetch_and_acq_rel(&reg->interest[d].word, /* pairs: INTEREST */
                                                              ~(uint64_t)WEFT__READY);
}
/* Set READY by the user itself: there may be more. */
static inline void weft__interest_more(struct weft__registration *reg, enum weft__direction d)
{
    weft__fetch_or_acq_rel(&reg->interest[d].word, WEFT__READY); /* pairs: INTEREST */
}

/* Wait, as the one user of the directions (1 << WEFT__READ | 1 << WEFT__WRITE), until one of them is READY or closed. 0
 * (also without need: look again), -ECANCELED, -ETIMEDOUT. Returns at once when one is READY. */
int weft__registration_wait(struct weft__registration *reg, struct weft__fiber *f, unsigned directions,
                            const struct weft__wait_kind *kind, weft_ns deadline);

#endif
