/* SPDX-License-Identifier: Apache-2.0 */
/* weft/context.h -- context variables: values that belong to a task and are inherited by what it creates.
 *
 *     static weft_context_var request_id = WEFT_CONTEXT_VAR("request_id", NULL);
 *     weft_context_set(&request_id, id, NULL);
 *     weft_context_get(&request_id)
 *
 * A task or a callback gets a copy of its creator's context when it is created: what it sets later is its own. A coroutine called
 * directly shares its caller's. weft_to_thread functions run in a copy of the caller's. A value is a pointer; what it points to is
 * the program's, and must stay valid as long as a task may look at it. The context goes with the task to whatever worker runs it.
 * Creating a task costs nothing for this while no variable is set. asyncio: contextvars. */
#ifndef WEFT_CONTEXT_H
#define WEFT_CONTEXT_H

#include <weft/base.h>

WEFT_BEGIN_DECLS

/* One static object per variable; its address is its identity. */
typedef struct weft_context_var {
    const char *name;
    void *default_value;
} weft_context_var;
/* clang-format off */
#define WEFT_CONTEXT_VAR(name, default_value) {(name), (default_value)}
/* clang-format on */

/* The value in the current context, else the variable's default. In a task, a callback or a weft_to_thread function; elsewhere the
 * default. Never suspends. asyncio: ContextVar.get. */
WEFT_API void *weft_context_get(const weft_context_var *var);

/* What weft_context_set replaced. */
typedef struct weft_context_token {
    const weft_context_var *var_;
    const void *context_; /* in which it was set */
    void *old_;
    bool had_;
} weft_context_token;

/* Set the value in the current context; *token (unless NULL) receives what weft_context_reset needs. 0 or -ENOMEM (nothing is changed);
 * -EINVAL outside of tasks, callbacks and weft_to_thread functions. asyncio: ContextVar.set. */
WEFT_API int weft_context_set(const weft_context_var *var, void *value, weft_context_token *token);
/* Put back what the set that filled the token replaced. 0, -ENOMEM; -EINVAL: the token was filled in another context (another task's, say;
 * of one that is gone this may pass unnoticed), or by no set at all, or as for weft_context_set. A token may be used again. asyncio:
 * ContextVar.reset. */
WEFT_API int weft_context_reset(const weft_context_token *token);

/* A context as an object: counted. */
typedef struct weft_context weft_context;
/* A copy of the current context; released with weft_context_release. NULL: memory is short. To run a task in it:
 * weft_create_task_with(WEFT_TASK_OPTIONS(.context = c), ...), which then runs in exactly this one: its writes are seen by
 * weft_context_lookup and by other tasks created with it. asyncio: copy_context. */
WEFT_API WEFT_NODISCARD weft_context *weft_context_copy(void);
WEFT_API void weft_context_release(weft_context *c);
/* The value in a context that is not the current one; the default when it has none. Any thread. asyncio: Context.get. */
WEFT_API void *weft_context_lookup(weft_context *c, const weft_context_var *var);

WEFT_END_DECLS

#endif
