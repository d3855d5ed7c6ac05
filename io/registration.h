/* SPDX-License-Identifier: Apache-2.0 */
/* io/registration.h -- one descriptor in epoll, and who waits for it. The protocol stands at the head of registration.c. */
#ifndef WEFT_IO_REGISTRATION_H
#define WEFT_IO_REGISTRATION_H

#include "executor/parked.h"
#include "io/reactor.h"

enum weft__direction { WEFT__READ = 0, WEFT__WRITE = 1 }; /* a set of them: 1 << each, as in `users` */

/* Bits of an interest's word; above them the number of the wait, and in the upper half its ticket. */
enum {
    WEFT__READY = 1,   /* an event came since somebody last cleared this */
    WEFT__WAITING = 2, /* `who` is to be woken, with this ticket */
    WEFT__HANGUP = 4,  /* end of stream, error or urgent data was seen: a short read proves nothing. Sticky */
    WEFT__CLOSED = 8,  /* Sticky */
    WEFT__TURN = 256,  /* one more with each wait: a waker cannot mix up two waits of the same reader */
};
#define WEFT__TURNS UINT64_C(0xffffff00)

/* One direction. `who` is written by the direction's one user while the word has no WAITING, and read by wakers that
 * then prove by CAS of the whole word that they read that of the wait they end. pairs: INTEREST, all of the word. */
struct weft__interest {
    _Atomic(uint64_t) word;
    _Atomic(uintptr_t) who; /* a fiber; a task + PARKED; before that task has returned, its deadline */
};
#define WEFT__WHO_PARKED ((uintptr_t)1)

/* Bits of `users`. */
enum {
    WEFT__READER = 1,
    WEFT__WRITER = 2,
    WEFT__GONE = 4, /* closed: the last one to leave disposes */
    WEFT__CLOSER = 8,
    WEFT__GUEST = 16, /* and its multiples: short calls, any number of them */
};

/* Whose a record is. The first three are streams: of TCP, where a short read means that nothing is left; of other sockets, with recv and
 * send; of what has read and write. */
enum weft__registered {
    WEFT__OF_NOBODY, /* not registered */
    WEFT__OF_TCP,
    WEFT__OF_SOCKET,
    WEFT__OF_PIPE,
    WEFT__OF_LISTENER,
    WEFT__OF_FD,
};

/* Memory of a slab that lives as long as the runtime: a late event meets a record, never anything else. The record of a stream is
 * the stream (stream.h), so all have its size. */
struct weft__registration {
    union {                              /* the slab's link when free, as `io` */
        struct weft__registration *next; /* retired, or in a bucket of foreign descriptors */
        struct weft_listener *listener;  /* its owner */
        struct weft__buffer *buffer;     /* a stream's */
    };
    struct weft__io *io; /* NULL: the runtime has ended (a stream that was not closed) */
    int fd;
    _Atomic(uint32_t) users;      /* pairs: USERS: each enters after what the one before did inside */
    _Atomic(uint16_t) generation; /* goes with each event */
    uint8_t kind;                 /* enum weft__registered */
    uint8_t parked;               /* directions that a task has asked to be parked at: the user's */
    _Atomic(int)
        error; /* a stream: what broke the connection, 0: nothing yet; for the reader that then finds the end */
    struct weft__interest interest[2];
    struct weft__park park; /* of the one task that is parked here */
};

/* Register fd for both directions, edge-triggered. 0 and *out; -ENOMEM, -ENOSPC, -EPERM, -EEXIST, -EBADF. Any thread. Both
 * directions start READY: nobody knows yet, so the first system call finds out. */
int weft__registration_open(struct weft__io *io, int fd, struct weft__registration **out);
/* In two steps: memory (NULL: none), to be given back by free as long as nothing is registered; and the descriptor. */
struct weft__registration *weft__registration_new(struct weft__io *io);
void weft__registration_free(struct weft__registration *reg);
int weft__registration_start(struct weft__registration *reg, int fd);
/* Have epoll report anew what holds at present, also when fd has become another file meanwhile. 0 or -errno. */
int weft__registration_again(struct weft__registration *reg);
/* Take it out of epoll; the record is used again when no collect can know it any more. The descriptor stays open. */
void weft__registration_retire(struct weft__registration *reg);

/* Enter for one call as READER, WRITER or GUEST: 0, -EBUSY (another one is inside), -EBADF (closed). */
static inline int weft__registration_enter(struct weft__registration *reg, uint32_t user);
static inline void weft__registration_leave(struct weft__registration *reg, uint32_t user);
/* Their rarer parts: somebody was in, or it is closed; the last one of a closed record has left. */
int weft__registration_enter_slowly(struct weft__registration *reg, uint32_t user, uint32_t old);
void weft__registration_dispose(struct weft__registration *reg);
/* Wake everybody inside, for good; disposes when the last one has left, maybe at once. `call` is named when it was closed
 * before. */
void weft__registration_close(struct weft__registration *reg, const char *call);
/* Closed, and nobody is inside any more: stream.c, listen.c. */
void weft__stream_dispose(struct weft__registration *reg);
void weft__listener_dispose(struct weft__registration *reg);

/* What an event does to one direction; returns whether it woke somebody. Any thread. */
bool weft__interest_notify(struct weft__interest *i, uint64_t flags);
/* An event of epoll on the record. Returns the number of wakes. */
unsigned weft__registration_event(struct weft__registration *reg, uint32_t events);

static inline int weft__registration_enter(struct weft__registration *reg, uint32_t user)
{
    uint32_t old = user == WEFT__GUEST ? weft__fetch_add_acq_rel(&reg->users, user) : /* pairs: USERS */
                       weft__fetch_or_acq_rel(&reg->users, user);                     /* pairs: USERS */
    uint32_t unusual = user == WEFT__GUEST ? WEFT__GONE : WEFT__GONE | user;
    return weft__likely((old & unusual) == 0) ? 0 : weft__registration_enter_slowly(reg, user, old);
}
static inline void weft__registration_leave(struct weft__registration *reg, uint32_t user)
{
    if (weft__unlikely(weft__fetch_sub_acq_rel(&reg->users, user) - user == WEFT__GONE)) /* pairs: USERS */
        weft__registration_dispose(reg);
}

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
/* Make known who is to be woken in one direction. False: it is READY or closed. And take that back. Its one user. */
bool weft__interest_announce(struct weft__interest *i, uintptr_t who, uint32_t ticket);
void weft__interest_withdraw(struct weft__registration *reg, unsigned directions);

/* The `tell` of waits whose object is a registration, and of a task that is parked at one. */
void weft__registration_tell(struct weft__fiber *f, void *object, struct weft__sight *s);
void weft__park_tell(struct weft__park *park, struct weft_task *t, const char *name, struct weft__sight *s);

/* park.c: the time of a task that is parked at a registration is over. */
void weft__park_timer_fires(struct weft__timer *timer);

/* fd.c: a foreign descriptor's record for that user, shared with one of the other direction; and give it back. */
int weft__fd_join(struct weft__io *io, int fd, uint32_t users, struct weft__registration **out);
void weft__fd_leave(struct weft__registration *reg, uint32_t users);
/* What holds now of `interest`: its bits, 0, or a negative errno (-EPERM: a file that cannot be waited for). Never blocks. */
int weft__fd_look(int fd, int interest);

#endif
