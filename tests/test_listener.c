/* SPDX-License-Identifier: Apache-2.0 */
/* Listening, accepting, connecting: TCP and unix, addresses, refusals, cancellation, closing. */
#include "support/io.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

static int listen_any(weft_listener **l, char address[64])
{
    int rc = weft_listen(l, "127.0.0.1:0");
    return rc == 0 ? weft_listener_address(*l, address, 64) : rc;
}

/* For a port that nobody may take when it has been given back. */
static int listen_own(weft_listener **l, char address[64])
{
    char any[32];
    int rc = weft_listen(l, own_loopback(any));
    return rc == 0 ? weft_listener_address(*l, address, 64) : rc;
}

struct dial {
    WEFT_FRAME;
    const char *address;
    weft_stream *s; /* result */
};
static int dial(struct dial *d)
{
    return weft_connect(&d->s, d->address);
}
WEFT_CORO(dial);

struct take {
    WEFT_FRAME;
    weft_listener *l;
    weft_stream *s; /* result */
};
static int take(struct take *t)
{
    return weft_accept(t->l, &t->s);
}
WEFT_CORO(take);

TEST(accept_waits)
{
    weft_listener *l;
    char address[64];
    REQUIRE(listen_any(&l, address) == 0);
    CHECK(strncmp(address, "127.0.0.1:", 10) == 0 && strcmp(address, "127.0.0.1:0") != 0);
    for (int i = 0; i < 20; i++) {
        weft_task *t = weft_create_task(take, .l = l);
        if (i % 2 == 0)
            CHECK(weft_sleep(WEFT_US(200)) == 0);
        weft_stream *s;
        REQUIRE(weft_connect(&s, address) == 0);
        REQUIRE(weft_await(t) == 0);
        weft_stream *peer = weft_result(take, t)->s;
        weft_release(t);
        int on = 0;
        socklen_t size = sizeof on;
        CHECK(getsockopt(weft_stream_fd(peer), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on != 0);
        CHECK(getsockopt(weft_stream_fd(s), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on != 0);
        CHECK((fcntl(weft_stream_fd(peer), F_GETFD) & FD_CLOEXEC) != 0 &&
              (fcntl(weft_stream_fd(s), F_GETFD) & FD_CLOEXEC) != 0);
        char c;
        CHECK(weft_write(s, "x", 1) == 0 && weft_read(peer, &c, 1) == 1);
        weft_close(s);
        CHECK(weft_read(peer, &c, 1) == 0);
        weft_close(peer);
    }
    weft_close(l);
    return 0;
}

/* More connections at once than one event tells: all of them are accepted. */
TEST(many_at_once)
{
    enum { MANY = 100 };
    weft_listener *l;
    char address[64];
    weft_stream *s[MANY], *peer[MANY];
    REQUIRE(listen_any(&l, address) == 0);
    for (int i = 0; i < MANY; i++)
        REQUIRE(weft_connect(&s[i], address) == 0);
    for (int i = 0; i < MANY; i++)
        REQUIRE(weft_accept(l, &peer[i]) == 0);
    weft_task *t = weft_create_task(take, .l = l);
    settle();
    CHECK(!weft_done(t));
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    for (int i = 0; i < MANY; i++) {
        weft_close(s[i]);
        weft_close(peer[i]);
    }
    weft_close(l);
    return 0;
}

TEST(close_and_cancel)
{
    weft_listener *l;
    weft_stream *s;
    char address[64];
    REQUIRE(listen_own(&l, address) == 0);
    weft_task *t = weft_create_task(take, .l = l);
    settle();
    CHECK(weft_accept(l, &s) == -EBUSY);
    CHECK(weft_cancel(t));
    CHECK(weft_await_release(t) == -ECANCELED);
    t = weft_create_task(take, .l = l);
    settle();
    weft_close(l);
    CHECK(weft_await_release(t) == -EBADF);
    CHECK(weft_connect(&s, address) == -ECONNREFUSED);
    weft_listener_close(NULL);
    return 0;
}

static void socket_path(char *path, size_t size, const char *name)
{
    snprintf(path, size, "/tmp/weft-test-%d-%s", (int)getpid(), name);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Nobody can connect once close has returned, though the task that accepts may not have run since. */
TEST(close_is_final)
{
    for (int kind = 0; kind < 2; kind++) {
        weft_listener *l, *next;
        weft_stream *late;
        char path[64], address[80];
        socket_path(path, sizeof path, "final");
        snprintf(address, sizeof address, "unix:%s", path);
        REQUIRE(kind == 0 ? listen_own(&l, address) == 0 : weft_listen(&l, address) == 0);
        weft_task *t = weft_create_task(take, .l = l);
        await_acceptor(l);
        weft_close(l);
        CHECK(weft_connect(&late, address) == (kind == 0 ? -ECONNREFUSED : -ENOENT));
        REQUIRE(weft_listen(&next, address) == 0);
        CHECK(weft_await_release(t) == -EBADF);
        CHECK(kind == 0 || exists(path)); /* the new one's */

        /* What has connected but was not accepted, when others may come first. */
        t = weft_create_task(take, .l = next);
        settle();
        struct sockaddr_storage self;
        socklen_t size = sizeof self;
        REQUIRE(getsockname(weft_listener_fd(next), (struct sockaddr *)&self, &size) == 0);
        int fd = socket(self.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fd, (struct sockaddr *)&self, size) == 0);
        weft_close(next);
        int rc = weft_await(t);
        CHECK(rc == -EBADF || (rc == 0 && workers != 1));
        if (rc == 0)
            weft_close(weft_result(take, t)->s);
        weft_release(t);
        close(fd);
        CHECK(kind == 0 || !exists(path));
    }
    return 0;
}

/* The same with a connection on its way: the task that accepts is told of it and of the close at the same time. */
static int connect_once(void *address)
{
    weft_stream *s;
    int rc = weft_connect(&s, address);
    if (rc == 0)
        weft_close(s);
    return rc;
}
TEST(close_in_the_middle)
{
    for (int round = 0; round < 50; round++) {
        weft_listener *l;
        weft_stream *s;
        char address[64];
        REQUIRE(listen_own(&l, address) == 0);
        weft_task *t = weft_create_task(take, .l = l);
        await_acceptor(l);
        weft_task *client = start(connect_once, address);
        for (int i = 0; i < round % 8; i++)
            CHECK(weft_yield() == 0);
        weft_close(l);
        CHECK(weft_connect(&s, address) == -ECONNREFUSED);
        int rc = weft_await(t);
        CHECK(rc == 0 || rc == -EBADF);
        if (rc == 0)
            weft_close(weft_result(take, t)->s);
        weft_release(t);
        rc = weft_await_release(client);
        CHECK(rc == 0 || rc == -ECONNREFUSED || rc == -ECONNRESET);
    }
    return 0;
}

/* A connection that was reset before it was accepted does not end the listener. */
TEST(dead_in_the_queue)
{
    weft_listener *l;
    weft_stream *s, *peer;
    char address[64], c;
    REQUIRE(listen_any(&l, address) == 0);
    REQUIRE(weft_connect(&s, address) == 0);
    weft_stream_abort(s);
    REQUIRE(weft_connect(&s, address) == 0);
    CHECK(weft_write(s, "x", 1) == 0);
    for (;;) { /* Linux hands out the dead one too */
        REQUIRE(weft_accept(l, &peer) == 0);
        ssize_t n = weft_read(peer, &c, 1);
        weft_close(peer);
        if (n == 1)
            break;
        CHECK(n == -ECONNRESET);
    }
    weft_close(s);
    weft_close(l);
    return 0;
}

TEST(address_in_use)
{
    weft_listener *l, *second;
    char address[64];
    REQUIRE(listen_own(&l, address) == 0);
    CHECK(weft_listen(&second, address) == -EADDRINUSE);
    weft_close(l);
    REQUIRE(weft_listen(&l, address) == 0); /* at once again */
    weft_close(l);
    REQUIRE(weft_listen_with(WEFT_LISTEN_OPTIONS(.reuse_port = true), &l, address) == 0);
    REQUIRE(weft_listen_with(WEFT_LISTEN_OPTIONS(.reuse_port = true, .backlog = 5), &second, address) == 0);
    weft_close(l);
    weft_close(second);
    return 0;
}

TEST(bad_addresses)
{
    static const char *const bad[] = {
        "",        "127.0.0.1", "127.0.0.1:",     "127.0.0.1:65536", "::1:80", "[::1]",
        "[::1]80", "[]:80",     "[127.0.0.1]:80", "unix:",           "unix:@", "1.2.3.4:99999999999999999999"};
    weft_listener *l;
    weft_stream *s;
    char buf[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(weft_listen(&l, bad[i]) == -EINVAL);
        CHECK(weft_connect(&s, bad[i]) == -EINVAL);
        CHECK(weft_resolve(bad[i], buf, sizeof buf) == -EINVAL);
    }
    char longest[400] = "unix:/tmp/";
    memset(longest + 10, 'x', sizeof longest - 11);
    CHECK(weft_listen(&l, longest) == -ENAMETOOLONG);
    memset(longest, 'x', 300);
    memcpy(longest + 300, ":80", 4);
    CHECK(weft_connect(&s, longest) == -ENAMETOOLONG);
    CHECK(weft_listen(&l, "192.0.2.1:0") == -EADDRNOTAVAIL); /* not one of this machine's */
    return 0;
}

TEST(all_interfaces)
{
    weft_listener *l;
    weft_stream *s, *peer;
    char address[64], client[64];
    REQUIRE(weft_listen(&l, ":0") == 0);
    REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
    CHECK(strncmp(address, "[::]:", 5) == 0 || strncmp(address, "0.0.0.0:", 8) == 0);
    const char *port = strrchr(address, ':');
    snprintf(client, sizeof client, "127.0.0.1%s", port);
    REQUIRE(weft_connect(&s, client) == 0 && weft_accept(l, &peer) == 0);
    weft_close(s);
    weft_close(peer);
    REQUIRE(weft_connect(&s, port) == 0 && weft_accept(l, &peer) == 0); /* no host: this machine */
    weft_close(s);
    weft_close(peer);
    CHECK(weft_listener_address(l, address, 3) == -ENOBUFS && strlen(address) == 2);
    weft_close(l);
    return 0;
}

/* A port of this machine at which nobody listens, and which nobody can take: the descriptors hold it. */
static int hold_port(int held[2])
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof four;
    held[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    held[1] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0); /* if there is that */
    CHECK(bind(held[0], (struct sockaddr *)&four, size) == 0 &&
          getsockname(held[0], (struct sockaddr *)&four, &size) == 0);
    six.sin6_port = four.sin_port;
    if (held[1] >= 0)
        (void)!bind(held[1], (struct sockaddr *)&six, sizeof six);
    return ntohs(four.sin_port);
}

/* Names, and a name of which only one address answers. */
TEST(localhost)
{
    weft_listener *l;
    weft_stream *s, *peer;
    char address[64], client[64];
    REQUIRE(listen_any(&l, address) == 0);
    snprintf(client, sizeof client, "localhost%s", strrchr(address, ':'));
    REQUIRE(weft_connect(&s, client) == 0 && weft_accept(l, &peer) == 0);
    weft_close(s);
    weft_close(peer);
    weft_close(l);
    int held[2];
    snprintf(client, sizeof client, "localhost:%d", hold_port(held));
    CHECK(weft_connect(&s, client) == -ECONNREFUSED);
    close(held[0]);
    if (held[1] >= 0)
        close(held[1]);
    REQUIRE(weft_listen(&l, "localhost:0") == 0);
    REQUIRE(weft_listener_address(l, address, sizeof address) == 0);
    REQUIRE(weft_connect(&s, address) == 0);
    weft_close(s);
    weft_close(l);
    return 0;
}

/* Nobody answers: the connection hangs until it is cancelled, and the socket is gone then (checked after the run). */
TEST(connect_cancelled)
{
    weft_stream *filler[16];
    /* A listener that does not accept and whose queue is full: SYNs are dropped. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fillers = 0;
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof self;
    char address[64];
    REQUIRE(bind(fd, (struct sockaddr *)&self, sizeof self) == 0 && listen(fd, 0) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&self, &size) == 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(self.sin_port));
    for (int rc = 0; rc == 0 && fillers < 16;) { /* the first ones find room, or are slow on a busy machine */
        weft_task *t = weft_create_task(dial, .address = address);
        CHECK(weft_sleep(WEFT_MS(50)) == 0);
        settle();
        bool cancelled = weft_cancel(t);
        rc = weft_await(t);
        CHECK(rc == (cancelled && rc != 0 ? -ECANCELED : 0));
        if (rc == 0)
            filler[fillers++] = weft_result(dial, t)->s;
        weft_release(t);
    }
    CHECK(fillers < 16);
    while (fillers > 0)
        weft_close(filler[--fillers]);
    close(fd);
    return 0;
}

