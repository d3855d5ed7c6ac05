/* SPDX-License-Identifier: Apache-2.0 */
/* kv/set.c -- SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]. */
#include "kv/commands.h"

struct set_options {
    bool absent, present, get, keep_ttl, expiry; /* NX, XX, GET, KEEPTTL, EX or PX */
    weft_ns expires;
};

/* NULL, or the error. */
static const char *parse(struct call *c, struct set_options *o)
{
    for (size_t i = 3; i < c->argc; i++) {
        struct resp_arg a = c->argv[i];
        bool seconds = arg_is(a, "EX");
        if (arg_is(a, "NX") && !o->present) {
            o->absent = true;
        } else if (arg_is(a, "XX") && !o->absent) {
            o->present = true;
        } else if (arg_is(a, "GET")) {
            o->get = true;
        } else if (arg_is(a, "KEEPTTL") && !o->expiry) {
            o->keep_ttl = true;
        } else if ((seconds || arg_is(a, "PX")) && !o->expiry && !o->keep_ttl && i + 1 < c->argc) {
            int64_t n;
            if (!arg_integer(c->argv[++i], &n)) {
                return "ERR value is not an integer or out of range";
            }
            o->expires = n > 0 ? expiry_after(c->now, n, seconds ? WEFT_SEC(1) : WEFT_MS(1)) : 0;
            if (o->expires == 0) {
                return "ERR invalid expire time in 'set' command";
            }
            o->expiry = true;
        } else {
            return "ERR syntax error";
        }
    }
    return NULL;
}

void command_set(struct call *c)
{
    struct set_options o = {.expires = WEFT_FOREVER};
    const char *error = parse(c, &o);
    struct value *v = error == NULL ? value_create(c->argv[2].at, c->argv[2].n) : NULL;
    if (v == NULL) {
        reply_error(c->out, "%s", error != NULL ? error : "OOM memory is short");
        return;
    }
    struct key k = store_key(c->argv[1].at, c->argv[1].n);
    struct value *old = NULL;
    bool set = false;
    int rc = 0;
    store_lock(store_shard(k));
    struct entry *e = o.absent || o.present || o.get || o.keep_ttl ? store_find(k, c->now) : NULL;
    if (!(o.absent && e != NULL) && !(o.present && e == NULL)) {
        weft_ns expires = o.keep_ttl && e != NULL ? entry_expires(e) : o.expires;
        rc = store_set(k, v, expires, c->now, &old);
        set = rc == 0;
    } else if (o.get && e != NULL) {
        old = entry_value(e); /* stays in the table: a reference of our own */
        atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
    }
    store_unlock(store_shard(k));
    if (!set) {
        value_release(v);
    }
    if (rc < 0) {
        reply_error(c->out, "OOM memory is short");
    } else if (o.get) {
        reply_value(c->out, old);
    } else {
        reply_text(c->out, set ? "+OK\r\n" : "$-1\r\n");
    }
    value_release(old);
}
