/* SPDX-License-Identifier: Apache-2.0 */
/* kv/resp.c -- see resp.h. Arguments are kept as offsets (in `at`) until the command is complete, because the bytes may
 * move meanwhile. */
#include "kv/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long fail(struct resp *r, const char *error)
{
    r->error = error;
    return -1;
}

void resp_init(struct resp *r, size_t bulk_max)
{
    memset(r, 0, offsetof(struct resp, inline_));
    r->bulk_max = bulk_max;
    r->argv = r->inline_;
    r->room_ = RESP_ARGS_INLINE;
}

void resp_free(struct resp *r)
{
    if (r->argv != r->inline_) {
        free(r->argv);
    }
    free(r->words_);
}

void resp_reset(struct resp *r)
{
    if (r->argv != r->inline_ || r->words_ != NULL || r->error != NULL) {
        resp_free(r);
        resp_init(r, r->bulk_max);
        return;
    }
    r->argc = r->at_ = r->scanned_ = r->left_ = r->bulk_ = 0;
    r->array_ = false;
}

/* Keep an argument: true, or false when memory is short. */
static bool keep(struct resp *r, const char *at, size_t n)
{
    if (r->argc == r->room_) {
        bool first = r->argv == r->inline_;
        struct resp_arg *more = realloc(first ? NULL : r->argv, 2 * r->room_ * sizeof *more);
        if (more == NULL) {
            return false;
        }
        if (first) {
            memcpy(more, r->inline_, sizeof r->inline_);
        }
        r->argv = more;
        r->room_ *= 2;
    }
    r->argv[r->argc++] = (struct resp_arg){at, n};
    return true;
}

/* The line that starts at at_: its end (the '\n') in *end. 1; 0: not there yet; -1: too long. */
static int find_line(struct resp *r, const char *data, size_t n, size_t *end)
{
    if (r->scanned_ < r->at_) {
        r->scanned_ = r->at_;
    }
    const char *newline = memchr(data + r->scanned_, '\n', n - r->scanned_);
    r->scanned_ = newline != NULL ? (size_t)(newline - data) : n;
    *end = r->scanned_;
    if (r->scanned_ - r->at_ > RESP_INLINE_MAX) {
        return -1;
    }
    return newline != NULL;
}

/* A decimal number of digits only, with perhaps a '-' before, that fills data[at..end). */
static bool parse_number(const char *data, size_t at, size_t end, int64_t *out)
{
    bool negative = at < end && data[at] == '-';
    at += negative;
    if (at == end || end - at > 15) {
        return false;
    }
    int64_t number = 0;
    for (; at < end; at++) {
        if (data[at] < '0' || data[at] > '9') {
            return false;
        }
        number = number * 10 + (data[at] - '0');
    }
    *out = negative ? -number : number;
    return true;
}

/* "<type>number\r\n" at at_: 1 and the number; 0: not there yet; -1 with the error set. */
static int length_line(struct resp *r, const char *data, size_t n, int64_t *number, const char *too_big,
                       const char *invalid)
{
    const char *at = data + r->at_;
    if (n - r->at_ >= 4 && at[2] == '\r' && at[3] == '\n' && at[1] >= '0' && at[1] <= '9') { /* nearly always */
        *number = at[1] - '0';
        r->at_ += 4;
        return 1;
    }
    size_t end;
    int rc = find_line(r, data, n, &end);
    if (rc <= 0) {
        return rc < 0 ? (int)fail(r, too_big) : 0;
    }
    if (data[end - 1] != '\r' || !parse_number(data, r->at_ + 1, end - 1, number)) {
        return (int)fail(r, invalid);
    }
    r->at_ = end + 1;
    return 1;
}

/* ---- inline commands ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\0';
}

static char escaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* One word from *at, written to `to`, its quotes taken off: the end of what was written; NULL: the quotes do not
 * match. */
static char *unquote(const char *line, size_t *at, size_t end, char *to)
{
    char quote = '\0';
    size_t i = *at;
    for (; i < end && (quote != '\0' || !blank(line[i])); i++) {
        char c = line[i];
        if (quote == '\0') {
            quote = c == '"' || c == '\'' ? c : '\0';
            if (quote == '\0') {
                *to++ = c;
            }
        } else if (c == quote) {
            if (i + 1 < end && !blank(line[i + 1])) {
                return NULL; /* a closing quote has to end the word */
            }
            quote = '\0';
        } else if (c == '\\' && quote == '"' && i + 3 < end && line[i + 1] == 'x' && hex(line[i + 2]) >= 0 &&
                   hex(line[i + 3]) >= 0) {
            *to++ = (char)(hex(line[i + 2]) * 16 + hex(line[i + 3]));
            i += 3;
        } else if (c == '\\' && i + 1 < end && (quote == '"' || line[i + 1] == '\'')) {
            *to++ = quote == '"' ? escaped(line[i + 1]) : '\'';
            i++;
        } else {
            *to++ = c;
        }
    }
    *at = i;
    return quote == '\0' ? to : NULL;
}

