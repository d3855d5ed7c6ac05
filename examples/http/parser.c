/* SPDX-License-Identifier: Apache-2.0 */
/* http/parser.c -- the head of a request (RFC 9112 sections 2 to 6; numbers in comments are its sections). See
 * parser.h. */
#include "http/parser.h"

#include <string.h>

#include "http/chars.h"

/* seen_ */
enum {
    LEADING_LINE = 1,
    REQUEST_LINE = 2,
    HOST = 4,
    LENGTH = 8,
    CODING = 16,
    CLOSE = 32,
    KEEP = 64,
    OTHER_CODING = 128
};

static int refuse(struct http_head *h, int status, const char *why)
{
    h->why = why;
    return -status;
}

/* Do the n bytes at p spell `word` (lower case), in any case? */
static bool spells(const char *p, size_t n, const char *word, size_t word_n)
{
    if (n != word_n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] | 0x20) : p[i];
        if (c != word[i]) {
            return false;
        }
    }
    return true;
}
#define SPELLS(p, n, word) spells((p), (n), word, sizeof word - 1)
#define IS(p, n, word) ((n) == sizeof word - 1 && memcmp((p), word, sizeof word - 1) == 0)

static enum http_method method_of(const char *p, size_t n)
{
    if (IS(p, n, "GET")) {
        return HTTP_GET;
    }
    if (IS(p, n, "HEAD")) {
        return HTTP_HEAD;
    }
    if (IS(p, n, "POST")) {
        return HTTP_POST;
    }
    if (IS(p, n, "PUT") || IS(p, n, "DELETE") || IS(p, n, "OPTIONS") || IS(p, n, "PATCH") || IS(p, n, "TRACE")) {
        return HTTP_KNOWN;
    }
    return HTTP_UNKNOWN;
}

/* 3.2: origin-form, absolute-form, asterisk-form; authority-form belongs to CONNECT, which is refused. */
static int parse_target(struct http_head *h, const char *data, uint32_t at, uint32_t end, bool options)
{
    for (uint32_t i = at; i < end; i++) {
        if (!HTTP_IS(data[i], HTTP_TARGET)) {
            return refuse(h, 400, "a character that a request target cannot have");
        }
    }
    const char *p = data + at;
    uint32_t n = end - at;
    if (n == 1 && *p == '*' && options) {
        h->path = (struct http_span){at, 1};
        return 0;
    }
    if (*p != '/') {
        uint32_t scheme = SPELLS(p, n < 7 ? n : 7, "http://") ? 7 : SPELLS(p, n < 8 ? n : 8, "https://") ? 8 : 0;
        uint32_t host = at + scheme;
        for (at = host; at < end && data[at] != '/' && data[at] != '?'; at++) {
        }
        if (scheme == 0 || at == host) {
            return refuse(h, 400, "a request target in no known form");
        }
    }
    const char *mark = memchr(data + at, '?', end - at);
    uint32_t path_end = mark != NULL ? (uint32_t)(mark - data) : end;
    h->path = (struct http_span){at, path_end - at};
    h->query = mark != NULL ? (struct http_span){path_end + 1, end - path_end - 1} : (struct http_span){end, 0};
    return 0;
}

/* 3: method SP target SP HTTP-version, single spaces. */
static int parse_request_line(struct http_head *h, const char *data, uint32_t at, uint32_t end)
{
    uint32_t method_end = at;
    while (method_end < end && HTTP_IS(data[method_end], HTTP_TOKEN)) {
        method_end++;
    }
    if (method_end == at || method_end == end || data[method_end] != ' ') {
        return refuse(h, 400, "a request line without a method");
    }
    const char *space = memchr(data + method_end + 1, ' ', end - method_end - 1);
    if (space == NULL || space == data + method_end + 1) {
        return refuse(h, 400, "a request line without a target or a version");
    }
    uint32_t target_end = (uint32_t)(space - data);
    const char *version = space + 1;
    if (end - target_end - 1 != 8 || memcmp(version, "HTTP/", 5) != 0 || version[5] < '0' || version[5] > '9' ||
        version[6] != '.' || version[7] < '0' || version[7] > '9') {
        return refuse(h, 400, "a request line that does not end in a version");
    }
    if (version[5] != '1') {
        return refuse(h, 505, "only HTTP/1.x is spoken here");
    }
    h->minor = (unsigned)(version[7] - '0');
    h->method = method_of(data + at, method_end - at);
    if (IS(data + at, method_end - at, "CONNECT")) {
        return refuse(h, 501, "no tunnels here");
    }
    return parse_target(h, data, method_end + 1, target_end, IS(data + at, method_end - at, "OPTIONS"));
}

