/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http_head.c -- the head parser of weft-http. */
#include <ctype.h>

#include "fuzz.h"
#include "http/chars.h"
#include "http/parser.h"

/* The table of classes against the rules in words. */
static void check_classes(void)
{
    for (int c = 0; c < 256; c++) {
        int alnum = (c < 128) && isalnum(c), visible = c > 32 && c < 127;
        unsigned expected = 0;
        expected |= alnum || (visible && strchr("!#$%&'*+-.^_`|~", c) != NULL) ? HTTP_TOKEN : 0u;
        expected |= visible || c == ' ' || c == '\t' || c >= 128 ? HTTP_TEXT : 0u;
        expected |= visible && c != '#' ? HTTP_TARGET : 0u;
        expected |= alnum || (visible && strchr("-._~%!$&'()*+,;=:[]", c) != NULL) ? HTTP_HOSTNAME : 0u;
        MUST(http_class[c] == expected);
    }
}

/* What must hold for a head that was taken. */
static void check_head(const struct http_head *h, const char *data, size_t length)
{
    MUST(length <= HTTP_HEAD_MAX);
    MUST(length >= 4 && memcmp(data + length - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < length; i++) {
        MUST((data[i] != '\n' || (i > 0 && data[i - 1] == '\r')) && (data[i] != '\r' || data[i + 1] == '\n'));
        MUST(data[i] != '\0');
        /* no folded lines */
        MUST(data[i] != '\n' || i + 1 == length || (data[i + 1] != ' ' && data[i + 1] != '\t'));
    }
    MUST(h->path.at + (size_t)h->path.n <= length && h->query.at + (size_t)h->query.n <= length);
    MUST(!h->chunked || h->length == 0);
    MUST(!h->expect_continue || h->minor >= 1);
    MUST(h->minor <= 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    static int checked;
    if (!checked) {
        check_classes();
        checked = 1;
    }
    if (size == 0) {
        return 0;
    }
    const char *data = (const char *)input + 1;
    size_t n = size - 1;

    char *copy = exact_copy(data, n);
    struct http_head whole = {0};
    int rc = http_head_parse(&whole, copy, n);
    MUST(rc <= (int)n);
    MUST(rc >= 0 || (rc <= -400 && whole.why != NULL));
    if (rc > 0) {
        check_head(&whole, copy, (size_t)rc);
    }

    struct cuts cuts = {input[0]};
    struct http_head pieces = {0};
    int in_pieces = 0;
    for (size_t have = 0; in_pieces == 0 && have < n;) {
        have += cut_next(&cuts, n - have);
        char *moved = exact_copy(data, have);
        in_pieces = http_head_parse(&pieces, moved, have);
        free(moved);
    }
    /* A refusal may come earlier in pieces, and so for another reason. */
    MUST(rc < 0 ? in_pieces < 0 : in_pieces == rc || (rc == 0 && in_pieces < 0 && n >= HTTP_HEAD_MAX));
    if (rc > 0) {
        MUST(whole.method == pieces.method && whole.path.at == pieces.path.at && whole.path.n == pieces.path.n);
        MUST(whole.query.at == pieces.query.at && whole.query.n == pieces.query.n && whole.minor == pieces.minor);
        MUST(whole.length == pieces.length && whole.chunked == pieces.chunked);
        MUST(whole.keep_alive == pieces.keep_alive && whole.expect_continue == pieces.expect_continue);
    }
    free(copy);
    return 0;
}
