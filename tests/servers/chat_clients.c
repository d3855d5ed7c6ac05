/* SPDX-License-Identifier: Apache-2.0 */
/* weft-test-chat MODE PORT [ARGS]: clients of weft-chat. Status 0 if it dealt with them well.
 *     talk GUESTS LINES   all talk at once: each gets every line, all in the same order
 *     slow                one does not read: it is cut off, the others miss nothing */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static void say(int fd, const char *line)
{
    if (net_send(fd, line, strlen(line)) != 0)
        net_die(errno, "send");
}

static void hear(int fd, char *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t got = recv(fd, to + have, n - have, 0);
        if (got <= 0)
            net_die(got < 0 ? errno : 0, "%zu of %zu bytes came", have, n);
        have += (size_t)got;
    }
}

static void hear_this(int fd, const char *line)
{
    char *got = malloc(strlen(line));
    if (got == NULL)
        net_die(ENOMEM, "a line");
    hear(fd, got, strlen(line));
    if (memcmp(got, line, strlen(line)) != 0)
        net_die(0, "'%.20s' came, and not '%.20s'", got, line);
    free(got);
}

/* Who has heard what it said is there for all that is said from then on. */
static void enter(int fd[], int guests, int port)
{
    for (int i = 0; i < guests; i++) {
        fd[i] = net_connect(port);
        say(fd[i], "here\n");
        for (int j = 0; j <= i; j++)
            hear_this(fd[j], "here\n");
    }
}

#define LINE 12 /* "003 000417 \n" */

static void talk(int port, char **args)
{
    enum { MOST = 64 };
    int fd[MOST], guests = (int)strtol(args[0], NULL, 10), lines = (int)strtol(args[1], NULL, 10);
    size_t n = (size_t)guests * (size_t)lines * LINE;
    char line[32], *first = malloc(n), *other = malloc(n);
    if (guests > MOST || first == NULL || other == NULL)
        net_die(0, "too much");
    enter(fd, guests, port);
    for (int k = 0; k < lines; k++) {
        for (int i = 0; i < guests; i++) {
            snprintf(line, sizeof line, "%03d %06d \n", i, k);
            say(fd[i], line);
        }
    }
    for (int i = 0; i < guests; i++) {
        hear(fd[i], i == 0 ? first : other, n);
        if (i != 0 && memcmp(first, other, n) != 0)
            net_die(0, "guest %d heard something else than guest 0", i);
    }
    int said[MOST] = {0};
    for (size_t at = 0; at < n; at += LINE) {
        int i = (int)strtol(first + at, NULL, 10);
        snprintf(line, sizeof line, "%03d %06d \n", i, said[i]++);
        if (memcmp(first + at, line, LINE) != 0)
            net_die(0, "'%.11s' came, and not '%.11s'", first + at, line);
    }
    for (int i = 0; i < guests; i++)
        close(fd[i]);
    free(first);
    free(other);
}

static void slow(int port, char **args)
{
    static char line[8193];
    int fd[3];
    struct pollfd deaf = {.fd = -1};
    (void)args;
    enter(fd, 3, port);
    deaf.fd = fd[1];
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    for (int i = 0; i < 100000 && (deaf.revents & (POLLERR | POLLHUP)) == 0; i++) {
        char number[16];
        snprintf(number, sizeof number, "%06d", i);
        memcpy(line, number, 6);
        say(fd[0], line);
        hear_this(fd[0], line);
        hear_this(fd[2], line);
        if (poll(&deaf, 1, 0) < 0)
            net_die(errno, "poll");
    }
    if ((deaf.revents & (POLLERR | POLLHUP)) == 0)
        net_die(0, "who does not read was not cut off");
    say(fd[2], "he has gone\n");
    hear_this(fd[0], "he has gone\n");
    hear_this(fd[2], "he has gone\n");
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "talk") == 0)
        talk((int)strtol(argv[2], NULL, 10), argv + 3);
    else if (argc == 3 && strcmp(argv[1], "slow") == 0)
        slow((int)strtol(argv[2], NULL, 10), argv + 3);
    else
        net_die(0, "usage: weft-test-chat talk PORT GUESTS LINES | slow PORT");
    return 0;
}