TEST(unix_sockets)
{
    weft_listener *l, *second;
    weft_stream *s, *peer;
    char path[64], address[80], bound[80], c;
    socket_path(path, sizeof path, "echo");
    snprintf(address, sizeof address, "unix:%s", path);
    CHECK(weft_connect(&s, address) == -ENOENT);
    REQUIRE(weft_listen(&l, address) == 0);
    CHECK(weft_listener_address(l, bound, sizeof bound) == 0 && strcmp(bound, address) == 0);
    REQUIRE(weft_connect(&s, address) == 0 && weft_accept(l, &peer) == 0);
    CHECK(weft_write(s, "x", 1) == 0 && weft_read(peer, &c, 1) == 1);
    weft_close(s);
    weft_close(peer);
    CHECK(weft_listen(&second, address) == -EADDRINUSE); /* somebody listens: not stale */
    weft_close(l);
    CHECK(!exists(path));

    /* A file that a dead server left behind. */
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&un, sizeof un) == 0);
    close(fd);
    CHECK(exists(path));
    CHECK(weft_listen_with(WEFT_LISTEN_OPTIONS(.keep_path = true), &l, address) == -EADDRINUSE);
    REQUIRE(weft_listen(&l, address) == 0);
    /* Somebody else's file by now: it stays. */
    CHECK(unlink(path) == 0);
    CHECK((fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600)) >= 0);
    weft_close(l);
    CHECK(exists(path));
    CHECK(weft_listen(&l, address) == -EADDRINUSE); /* not a socket: left alone */
    CHECK(exists(path) && close(fd) == 0 && unlink(path) == 0);

    snprintf(address, sizeof address, "unix:@weft-test-%d", (int)getpid());
    REQUIRE(weft_listen(&l, address) == 0);
    CHECK(weft_listener_address(l, bound, sizeof bound) == 0 && strcmp(bound, address) == 0);
    REQUIRE(weft_connect(&s, address) == 0 && weft_accept(l, &peer) == 0);
    weft_close(s);
    weft_close(peer);
    weft_close(l);
    CHECK(weft_connect(&s, address) == -ECONNREFUSED);
    return 0;
}

