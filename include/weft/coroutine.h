/* SPDX-License-Identifier: Apache-2.0 */
/* weft/coroutine.h -- how a C function becomes a coroutine.
 *
 * A coroutine is an ordinary function of one pointer to a frame struct that has the function's name. The frame's
 * fields are its named arguments and its results:
 *
 *     struct fetch { WEFT_FRAME; const char *url; size_t length; };   // url: argument, length: result
 *     static int fetch(struct fetch *f) { ...; f->length = n; return 0; }
 *     WEFT_CORO(fetch);
 *
 * Three things can be done with it, as in asyncio:
 *     rc = fetch(&(struct fetch){ .url = u });                 await fetch(u): a plain call inside this task
 *     weft_task *t = weft_create_task(fetch, .url = u);        create_task(fetch(u)): runs concurrently
 *     rc = weft_run(fetch, .url = u);                          asyncio.run(fetch(u))
 *
 * A wrong field name or a wrong type does not compile. The frame is copied into the task, so nothing in the task
 * points to its creator's stack unless you put such a pointer there.
 *
 * The function returns 0 (or a count) for success, a negative errno for an error, and -ECANCELED to end cancelled.
 *
 * In C++20 the same macros work (g++ -Wextra: with -Wno-missing-field-initializers); in earlier C++ build the frame by
 * hand: struct fetch f{}; f.frame_.coro = &fetch_coro_; f.url = u; weft_create_task_(nullptr, &f.frame_).
 * An exception must not leave a coroutine: that ends the program with a message that names it. */
#ifndef WEFT_COROUTINE_H
#define WEFT_COROUTINE_H

#include <weft/base.h>

WEFT_BEGIN_DECLS

/* What weft knows of a coroutine function. Made by WEFT_CORO; also the run-time type tag of its frames. */
typedef struct weft_coro {
    int (*entry)(void *frame);
    size_t size;
    const char *name;
    void (*unstarted)(void *frame); /* instead of entry, when the task ends without having begun; NULL: nothing to do */
} weft_coro;

typedef struct weft_frame {
    const weft_coro *coro;
} weft_frame;

/* First member of every frame struct. */
#define WEFT_FRAME weft_frame frame_

/* Once after the function (or after its declaration): defines its description. Use WEFT_CORO_DECLARE in a header and
 * WEFT_CORO_DEFINE (WEFT_CORO_DEFINE_OWNING) in one source file for a coroutine that several files start: with WEFT_CORO in a header each of
 * them has a coroutine of its own. */
#define WEFT_CORO(fn)                                                                                                  \
    WEFT_UNUSED static int fn##_entry_(void *frame)                                                                    \
    {                                                                                                                  \
        return fn((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    WEFT_UNUSED static const weft_coro fn##_coro_ = {fn##_entry_, sizeof(struct fn), #fn, NULL}

/* The same for a coroutine whose frame owns something that its body gives back (a stream to close, memory to free): a task that is
 * cancelled before its first step never runs its body, so `unstarted`, a function of the same frame, is called in its place:
 *     static void serve_unstarted(struct serve *s) { weft_close(s->stream); }
 *     WEFT_CORO_OWNING(serve, serve_unstarted);
 * It runs as that task, exactly if the body does not. Until a call that starts the coroutine has succeeded, what the frame owns is still
 * the caller's. */
#define WEFT_CORO_OWNING(fn, unstarted)                                                                                \
    WEFT_UNUSED static int fn##_entry_(void *frame)                                                                    \
    {                                                                                                                  \
        return fn((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    WEFT_UNUSED static void fn##_unstarted_(void *frame)                                                               \
    {                                                                                                                  \
        unstarted((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    WEFT_UNUSED static const weft_coro fn##_coro_ = {fn##_entry_, sizeof(struct fn), #fn, fn##_unstarted_}

#define WEFT_CORO_DECLARE(fn) extern const weft_coro fn##_coro_
#define WEFT_CORO_DEFINE(fn)                                                                                           \
    static int fn##_entry_(void *frame)                                                                                \
    {                                                                                                                  \
        return fn((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    const weft_coro fn##_coro_ = {fn##_entry_, sizeof(struct fn), #fn, NULL}
/* WEFT_CORO_OWNING for one that several files start: in a header WEFT_CORO_DECLARE, in one source file this. */
#define WEFT_CORO_DEFINE_OWNING(fn, unstarted)                                                                         \
    static int fn##_entry_(void *frame)                                                                                \
    {                                                                                                                  \
        return fn((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    static void fn##_unstarted_(void *frame)                                                                           \
    {                                                                                                                  \
        unstarted((struct fn *)frame);                                                                                 \
    }                                                                                                                  \
    const weft_coro fn##_coro_ = {fn##_entry_, sizeof(struct fn), #fn, fn##_unstarted_}

/* The frame of a call of fn, as a temporary. Internal: the macros below and in the other headers use it. */
#ifdef __cplusplus
#define weft__FRAME(fn, ...) (&weft__box<struct fn>{{.frame_ = {&fn##_coro_}, __VA_ARGS__}}.address()->frame_)
#else
#define weft__FRAME(fn, ...) (&(struct fn){.frame_ = {&fn##_coro_}, __VA_ARGS__}.frame_)
#endif

WEFT_END_DECLS

#endif
