/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/dump.h -- what weft_dump_tasks says, for tests. Any thread. */
#ifndef TESTS_SUPPORT_DUMP_H
#define TESTS_SUPPORT_DUMP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

/* All of it, to be freed; NULL: it failed. */
static inline char *dump_text(weft_runtime *rt)
{
    FILE *file = tmpfile();
    if (file == NULL)
        return NULL;
    int rc = weft_dump_tasks(rt, fileno(file));
    long size = rc == 0 ? lseek(fileno(file), 0, SEEK_END) : -1;
    char *text = size >= 0 ? calloc(1, (size_t)size + 1) : NULL;
    if (text != NULL && pread(fileno(file), text, (size_t)size, 0) != size) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* Does it say that? Addresses are "@" there, the number after a name is "#", and several blanks are one. */
static inline bool dump_says(const char *text, const char *wanted)
{
    char *plain = malloc(strlen(text) + 1), *to = plain;
    for (const char *from = text; plain != NULL && *from != '\0';) {
        if (from[0] == '0' && from[1] == 'x') {
            *to++ = '@';
            from += 2 + strspn(from + 2, "0123456789abcdef");
        } else if (from[0] == '#') {
            *to++ = *from;
            from += 1 + strspn(from + 1, "0123456789");
        } else if (from[0] == ' ' && from[1] == ' ') {
            from++;
        } else {
            *to++ = *from++;
        }
    }
    if (plain == NULL)
        return false;
    *to = '\0';
    bool found = strstr(plain, wanted) != NULL;
    free(plain);
    return found;
}

/* The same, and prints it all if not. */
static inline bool dump_has_line(const char *text, const char *wanted)
{
    bool found = dump_says(text, wanted);
    if (!found)
        fprintf(stderr, "no \"%s\" in:\n%s", wanted, text);
    return found;
}

#endif
