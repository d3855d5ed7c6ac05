/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c -- memory that lives as long as the program that is interpreted: chunks, cut from the front. */
#include "memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK_SIZE ((size_t)64 * 1024)
#define MOST_MEMORY ((size_t)1024 * 1024 * 1024) /* of one program: more is a program that runs away */

struct memory_chunk {
    struct memory_chunk *next;
    size_t used, size;
    alignas(max_align_t) unsigned char bytes[];
};

static struct memory_chunk *kept;

static _Noreturn void out_of_memory(void)
{
    fputs("weft-conform: out of memory\n", stderr);
    _exit(2); /* on whatever stack this is */
}

void memory_begin(struct memory *m)
{
    pthread_mutex_init(&m->lock, NULL);
    m->first = NULL;
    m->total = 0;
}

static struct memory_chunk *new_chunk(size_t size)
{
    struct memory_chunk *chunk = calloc(1, sizeof *chunk + size);
    if (chunk == NULL)
        out_of_memory();
    chunk->size = size;
    return chunk;
}

void *memory_get(struct memory *m, size_t size)
{
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    pthread_mutex_lock(&m->lock);
    struct memory_chunk *chunk = m->first;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = new_chunk(size > CHUNK_SIZE ? size : CHUNK_SIZE);
        chunk->next = m->first;
        m->first = chunk;
        m->total += chunk->size;
        if (m->total > MOST_MEMORY)
            out_of_memory();
    }
    void *result = chunk->bytes + chunk->used;
    chunk->used += size;
    pthread_mutex_unlock(&m->lock);
    return result;
}

char *memory_print(struct memory *m, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = memory_get(m, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

void memory_end(struct memory *m, bool keep)
{
    while (m->first != NULL) {
        struct memory_chunk *chunk = m->first;
        m->first = chunk->next;
        if (keep) {
            chunk->next = kept;
            kept = chunk;
        } else {
            free(chunk);
        }
    }
    pthread_mutex_destroy(&m->lock);
}