/* 6.3: one Content-Length of digits only. */
static int parse_length(struct http_head *h, const char *p, size_t n)
{
    if ((h->seen_ & LENGTH) != 0) {
        return refuse(h, 400, "more than one Content-Length");
    }
    h->seen_ |= LENGTH;
    if (n == 0) {
        return refuse(h, 400, "an empty Content-Length");
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return refuse(h, 400, "a Content-Length that is not a number");
        }
        /* A length beyond any limit stays beyond it. */
        h->length = h->length < UINT64_MAX / 16 ? h->length * 10 + (uint64_t)(p[i] - '0') : h->length;
    }
    return 0;
}

/* Take the next element of a comma-separated list from *p..end: false at its end. Empty elements are skipped. */
static bool next_element(const char **p, const char *end, const char **element, size_t *n)
{
    while (*p < end) {
        const char *from = *p, *comma = memchr(from, ',', (size_t)(end - from));
        const char *to = comma != NULL ? comma : end;
        *p = comma != NULL ? comma + 1 : end;
        while (from < to && (*from == ' ' || *from == '\t')) {
            from++;
        }
        while (to > from && (to[-1] == ' ' || to[-1] == '\t')) {
            to--;
        }
        if (to > from) {
            *element = from;
            *n = (size_t)(to - from);
            return true;
        }
    }
    return false;
}

static void parse_connection(struct http_head *h, const char *p, size_t n)
{
    const char *end = p + n, *element;
    size_t length;
    while (next_element(&p, end, &element, &length)) {
        if (SPELLS(element, length, "close")) {
            h->seen_ |= CLOSE;
        } else if (SPELLS(element, length, "keep-alive")) {
            h->seen_ |= KEEP;
        }
    }
}

static int parse_host(struct http_head *h, const char *p, size_t n)
{
    if ((h->seen_ & HOST) != 0) {
        return refuse(h, 400, "more than one Host");
    }
    h->seen_ |= HOST;
    for (size_t i = 0; i < n; i++) {
        if (!HTTP_IS(p[i], HTTP_HOSTNAME)) {
            return refuse(h, 400, "a character that a Host cannot have");
        }
    }
    return 0;
}

/* The few fields that say where the request ends and what becomes of the connection. */
static int known_field(struct http_head *h, const char *name, size_t name_n, const char *p, size_t n)
{
    if (SPELLS(name, name_n, "host")) {
        return parse_host(h, p, n);
    }
    if (SPELLS(name, name_n, "connection")) {
        parse_connection(h, p, n);
    } else if (SPELLS(name, name_n, "content-length")) {
        return parse_length(h, p, n);
    } else if (SPELLS(name, name_n, "transfer-encoding")) {
        if ((h->seen_ & CODING) != 0) {
            return refuse(h, 400, "more than one Transfer-Encoding");
        }
        h->seen_ |= CODING;
        h->chunked = SPELLS(p, n, "chunked");
        h->seen_ |= h->chunked ? 0 : OTHER_CODING;
    } else if (SPELLS(name, name_n, "expect")) {
        if (!SPELLS(p, n, "100-continue")) {
            return refuse(h, 417, "an expectation that is not 100-continue");
        }
        h->expect_continue = true;
    }
    return 0;
}

