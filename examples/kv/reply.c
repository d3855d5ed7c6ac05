/* SPDX-License-Identifier: Apache-2.0 */
/* kv/reply.c -- RESP2 replies into the batch; large values straight from where they are. See commands.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kv/commands.h"

void reply_flush(struct reply *out)
{
    size_t n = out->n;
    out->n = 0;
    if (out->rc == 0 && n > 0) {
        out->rc = client_write(out->client, out->bytes, n);
    }
}

void reply_bytes(struct reply *out, const char *bytes, size_t n)
{
    if (n > sizeof out->bytes - out->n) {
        reply_flush(out);
    }
    memcpy(out->bytes + out->n, bytes, n);
    out->n += n;
}

/* An error is one line: control characters in what it quotes become spaces. */
void reply_error(struct reply *out, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 2, format, args);
    va_end(args);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof line - 3 ? (size_t)n : sizeof line - 3;
    for (size_t i = 0; i < length; i++) {
        line[i] = (unsigned char)line[i] < ' ' ? ' ' : line[i];
    }
    memcpy(line + length, "\r\n", 2);
    reply_bytes(out, "-", 1);
    reply_bytes(out, line, length + 2);
}

/* A line of at most NUMBER_LINE bytes; its end. */
static char *put_number(char *to, char type, int64_t number)
{
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    size_t digits = 1;
    for (uint64_t more = left; more >= 10; more /= 10) {
        digits++;
    }
    *to++ = type;
    if (number < 0) {
        *to++ = '-';
    }
    for (size_t i = digits; i-- > 0; left /= 10) {
        to[i] = (char)('0' + left % 10);
    }
    memcpy(to + digits, "\r\n", 2);
    return to + digits + 2;
}

void reply_number(struct reply *out, char type, int64_t number)
{
    char text[NUMBER_LINE];
    reply_bytes(out, text, (size_t)(put_number(text, type, number) - text));
}

void reply_bulk(struct reply *out, const char *bytes, size_t n)
{
    if (reply_has_room(out, n)) {
        char *to = put_number(out->bytes + out->n, '$', (int64_t)n);
        memcpy(to, bytes, n);
        memcpy(to + n, "\r\n", 2);
        out->n = (size_t)(to + n + 2 - out->bytes);
        return;
    }
    reply_number(out, '$', (int64_t)n);
    if (n + 2 <= sizeof out->bytes) {
        reply_bytes(out, bytes, n);
        reply_bytes(out, "\r\n", 2);
        return;
    }
    /* writev's parts are not const, what they point to is not written. */
    struct iovec parts[3] = {{.iov_base = out->bytes, .iov_len = out->n},
                             {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n},
                             {.iov_base = (void *)(uintptr_t) "\r\n", .iov_len = 2}};
    out->n = 0;
    if (out->rc == 0) {
        out->rc = client_writev(out->client, parts, 3);
    }
}

void reply_value(struct reply *out, const struct value *v)
{
    if (v == NULL) {
        reply_bytes(out, "$-1\r\n", 5);
    } else {
        reply_bulk(out, v->bytes, v->n);
    }
}