static long parse_inline(struct resp *r, const char *data, size_t n)
{
    size_t end;
    int rc = find_line(r, data, n, &end);
    if (rc <= 0) {
        return rc < 0 ? fail(r, "too big inline request") : 0;
    }
    r->words_ = malloc(end + 1); /* what is written is never longer than the line */
    if (r->words_ == NULL) {
        return fail(r, "memory is short");
    }
    char *to = r->words_;
    for (size_t at = 0; at < end;) {
        if (blank(data[at])) {
            at++;
            continue;
        }
        char *word = to;
        to = unquote(data, &at, end, to);
        if (to == NULL) {
            return fail(r, "unbalanced quotes in request");
        }
        if (!keep(r, word, (size_t)(to - word))) {
            return fail(r, "memory is short");
        }
    }
    return (long)(end + 1);
}

/* ---- arrays ---- */

/* The next argument: 1; 0: not there yet; -1. */
static int parse_bulk(struct resp *r, const char *data, size_t n)
{
    if (r->bulk_ == 0) {
        if (r->at_ == n) {
            return 0;
        }
        if (data[r->at_] != '$') {
            char c = data[r->at_];
            snprintf(r->text_, sizeof r->text_, "expected '$', got '%c'", c >= ' ' && c < 127 ? c : '?');
            return (int)fail(r, r->text_);
        }
        int64_t length;
        int rc = length_line(r, data, n, &length, "too big bulk count string", "invalid bulk length");
        if (rc <= 0) {
            return rc;
        }
        if (length < 0 || (uint64_t)length > r->bulk_max) {
            return (int)fail(r, "invalid bulk length");
        }
        r->bulk_ = (size_t)length + 1;
    }
    size_t length = r->bulk_ - 1;
    if (n - r->at_ < length + 2) {
        return 0;
    }
    if (data[r->at_ + length] != '\r' || data[r->at_ + length + 1] != '\n') {
        return (int)fail(r, "a bulk string that does not end in CR LF");
    }
    if (!keep(r, (const char *)(uintptr_t)r->at_, length)) {
        return (int)fail(r, "memory is short");
    }
    r->at_ += length + 2;
    r->bulk_ = 0;
    r->left_--;
    return 1;
}

static bool crlf(const char *at)
{
    return memcmp(at, "\r\n", 2) == 0;
}

/* A short command that has come whole, as nearly all do: its length. 0, and nothing is changed: it is anything else. */
static long parse_whole(struct resp *r, const char *data, size_t n)
{
    size_t argc = n >= 4 ? (size_t)(unsigned char)data[1] - '0' : 0;
    if (argc - 1 >= RESP_ARGS_INLINE || data[0] != '*' || !crlf(data + 2)) {
        return 0;
    }
    const char *at = data + 4, *end = data + n;
    for (size_t i = 0; i < argc; i++) {
        if (end - at < 6 || *at++ != '$') {
            return 0; /* the shortest is "$0" and two line ends */
        }
        size_t length = 0, digit;
        const char *most = at + 3; /* digits: within the six bytes */
        while (at < most && (digit = (size_t)(unsigned char)*at - '0') < 10) {
            length = 10 * length + digit;
            at++;
        }
        if (length > r->bulk_max || (size_t)(end - at) < length + 4 || !crlf(at) || !crlf(at + 2 + length) ||
            most - at == 3) {
            return 0;
        }
        r->inline_[i] = (struct resp_arg){at + 2, length};
        at += length + 4;
    }
    r->argc = argc;
    return at - data;
}

long resp_parse(struct resp *r, const char *data, size_t n)
{
    if (!r->array_) {
        long length = parse_whole(r, data, n);
        if (length > 0) {
            return length;
        }
        if (n == 0) {
            return 0;
        }
        if (data[0] != '*') {
            return parse_inline(r, data, n);
        }
        int64_t count;
        int rc = length_line(r, data, n, &count, "too big mbulk count string", "invalid multibulk length");
        if (rc <= 0) {
            return rc;
        }
        if (count > RESP_ARGS_MAX) {
            return fail(r, "invalid multibulk length");
        }
        r->array_ = true;
        r->left_ = count > 0 ? (size_t)count : 0; /* an empty command is no command */
    }
    while (r->left_ > 0) {
        int rc = parse_bulk(r, data, n);
        if (rc <= 0) {
            return rc;
        }
    }
    for (size_t i = 0; i < r->argc; i++) {
        r->argv[i].at = data + (uintptr_t)r->argv[i].at;
    }
    return (long)r->at_;
}

size_t resp_wanted(const struct resp *r)
{
    return r->bulk_ > 0 ? r->at_ + r->bulk_ + 1 : 0;
}
