/* SPDX-License-Identifier: Apache-2.0 */
/* weft/io.h -- sockets and streams: listen, accept, connect, read, write, close; and waiting for foreign descriptors.
 *
 * All calls are for tasks, on any worker, unless said otherwise. Those that may have to wait suspend only the calling
 * task, deliver its cancellation as -ECANCELED, and obey a weft_timeout around them. A cancelled read has taken no byte;
 * a cancelled write may have sent a part (weft_stream_written tells).
 *
 * A stream has one reader and one writer at a time (they may be two tasks); a second one gets -EBUSY. weft_close while a
 * task waits on the object wakes that task with -EBADF. The object is freed when the last call on it has returned.
 *
 * Addresses are texts: "127.0.0.1:8080", "[::1]:8080", "localhost:http", ":8080" (all interfaces), "unix:/path",
 * "unix:@abstract". Names are looked up on a helper thread. */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include <sys/types.h>
#include <sys/uio.h>
#include <weft/base.h>

WEFT_BEGIN_DECLS

typedef struct weft_stream weft_stream;
typedef struct weft_listener weft_listener;

enum { WEFT_READABLE = 1, WEFT_WRITABLE = 2 };

/* ---- descriptors of other libraries ---- */

/* Wait until fd is readable and / or writable (WEFT_READABLE | WEFT_WRITABLE), or `timeout` has passed (WEFT_FOREVER: no
 * limit). Level-triggered: returns at once what holds already. Returns the conditions that hold (an error or hang-up
 * counts as both), -ETIMEDOUT, -ECANCELED, -EBADF, -EPERM for a file that cannot be polled, -EBUSY when fd is being
 * waited for in the same direction already, or belongs to a stream or listener. The descriptor stays the caller's; to close it
 * while a task waits is a mistake. asyncio: add_reader, add_writer. */
WEFT_API WEFT_NODISCARD int weft_fd_wait(int fd, int interest, weft_ns timeout);

/* ---- listening ---- */

typedef struct weft_listen_options {
    size_t size;
    int backlog;     /* 0: 1024 */
    bool reuse_port; /* SO_REUSEPORT */
    bool keep_path;  /* unix: do not remove a stale socket file first, nor the own one at the end */
    weft_ns
        most_delay; /* while weft_queue_delay is above this connections are left in the kernel's queue, all but ten a second, until
                           it has fallen; 0: 1 s, WEFT_FOREVER: never */
} weft_listen_options;
#ifdef __cplusplus
#define WEFT_LISTEN_OPTIONS(...)                                                                                       \
    (weft__box<weft_listen_options>{{.size = sizeof(weft_listen_options), __VA_ARGS__}}.address())
#else
#define WEFT_LISTEN_OPTIONS(...) (&(weft_listen_options){.size = sizeof(weft_listen_options), __VA_ARGS__})
#endif

/* Open a listening socket. 0 and *out; a negative errno (-EINVAL: also options of a wrong size). Suspends only to look a name up. asyncio: start_server. */
WEFT_API WEFT_NODISCARD int weft_listen(weft_listener **out, const char *address);
WEFT_API WEFT_NODISCARD int weft_listen_with(const weft_listen_options *options, weft_listener **out,
                                             const char *address);
/* Open n listeners of one TCP address, each with a queue of its own, over which the kernel spreads connections by a hash of their
 * addresses (SO_REUSEPORT; a port of 0 is chosen once, for all). Each needs a task that accepts. One listener is enough, and fairer, up to
 * tens of thousands of new connections a second: its acceptor is a task as any other, and what it accepts is stolen by whoever is idle. With
 * a group an acceptor that gets no turn holds up its share of newcomers. `out` has room for n; close them all, together: what waits in the
 * queue of one is reset. 0, -EINVAL (n is 0), -EOPNOTSUPP (a unix socket), or as weft_listen_with; then none is open. asyncio: reuse_port. */
WEFT_API WEFT_NODISCARD int weft_listen_group(const weft_listen_options *options, weft_listener *out[], unsigned n,
                                              const char *address);
/* Wait for the next connection. 0 and *out. TCP connections have TCP_NODELAY set. When descriptors or memory run out it waits and resumes when a stream is closed
 * or a moment has passed, without spinning; connections that died in the queue are skipped. -EBADF: closed. */
WEFT_API WEFT_NODISCARD int weft_accept(weft_listener *l, weft_stream **out);
/* "127.0.0.1:43210": the address bound, with the port the kernel chose. Copied, terminated. 0 or -errno. */
WEFT_API int weft_listener_address(const weft_listener *l, char *buf, size_t size);
/* The descriptor, for options; it stays the listener's. */
WEFT_API int weft_listener_fd(const weft_listener *l);
/* Stop accepting, and free the listener: when it returns nobody can connect any more, and what had connected but was not accepted is reset. A task
 * inside weft_accept ends with -EBADF, unless it has a connection already. Accepted connections are not touched. Nobody may use the
 * listener afterwards: an acceptor that is between two accepts would, so cancel it and await it first, then close. Never suspends. Any thread that runs a task of the
 * runtime. asyncio: Server.close. */
