/* SPDX-License-Identifier: Apache-2.0 */
/* io/address.c -- address texts: taking them apart and writing them. Pure functions, any thread.
 *
 *     text     = "unix:" path | "unix:@" name | [ host ] ":" service
 *     host     = IPv4 | "[" IPv6 [ "%" interface ] "]" | name
 *     service  = decimal port | name
 * A host with a colon must be in brackets. Without a host: "::" for all interfaces (both families) when listening, the two
 * loopback addresses for a client. */
#include "io/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"

static int parse_unix(const char *path, struct weft__addresses *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    bool abstract = path[0] == '@';
    if (length == (abstract ? 1u : 0u))
        return -EINVAL;
    /* A path keeps its final zero; an abstract name has a zero in front and exactly its own length. */
    if (length + !abstract > sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, length);
    if (abstract)
        un.sun_path[0] = '\0';
    out->count = 1;
    memset(&out->item[0], 0, sizeof out->item[0]);
    memcpy(&out->item[0].storage, &un, sizeof un);
    out->item[0].size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
    return 0;
}

static int parse_port(const char *text, uint16_t *port)
{
    unsigned value = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9')
            return -ENOENT;
        value = value * 10 + (unsigned)(*c - '0');
        if (value > UINT16_MAX)
            return -EINVAL;
    }
    *port = (uint16_t)value;
    return 0;
}

static void add_ipv4(struct weft__addresses *out, struct in_addr host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
    struct weft__address *a = &out->item[out->count++];
    memset(a, 0, sizeof *a);
    memcpy(&a->storage, &in, sizeof in);
    a->size = sizeof in;
}

static void add_ipv6(struct weft__addresses *out, struct in6_addr host, uint16_t port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = host};
    struct weft__address *a = &out->item[out->count++];
    memset(a, 0, sizeof *a);
    memcpy(&a->storage, &in6, sizeof in6);
    a->size = sizeof in6;
}

/* The host is empty or a number: *out. False: a name, or an IPv6 address with an interface. */
static bool translate(const char *host, uint16_t port, bool passive, struct weft__addresses *out)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;
    if (host[0] == '\0') {
        add_ipv6(out, passive ? in6addr_any : in6addr_loopback, port);
        add_ipv4(out, (struct in_addr){.s_addr = htonl(passive ? INADDR_ANY : INADDR_LOOPBACK)}, port);
        return true;
    }
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        add_ipv4(out, ipv4, port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &ipv6) == 1) {
        add_ipv6(out, ipv6, port);
        return true;
    }
    return false;
}

/* text[0, length) to buf, terminated. */
static int copy_part(char *buf, size_t size, const char *text, size_t length)
{
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, text, length);
    buf[length] = '\0';
    return 0;
}

int weft__address_parse(const char *text, bool passive, struct weft__endpoint *endpoint, struct weft__addresses *out)
{
    out->count = 0;
    endpoint->numeric = true;
    endpoint->host[0] = endpoint->service[0] = '\0';
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(text + strlen(UNIX_PREFIX), out);

    const char *host = text, *host_end, *service;
    bool bracketed = text[0] == '[';
    if (bracketed) {
        host = text + 1;
        host_end = strchr(host, ']');
        if (host_end == NULL || host_end == host || host_end[1] != ':')
            return -EINVAL;
        service = host_end + 2;
    } else {
        host_end = strchr(text, ':');
        if (host_end == NULL || strchr(host_end + 1, ':') != NULL)
            return -EINVAL;
        service = host_end + 1;
    }
    if (service[0] == '\0')
        return -EINVAL;
    int rc = copy_part(endpoint->host, sizeof endpoint->host, host, (size_t)(host_end - host));
    if (rc == 0)
        rc = copy_part(endpoint->service, sizeof endpoint->service, service, strlen(service));
    if (rc < 0)
        return rc;
    if (bracketed && strchr(endpoint->host, ':') == NULL)
        return -EINVAL;
    uint16_t port;
    rc = parse_port(endpoint->service, &port);
    if (rc == -EINVAL)
        return rc;
    endpoint->numeric = rc == 0 && translate(endpoint->host, port, passive, out);
    return 0;
}

int weft__address_format(const struct weft__address *a, char *buf, size_t size)
{
    if (size > 0)
        buf[0] = '\0';
    char host[INET6_ADDRSTRLEN];
    switch (a->storage.ss_family) {
    case AF_INET: {
        struct sockaddr_in in;
        memcpy(&in, &a->storage, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        return snprintf(buf, size, "%s:%u", host, ntohs(in.sin_port));
    }
    case AF_INET6: {
        struct sockaddr_in6 in6;
        memcpy(&in6, &a->storage, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        if (in6.sin6_scope_id != 0)
            return snprintf(buf, size, "[%s%%%u]:%u", host, in6.sin6_scope_id, ntohs(in6.sin6_port));
        return snprintf(buf, size, "[%s]:%u", host, ntohs(in6.sin6_port));
    }
    case AF_UNIX: {
        struct sockaddr_un un;
        memcpy(&un, &a->storage, sizeof un);
        size_t length =
            a->size > offsetof(struct sockaddr_un, sun_path) ? a->size - offsetof(struct sockaddr_un, sun_path) : 0;
        if (length > 0 && un.sun_path[0] == '\0')
            return snprintf(buf, size, UNIX_PREFIX "@%.*s", (int)length - 1, un.sun_path + 1);
        return snprintf(buf, size, UNIX_PREFIX "%.*s", (int)strnlen(un.sun_path, length), un.sun_path);
    }
    default:
        return -EAFNOSUPPORT;
    }
}
