/* SPDX-License-Identifier: Apache-2.0 */
/* net.c -- see net.h. */
#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void net_die(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stdout, format, args);
    va_end(args);
    fprintf(stdout, code != 0 ? ": %s\n" : "\n", strerror(code));
    exit(1);
}

int net_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 60};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        net_die(errno, "connect to port %d", port);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

int net_send(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno;
        }
        bytes += sent;
        n -= (size_t)sent;
    }
    return 0;
}

size_t net_take(struct net_answer *a, const char *bytes, size_t n, bool *done)
{
    size_t used = 0;
    while (used < n && a->head_n == 0) {
        if (a->have == sizeof a->head - 1) {
            net_die(0, "an answer's head is too long");
        }
        a->head[a->have++] = bytes[used++];
        if (a->have < 4 || memcmp(a->head + a->have - 4, "\r\n\r\n", 4) != 0) {
            continue;
        }
        a->head[a->have] = '\0';
        a->head_n = a->have;
        const char *length = strstr(a->head, "\r\nContent-Length: ");
        if (sscanf(a->head, "HTTP/1.1 %d ", &a->status) != 1 || length == NULL) {
            net_die(0, "this is no answer: %s", a->head);
        }
        a->body_n = strtoul(length + 18, NULL, 10);
        a->close = strstr(a->head, "\r\nConnection: close\r\n") != NULL;
    }
    if (a->head_n > 0) {
        size_t more = n - used < a->body_n - a->body ? n - used : a->body_n - a->body;
        a->body += more;
        used += more;
    }
    *done = a->head_n > 0 && a->body == a->body_n;
    return used;
}

void net_answer_read(int fd, struct net_answer *a)
{
    memset(a, 0, sizeof *a);
    for (bool done = false; !done;) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            net_die(n < 0 ? errno : 0, "the connection ended after %zu bytes of an answer", a->have + a->body);
        }
        if (net_take(a, bytes, (size_t)n, &done) != (size_t)n) {
            net_die(0, "there are bytes behind the answer");
        }
    }
}

int64_t net_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