WEFT_API void weft_listener_close(weft_listener *l);

/* ---- streams ---- */

/* Connect. 0 and *out, or a negative errno; all addresses of a name are tried in turn. asyncio: open_connection. */
WEFT_API WEFT_NODISCARD int weft_connect(weft_stream **out, const char *address);
/* Make a stream of a connected socket, pipe end or terminal; the stream owns fd from now on and sets O_NONBLOCK on it. On
 * error fd is as before and the caller's. */
WEFT_API WEFT_NODISCARD int weft_stream_adopt(weft_stream **out, int fd);

/* Read what there is, 1..n bytes; waits if there is nothing. 0 only at the end of the stream; -EINVAL for n == 0.
 * asyncio: read(n). */
WEFT_API WEFT_NODISCARD ssize_t weft_read(weft_stream *s, void *buf, size_t n);
/* Read exactly n bytes. n; or, when the stream ended first, -EPIPE: what came stays readable. asyncio: readexactly. */
WEFT_API WEFT_NODISCARD ssize_t weft_read_exactly(weft_stream *s, void *buf, size_t n);
/* Read up to and including the byte `end`: the number of bytes, at most n; -ENOBUFS when n bytes came without it, -EPIPE
 * when the stream ended first; in both cases nothing is taken. asyncio: readuntil. */
WEFT_API WEFT_NODISCARD ssize_t weft_read_until(weft_stream *s, char end, void *buf, size_t n);
/* The bytes received and not yet taken, without copying: waits until there are more than `have` of them, sets *data and
 * returns their number; 0 at the end of the stream (then *data still holds those `have`); -ENOBUFS when `have` fills the
 * buffer (WEFT_STREAM_BUFFER bytes). They stay valid until the next read call on the stream. While it waits with nothing
 * received the stream holds no buffer. */
#define WEFT_STREAM_BUFFER ((size_t)16 * 1024)
WEFT_API WEFT_NODISCARD ssize_t weft_peek(weft_stream *s, size_t have, const char **data);
/* Take n of the peeked bytes. n is at most what weft_peek returned. Never suspends. */
WEFT_API void weft_consume(weft_stream *s, size_t n);

/* Write all n bytes; waits while the peer reads slower than that, so memory stays bounded. 0 or a negative errno
 * (-EPIPE, -ECONNRESET when the peer is gone; never SIGPIPE). asyncio: write + drain. */
WEFT_API WEFT_NODISCARD int weft_write(weft_stream *s, const void *buf, size_t n);
/* The same for several buffers; the array is not changed. At most 64 of them. */
WEFT_API WEFT_NODISCARD int weft_writev(weft_stream *s, const struct iovec *parts, int n);
/* Send `count` bytes of a regular file from `offset` on (0: up to its end) without a copy in this program, where the kernel can do
 * that, else through a buffer. Pages that are not in memory are read by a helper thread meanwhile. Returns the number of bytes sent, fewer
 * when the file ends first; -EINVAL: no regular file; the errors of weft_write. The file's own position is neither used nor moved; fd
 * stays the caller's and open until this returns. Cancelled: a part may have been sent. asyncio: loop.sendfile. */
WEFT_API WEFT_NODISCARD ssize_t weft_sendfile(weft_stream *s, int fd, off_t offset, size_t count);
/* Pass on everything that comes from `from` to `to`, until `from` ends; that end is passed on too (half-close). Much at a time goes
 * from socket to socket inside the kernel (splice). Nobody else reads `from` or writes `to` meanwhile (-EBUSY). 0, or the errors of
 * weft_read and weft_write. Cancelled, or after an error: bytes taken from `from` may be lost, so close both. asyncio: none; as
 * a loop of read, write and drain. */
WEFT_API WEFT_NODISCARD int weft_forward(weft_stream *from, weft_stream *to);
/* The same in both directions at once: 0 when both have ended; the first error, which ends the other direction too. Neither stream is
 * closed. For a limit on silence put a weft_timeout around it. */
WEFT_API WEFT_NODISCARD int weft_relay(weft_stream *a, weft_stream *b);
/* The number of bytes the stream has sent in its life. */
WEFT_API uint64_t weft_stream_written(const weft_stream *s);

