/* SPDX-License-Identifier: Apache-2.0 */
/* kv/store.h -- a sharded table of byte strings with expiry.
 *
 * A key belongs to one of 64 shards by its hash, and a shard is guarded by a plain pthread mutex: it is held for a
 * look-up and a few stores, nothing under it suspends, so a worker is never held up longer than that, and no task
 * ever sleeps owning it. A command on several keys locks their shards together, in ascending order: such commands
 * are atomic and cannot deadlock. Values are counted and never changed in place, so a reader takes a reference under
 * the lock and sends the bytes after it.
 *
 * Expired keys are invisible at once; they are removed when met, and by a task that goes around (store_sweep). */
#ifndef EXAMPLES_KV_STORE_H
#define EXAMPLES_KV_STORE_H

#include <stdatomic.h>
#include <weft.h>

enum { STORE_SHARDS = 64 };

struct value {
    atomic_uint refs;
    size_t n;
    char bytes[];
};
/* A new value with one reference; NULL: memory. */
struct value *value_create(const char *bytes, size_t n);
void value_release(struct value *v); /* NULL is allowed */

struct key {
    const char *at;
    size_t n;
    uint64_t hash;
};
struct key store_key(const char *at, size_t n);
/* The shards of keys, or-ed together. */
static inline uint64_t store_shard(struct key k)
{
    return UINT64_C(1) << (k.hash & (STORE_SHARDS - 1));
}

/* Once, before anything else; the seed of the hash comes from the kernel, so keys cannot be chosen to collide. */
int store_init(void);
void store_free(void);

void store_lock(uint64_t shards);
void store_unlock(uint64_t shards);

/* ---- under the lock of the key's shard; `now` is weft_now() ---- */

/* A key that exists, or NULL. Valid until the shard is unlocked or changed. */
struct entry;
struct entry *store_find(struct key k, weft_ns now);
struct value *entry_value(const struct entry *e); /* borrowed */
weft_ns entry_expires(const struct entry *e);     /* an instant; WEFT_FOREVER: never */
void entry_set_expiry(struct entry *e, struct key k, weft_ns expires);

/* Set a key. Takes the reference over when it succeeds; *old gets the former value, to be released outside the lock.
 * 0 or -ENOMEM. */
int store_set(struct key k, struct value *v, weft_ns expires, weft_ns now, struct value **old);
/* Take a key out: its value, to be released outside the lock; NULL: there was none. */
struct value *store_remove(struct key k, weft_ns now);

/* ---- without a lock ---- */

struct store_account {
    size_t keys, expiring;
};
struct store_account store_count(void);
/* Remove everything. Suspends between shards: 0 or -ECANCELED. */
int store_clear(void);
/* The task that removes expired keys: sleeps while no key expires. Ends when cancelled. */
struct store_sweep {
    WEFT_FRAME;
};
int store_sweep(struct store_sweep *f);
WEFT_CORO_DECLARE(store_sweep);

#endif