/* A full queue of a unix listener cannot be polled for: connect tries again until there is room. */
TEST(unix_queue_full)
{
    enum { CLIENTS = 8 };
    weft_listener *l;
    weft_task *t[CLIENTS];
    weft_stream *peer;
    char address[80];
    snprintf(address, sizeof address, "unix:@weft-test-full-%d", (int)getpid());
    REQUIRE(weft_listen_with(WEFT_LISTEN_OPTIONS(.backlog = 1), &l, address) == 0);
    for (int i = 0; i < CLIENTS; i++)
        t[i] = weft_create_task(dial, .address = address);
    settle();
    /* Which of them have got in is the workers' order; all have not. */
    int in = 0;
    for (int i = 0; i < CLIENTS; i++)
        in += weft_done(t[i]);
    CHECK(in < CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        REQUIRE(weft_accept(l, &peer) == 0);
        weft_close(peer);
    }
    for (int i = 0; i < CLIENTS; i++) {
        CHECK(weft_await(t[i]) == 0);
        weft_close(weft_result(dial, t[i])->s);
        weft_release(t[i]);
    }
    weft_close(l);
    return 0;
}

/* Connections come and go on all workers: nobody hangs, nothing leaks. */
struct serve {
    WEFT_FRAME;
    weft_stream *s;
};
static int serve(struct serve *v)
{
    char buf[256];
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = weft_read(v->s, buf, sizeof buf)) > 0)
        rc = weft_write(v->s, buf, (size_t)n);
    weft_close(v->s);
    return 0;
}
WEFT_CORO(serve);