/* Close one direction, or both: WEFT_WRITABLE sends the end of the stream to the peer, and reading goes on (half-close). WEFT_READABLE: what has
 * arrived can still be read, then reads find the end, also one that waits in another task, or is parked (docs/draining.md). 0; -EINVAL: neither; -EBADF: closed; or
 * -errno, -ENOTSOCK for what is no socket. Never suspends. Any task of the runtime, also while others read and write. asyncio: write_eof. */
WEFT_API int weft_shutdown(weft_stream *s, int interest);
/* Wait until the peer has closed its side, throwing away what still comes, at most `timeout`: 0, -ETIMEDOUT, -errno. */
WEFT_API int weft_drain_until_end(weft_stream *s, weft_ns timeout);
/* Close the stream. Never suspends. What has been written is still sent, but while input lies unread, or comes later, the kernel resets the
 * connection, and the peer may lose what was just written to it: an error answer to a request that was not read to its end. There call
 * weft_shutdown(s, WEFT_WRITABLE) and weft_drain_until_end first. A reset on purpose (peer told at once) is weft_stream_abort. */
WEFT_API void weft_stream_close(weft_stream *s);
WEFT_API void weft_stream_abort(weft_stream *s);
/* The descriptor, for options and addresses; it stays the stream's. */
WEFT_API int weft_stream_fd(const weft_stream *s);

#ifndef __cplusplus
/* weft_close(x): close a stream or a listener. NULL is allowed. */
#define weft_close(x) _Generic((x), weft_stream * : weft_stream_close, weft_listener * : weft_listener_close)(x)
#else
WEFT_END_DECLS
static inline void weft_close(weft_stream *s)
{
    weft_stream_close(s);
}
static inline void weft_close(weft_listener *l)
{
    weft_listener_close(l);
}
WEFT_BEGIN_DECLS
#endif

/* ---- names ---- */

/* Look "host:port" up on a helper thread and write the numeric forms ("127.0.0.1:80", "[::1]:80"), each terminated, one
 * after the other into buf. Returns how many fitted (at least 1) or -ENOENT (no such name), -EAGAIN (no answer), -EINVAL,
 * -ECANCELED. asyncio: getaddrinfo. */
WEFT_API WEFT_NODISCARD int weft_resolve(const char *address, char *buf, size_t size);

/* ---- signals ---- */

/* (A task's thread blocks signals: send oneself one with kill(getpid(), ...), not with raise.)
 * Wait for one of the signals; returns its number, or -ECANCELED, -EINVAL. From the first call on a signal is delivered to
 * waiting tasks instead of its former action, and stays so until the runtime ends; one that comes while nobody waits is
 * kept for the next wait. Several tasks may wait for the same signal: each gets it. What is then done is done by the task, on its worker, as
 * ordinary code: nothing of the program runs in a signal handler, so there it may call anything. (The library's handler, which runs in whichever
 * thread the kernel picks, only notes the signal.) asyncio: add_signal_handler. */
WEFT_API WEFT_NODISCARD int weft_signal_wait(const int signals[], size_t n);
/* The same without waiting: from now on, and until the runtime ends, these signals have no other effect than to be kept for weft_signal_wait, also before the
 * first wait and between two. For who must not miss one while it still sets things up. 0 (also if they are kept already), -EINVAL, or what kept it from being done
 * (-ENOMEM, -EMFILE). Inside tasks. Never suspends. asyncio: add_signal_handler. */
WEFT_API WEFT_NODISCARD int weft_signal_keep(const int signals[], size_t n);
/* The signals have their former action again (with the option handle_sigint SIGINT cancels the main task again, while that is under way), unless another
 * runtime of the process keeps them, too. One that came and nobody has been given is sent again, so that the former action gets it (not where another runtime
 * kept it at that time: that one has got it as well). A later
 * weft_signal_wait takes them over anew. 0 (also for those that were not kept); -EBUSY: a task waits for one of them, and nothing is done; -EINVAL. Inside tasks.
 * Never suspends. asyncio: remove_signal_handler.
 * Of several that were kept a wait gives the one with the lowest number first; several of one signal count once. One that is sent again is a plain one, without
 * what sigqueue gave it. Signals still kept when the runtime ends are gone: a program that goes on after it drops them before.
 * A wait takes one signal. Where SIGINT and SIGTERM came together, a wait and then a drop of both send SIGTERM again, and that ends the program (asyncio has run both
 * handlers by then). Who takes either for both, and wants the next Ctrl-C to kill, drops SIGINT alone: a wait gives that one first.
 * An action that the program itself sets for a kept signal stays, after a drop and after the runtime: with signal(SIGTERM, SIG_IGN) as the main task's
 * last deed a late one does not end the process while it exits (docs/draining.md). */
WEFT_API int weft_signal_drop(const int signals[], size_t n);

WEFT_END_DECLS

#endif
