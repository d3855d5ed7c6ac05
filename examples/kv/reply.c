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

static void put(struct reply *out, const char *bytes, size_t n)
{
    if (n > sizeof out->bytes - out->n) {
        reply_flush(out);
    }
    memcpy(out->bytes + out->n, bytes, n);
    out->n += n;
}

void reply_text(struct reply *out, const char *text)
{
    put(out, text, strlen(text));
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
    put(out, "-", 1);
    put(out, line, length + 2);
}

void reply_number(struct reply *out, char type, int64_t number)
{
    char text[24], *p = text + sizeof text;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    *--p = '\n';
    *--p = '\r';
    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        *--p = '-';
    }
    *--p = type;
    put(out, p, (size_t)(text + sizeof text - p));
}

void reply_bulk(struct reply *out, const char *bytes, size_t n)
{
    reply_number(out, '$', (int64_t)n);
    if (n + 2 <= sizeof out->bytes) {
        put(out, bytes, n);
        put(out, "\r\n", 2);
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
        put(out, "$-1\r\n", 5);
    } else {
        reply_bulk(out, v->bytes, v->n);
    }
}