static int accept_all(void *listener)
{
    weft_group g;
    weft_stream *s;
    int rc = weft_group_begin(&g);
    while (rc == 0 && (rc = weft_accept(listener, &s)) == 0)
        rc = weft_group_start(&g, serve, .s = s);
    return weft_group_join(&g, rc == -EBADF ? 0 : rc);
}

struct client {
    WEFT_FRAME;
    const char *address;
    int id;
};
static int client(struct client *c)
{
    char out[100], in[100];
    for (int i = 0; i < 20; i++) {
        weft_stream *s;
        REQUIRE(weft_connect(&s, c->address) == 0);
        memset(out, c->id * 20 + i, sizeof out);
        for (int k = 0; k < i % 4; k++) {
            CHECK(weft_write(s, out, sizeof out) == 0);
            CHECK(weft_read_exactly(s, in, sizeof in) == sizeof in && memcmp(in, out, sizeof in) == 0);
        }
        if (i % 5 == 4)
            weft_stream_abort(s);
        else
            weft_close(s);
    }
    return 0;
}
WEFT_CORO(client);

TEST(wrong_options)
{
    static const size_t wrong[] = {0, 1, sizeof(size_t) - 1, sizeof(weft_listen_options) + 1, SIZE_MAX};
    weft_listener *l = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weft_listen_options options = {.size = wrong[i]};
        CHECK(weft_listen_with(&options, &l, "127.0.0.1:0") == -EINVAL && l == NULL);
    }
    weft_listen_options shortest = {.size = sizeof(size_t), .backlog = -1};
    REQUIRE(weft_listen_with(&shortest, &l, "127.0.0.1:0") == 0);
    weft_close(l);
    return 0;
}

