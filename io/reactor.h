/* SPDX-License-Identifier: Apache-2.0 */
/* io/reactor.h -- one runtime's epoll instance and what hangs on it. Private to io/. */
#ifndef WEFT_IO_REACTOR_H
#define WEFT_IO_REACTOR_H

#include <sys/epoll.h>
#include <weft/sync.h>

#include "executor/atomic.h"
#include "executor/base.h"
#include "executor/driver.h"
#include "executor/slab.h"
#include "executor/wait.h"

struct weft__registration;
struct weft_listener;
struct weft__signal_source;

#define WEFT__EVENTS 256      /* taken by one collect at most */
#define WEFT__FD_BUCKETS 256  /* of the table of foreign descriptors */
#define WEFT__BUFFERS_KEPT 15 /* idle read buffers, by each worker */

/* A worker's idle read buffers; see buffers.c. */
struct weft__buffer_cache {
    alignas(WEFT__CACHELINE) size_t count;
    struct weft__buffer *kept[WEFT__BUFFERS_KEPT];
};

/* The tasks of one runtime that wait for signals; see signal.c. */
struct weft__signals {
    weft__waitlist waiters;             /* its guard covers the rest too */
    uint64_t pending;                   /* came, and nobody has had it: bit signo - 1 */
    uint64_t subscribed;                /* signals whose action this runtime has taken over */
    struct weft__signal_source *source; /* what the handler writes to; NULL before the first wait */
    bool int_waited;                    /* tasks wait for SIGINT: it is theirs */
    bool main_has_it; /* handle_sigint, and a main task is under way; under the guard in signal_actions.c */
    _Atomic(struct weft__signal_source *)
        interrupts; /* `source` while SIGINT cancels the main task. pairs: SIGNAL-CAME */
};

struct weft__io {
    struct weft_runtime *rt;
    int epoll;
    int kick;                     /* eventfd, edge-triggered, never read: each write is one more edge */
    _Atomic(bool) no_nanoseconds; /* the kernel has no epoll_pwait2 */
    bool count_waits;             /* virtual clock: `waits` must be exact */

    /* odd while a collect is open; written by the holder of the collector token only.
     * pairs: COLLECT-SEQUENCE: a record taken out of epoll (EPOLL_CTL_DEL) before the sequence was found even, or before it
     * moved on from the odd value found, is in no batch that somebody still works on. */
    alignas(WEFT__CACHELINE) _Atomic(uint64_t) sequence;
    struct epoll_event events[WEFT__EVENTS]; /* the open collect's */

    /* pairs: IO-OPEN: a thread that registered a descriptor and then looks whether anybody should collect, sees it. */
    alignas(WEFT__CACHELINE) _Atomic(int64_t) open; /* registered descriptors */
    _Atomic(int64_t) waits; /* tasks waiting for a descriptor or signal, counted if count_waits */

    uint32_t guard; /* of the lists below */
    uint32_t retired_count;
    _Atomic(struct weft__registration *) retired; /* closed while a collect was open */
    struct weft_listener *starved;                /* acceptors that wait for descriptors or memory */
    /* pairs: STARVED: an acceptor enters the list, then tries accept again; who closes a descriptor then looks here. */
    _Atomic(uint32_t) starved_count;

    struct weft__slab records;
    uint32_t foreign_guard;
    struct weft__registration *foreign[WEFT__FD_BUCKETS]; /* of weft_fd_wait, under foreign_guard */
    struct weft__signals signals;
    struct weft__buffer_cache *buffers; /* of each worker */
};

/* What epoll's data says where it is not a record. */
enum { WEFT__EVENT_KICK = 1, WEFT__EVENT_SIGNAL = 2 };

/* The composition root's one dependency (run.c); tests start runtimes by weft_run as everybody does. */
extern const struct weft__driver weft__epoll_driver;

/* The io state of the runtime the fiber belongs to. Aborts when the runtime was started without I/O. */
struct weft__io *weft__fiber_io(struct weft__fiber *f, const char *call);
/* Make a blocked collect return. Any thread. */
void weft__io_kick(struct weft__io *io);
/* Bracket a wait for something of the outside world. */
static inline void weft__io_wait_enter(struct weft__io *io)
{
    if (weft__unlikely(io->count_waits))
        weft__fetch_add_seq_cst(&io->waits, 1); /* pairs: IO-OPEN */
}
static inline void weft__io_wait_leave(struct weft__io *io)
{
    if (weft__unlikely(io->count_waits))
        weft__fetch_sub_seq_cst(&io->waits, 1); /* pairs: IO-OPEN */
}

/* Bytes received and not yet taken: data[start, end). */
struct weft__buffer {
    size_t start, end, capacity;
    char data[];
};
/* buffers.c: empty read buffers of WEFT_STREAM_BUFFER bytes. NULL: memory is short. Any thread. */
struct weft__buffer *weft__buffer_get(struct weft__io *io);
/* One with room for so many bytes, not to be kept; free() it. */
struct weft__buffer *weft__buffer_new(size_t capacity);
void weft__buffer_put(struct weft__io *io, struct weft__buffer *buffer);
struct weft__buffer_cache *weft__buffers_create(const struct weft_runtime *rt);
void weft__buffers_free(struct weft__io *io);

/* listener.c: a descriptor was closed: acceptors that ran out of them try again. Any thread. */
void weft__listeners_retry(struct weft__io *io);

/* signal.c */
void weft__signals_init(struct weft__io *io);
/* The event descriptor became readable; called inside collect. Returns the number of wakes. */
unsigned weft__signals_dispatch(struct weft__io *io);
void weft__signals_stop(struct weft__io *io);
/* The option handle_sigint: from now on, or no more, SIGINT cancels the main task. 0 or -errno. */
int weft__interrupts_begin(struct weft__io *io);
void weft__interrupts_end(struct weft__io *io);
/* Has a SIGINT come for the main task that was not dispatched yet? A hint. */
bool weft__interrupts_came(struct weft__io *io);
/* In the child of fork: the actions that were there before come back. */
void weft__signals_forked(struct weft__io *io);

#endif