/* 5: field-name ":" OWS field-value OWS. A first character that is no token refuses folded lines as well (5.2). */
static int parse_field(struct http_head *h, const char *data, uint32_t at, uint32_t end)
{
    uint32_t colon = at;
    while (colon < end && HTTP_IS(data[colon], HTTP_TOKEN)) {
        colon++;
    }
    if (colon == at || colon == end || data[colon] != ':') {
        return refuse(h, 400, "a header line that is not `name: value`");
    }
    uint32_t from = colon + 1;
    for (uint32_t i = from; i < end; i++) {
        if (!HTTP_IS(data[i], HTTP_TEXT)) {
            return refuse(h, 400, "a control character in a header");
        }
    }
    while (from < end && (data[from] == ' ' || data[from] == '\t')) {
        from++;
    }
    while (end > from && (data[end - 1] == ' ' || data[end - 1] == '\t')) {
        end--;
    }
    if (++h->fields_ > HTTP_FIELDS_MAX) {
        return refuse(h, 431, "too many header lines");
    }
    return known_field(h, data + at, colon - at, data + from, end - from);
}

/* What only the whole header section can tell. */
static int finish(struct http_head *h)
{
    if ((h->seen_ & HOST) == 0 && h->minor >= 1) {
        return refuse(h, 400, "no Host"); /* 3.2 */
    }
    if ((h->seen_ & CODING) != 0) {
        if ((h->seen_ & LENGTH) != 0) {
            return refuse(h, 400, "both Transfer-Encoding and Content-Length"); /* 6.3: a smuggling attempt */
        }
        if (h->minor == 0) {
            return refuse(h, 400, "Transfer-Encoding in HTTP/1.0"); /* 6.1 */
        }
        if ((h->seen_ & OTHER_CODING) != 0) {
            return refuse(h, 501, "a transfer coding other than `chunked`");
        }
    }
    h->keep_alive = (h->seen_ & CLOSE) == 0 && (h->minor >= 1 || (h->seen_ & KEEP) != 0); /* 9.3 */
    h->expect_continue = h->expect_continue && h->minor >= 1 && (h->chunked || h->length > 0);
    return 0;
}

/* No line end yet: can what is there still become a good one? */
static int unfinished(struct http_head *h, const char *data, uint32_t n)
{
    if ((h->seen_ & REQUEST_LINE) == 0) {
        if (n - h->line_ > HTTP_LINE_MAX) {
            return refuse(h, 414, "the request line is too long");
        }
        /* Garbage (another protocol, often) is told at once, not after a time limit. */
        for (uint32_t i = h->scanned_; i < n; i++) {
            if (!HTTP_IS(data[i], HTTP_TARGET | HTTP_TOKEN) && data[i] != ' ' && (data[i] != '\r' || i + 1 != n)) {
                return refuse(h, 400, "this is not HTTP");
            }
        }
    }
    if (n >= HTTP_HEAD_MAX) {
        return refuse(h, 431, "the header section is too long");
    }
    /* A trailing CR is looked at again, with what follows it. */
    h->scanned_ = n > h->line_ && data[n - 1] == '\r' ? n - 1 : n;
    return 0;
}

int http_head_parse(struct http_head *h, const char *data, size_t size)
{
    uint32_t n = size < HTTP_HEAD_MAX ? (uint32_t)size : HTTP_HEAD_MAX;
    for (;;) {
        const char *newline = memchr(data + h->scanned_, '\n', n - h->scanned_);
        if (newline == NULL) {
            return unfinished(h, data, n);
        }
        uint32_t at = h->line_, end = (uint32_t)(newline - data);
        if (end == at || data[end - 1] != '\r') {
            return refuse(h, 400, "a line that does not end in CR LF");
        }
        h->line_ = h->scanned_ = end + 1;
        end--;
        int rc;
        if ((h->seen_ & REQUEST_LINE) != 0) {
            if (at == end) {
                rc = finish(h);
                return rc < 0 ? rc : (int)h->line_;
            }
            rc = parse_field(h, data, at, end);
        } else if (at == end) {
            if ((h->seen_ & LEADING_LINE) != 0) {
                return refuse(h, 400,
                              "empty lines before the request"); /* 2.2: one may come, of an old client's POST */
            }
            h->seen_ |= LEADING_LINE;
            rc = 0;
        } else {
            h->seen_ |= REQUEST_LINE;
            rc = end - at > HTTP_LINE_MAX ? refuse(h, 414, "the request line is too long")
                                          : parse_request_line(h, data, at, end);
        }
        if (rc < 0) {
            return rc;
        }
    }
}