TEST(storm)
{
    enum { CLIENTS = 10 };
    weft_listener *l;
    char address[64];
    weft_task *t[CLIENTS];
    REQUIRE(listen_any(&l, address) == 0);
    weft_task *server = start(accept_all, l);
    for (int i = 0; i < CLIENTS; i++)
        t[i] = weft_create_task(client, .address = address, .id = i);
    CHECK(weft_gather_n(t, CLIENTS) == 0);
    for (int i = 0; i < CLIENTS; i++)
        weft_release(t[i]);
    weft_cancel(server); /* not by closing: it may be between two accepts, and come back to a listener that is gone */
    CHECK(weft_await_release(server) == -ECANCELED);
    weft_close(l);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_waits),        cmocka_unit_test(many_at_once),
        cmocka_unit_test(close_and_cancel),    cmocka_unit_test(close_is_final),
        cmocka_unit_test(close_in_the_middle), cmocka_unit_test(dead_in_the_queue),
        cmocka_unit_test(address_in_use),      cmocka_unit_test(bad_addresses),
        cmocka_unit_test(all_interfaces),      cmocka_unit_test(localhost),
        cmocka_unit_test(connect_cancelled),   cmocka_unit_test(unix_sockets),
        cmocka_unit_test(unix_queue_full),     cmocka_unit_test(storm),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
