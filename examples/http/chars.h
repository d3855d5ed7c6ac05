/* SPDX-License-Identifier: Apache-2.0 */
/* http/chars.h -- which characters HTTP allows where (RFC 9110 section 5.6, RFC 3986 section 2). */
#ifndef EXAMPLES_HTTP_CHARS_H
#define EXAMPLES_HTTP_CHARS_H

#include <stdint.h>

enum {
    HTTP_TOKEN = 1,    /* method, field name */
    HTTP_TEXT = 2,     /* field value: visible, space, tab, and bytes above 127 */
    HTTP_TARGET = 4,   /* request target: visible ASCII but not '#' */
    HTTP_HOSTNAME = 8, /* Host: name, address or [address], port */
};

/* Table of 256 classes, defined in chars.c. */
extern const uint8_t http_class[256];

#define HTTP_IS(c, class_) ((http_class[(uint8_t)(c)] & (class_)) != 0)

#endif
