/* SPDX-License-Identifier: Apache-2.0 */
/* kv/store.c -- the sharded table. See store.h. */
#include "kv/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "kv/hash.h"

struct entry {
    struct entry *next;
    uint64_t hash;
    struct value *value;
    weft_ns expires; /* WEFT_FOREVER: never */
    size_t n;
    char key[];
};

/* Buckets are chained, their number is a power of two and at least the number of keys. Growing moves all keys of one
 * shard at once: a 64th of the table. */
static struct shard {
    _Alignas(128) pthread_mutex_t guard;
    struct entry **buckets;
    size_t size, keys, expiring;
    size_t swept; /* the bucket store_sweep comes to next */
} shards[STORE_SHARDS];

static uint64_t seed[2];
static weft_event expiry = WEFT_EVENT_INIT; /* set while there may be a key that expires */

enum { FIRST_SIZE = 16 };

struct value *value_create(const char *bytes, size_t n)
{
    struct value *v = malloc(sizeof *v + n);
    if (v != NULL) {
        atomic_init(&v->refs, 1);
        v->n = n;
        memcpy(v->bytes, bytes, n);
    }
    return v;
}

void value_release(struct value *v)
{
    if (v != NULL && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1) {
        free(v);
    }
}

static struct shard *shard_of(struct key k)
{
    return &shards[k.hash & (STORE_SHARDS - 1)];
}

static struct entry **bucket_of(const struct shard *s, uint64_t hash)
{
    return &s->buckets[(hash / STORE_SHARDS) & (s->size - 1)];
}

struct key store_key(const char *at, size_t n)
{
    return (struct key){at, n, hash_bytes(seed, at, n)};
}

int store_init(void)
{
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        return -EIO;
    }
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        pthread_mutex_init(&shards[i].guard, NULL);
        shards[i].buckets = calloc(FIRST_SIZE, sizeof(struct entry *));
        if (shards[i].buckets == NULL) {
            return -ENOMEM;
        }
        shards[i].size = FIRST_SIZE;
    }
    return 0;
}

void store_lock(uint64_t wanted)
{
    for (; wanted != 0; wanted &= wanted - 1) {
        pthread_mutex_lock(&shards[__builtin_ctzll(wanted)].guard);
    }
}

void store_unlock(uint64_t held)
{
    for (; held != 0; held &= held - 1) {
        pthread_mutex_unlock(&shards[__builtin_ctzll(held)].guard);
    }
}

/* Take the entry that *link points to out of the chain; its value stays referenced by the caller. */
static struct value *unlink_entry(struct shard *s, struct entry **link)
{
    struct entry *e = *link;
    struct value *v = e->value;
    *link = e->next;
    s->keys--;
    s->expiring -= e->expires != WEFT_FOREVER;
    free(e);
    return v;
}

/* The link to a key's entry, or to the end of its chain. An expired entry is removed on the way. */
static struct entry **find_link(struct shard *s, struct key k, weft_ns now)
{
    struct entry **link = bucket_of(s, k.hash);
    while (*link != NULL && ((*link)->hash != k.hash || (*link)->n != k.n || memcmp((*link)->key, k.at, k.n) != 0)) {
        link = &(*link)->next;
    }
    if (*link != NULL && (*link)->expires <= now) {
        value_release(unlink_entry(s, link));
        while (*link != NULL) {
            link = &(*link)->next;
        }
    }
    return link;
}

struct entry *store_find(struct key k, weft_ns now)
{
    return *find_link(shard_of(k), k, now);
}

struct value *entry_value(const struct entry *e)
{
    return e->value;
}

weft_ns entry_expires(const struct entry *e)
{
    return e->expires;
}

void entry_set_expiry(struct entry *e, struct key k, weft_ns expires)
{
    struct shard *s = shard_of(k);
    s->expiring -= e->expires != WEFT_FOREVER;
    s->expiring += expires != WEFT_FOREVER;
    e->expires = expires;
    if (expires != WEFT_FOREVER && !weft_event_is_set(&expiry)) {
        weft_event_set(&expiry);
    }
}

/* Twice as many buckets. Without memory for them the chains just get longer. */
static void grow(struct shard *s)
{
    size_t old_size = s->size;
    struct entry **old = s->buckets, **new = calloc(2 * old_size, sizeof *new);
    if (new == NULL) {
        return;
    }
    s->buckets = new;
    s->size = 2 * old_size;
    s->swept = 0;
    for (size_t i = 0; i < old_size; i++) {
        for (struct entry *e = old[i], *next; e != NULL; e = next) {
            next = e->next;
            struct entry **bucket = bucket_of(s, e->hash);
            e->next = *bucket;
            *bucket = e;
        }
    }
    free(old);
}

int store_set(struct key k, struct value *v, weft_ns expires, weft_ns now, struct value **old)
{
    struct shard *s = shard_of(k);
    struct entry **link = find_link(s, k, now), *e = *link;
    *old = NULL;
    if (e == NULL) {
        e = malloc(sizeof *e + k.n);
        if (e == NULL) {
            return -ENOMEM;
        }
        *e = (struct entry){.hash = k.hash, .expires = WEFT_FOREVER, .n = k.n};
        memcpy(e->key, k.at, k.n);
        *link = e;
        s->keys++;
        if (s->keys > s->size) {
            grow(s);
        }
    } else {
        *old = e->value;
    }
    e->value = v;
    entry_set_expiry(e, k, expires);
    return 0;
}

struct value *store_remove(struct key k, weft_ns now)
{
    struct shard *s = shard_of(k);
    struct entry **link = find_link(s, k, now);
    return *link != NULL ? unlink_entry(s, link) : NULL;
}

struct store_account store_count(void)
{
    struct store_account sum = {0, 0};
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        pthread_mutex_lock(&shards[i].guard);
        sum.keys += shards[i].keys;
        sum.expiring += shards[i].expiring;
        pthread_mutex_unlock(&shards[i].guard);
    }
    return sum;
}

static void free_entries(struct entry **buckets, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        for (struct entry *e = buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            value_release(e->value);
            free(e);
        }
    }
    free(buckets);
}

int store_clear(void)
{
    int rc = 0;
    for (size_t i = 0; i < STORE_SHARDS && rc == 0; i++) {
        struct shard *s = &shards[i];
        struct entry **empty = calloc(FIRST_SIZE, sizeof *empty);
        if (empty == NULL) {
            return -ENOMEM;
        }
        pthread_mutex_lock(&s->guard);
        struct entry **full = s->buckets;
        size_t size = s->size;
        s->buckets = empty;
        s->size = FIRST_SIZE;
        s->keys = s->expiring = s->swept = 0;
        pthread_mutex_unlock(&s->guard);
        free_entries(full, size);
        rc = weft_yield(); /* a large table takes a while: others may run meanwhile */
    }
    return rc;
}

void store_free(void)
{
    for (size_t i = 0; i < STORE_SHARDS; i++) {
        free_entries(shards[i].buckets, shards[i].size);
        shards[i].buckets = NULL;
        shards[i].size = 0;
        pthread_mutex_destroy(&shards[i].guard);
    }
}

/* ---- removing expired keys ---- */

enum { SWEEP_BUCKETS = 64 }; /* of one shard, at a time */

/* Look at the next buckets of a shard: the number of keys removed. */
static size_t sweep_shard(struct shard *s, weft_ns now)
{
    size_t removed = 0;
    pthread_mutex_lock(&s->guard);
    for (size_t i = 0; s->expiring > 0 && i < SWEEP_BUCKETS && i < s->size; i++) {
        struct entry **link = &s->buckets[s->swept];
        while (*link != NULL) {
            if ((*link)->expires <= now) {
                value_release(unlink_entry(s, link));
                removed++;
            } else {
                link = &(*link)->next;
            }
        }
        s->swept = (s->swept + 1) & (s->size - 1);
    }
    pthread_mutex_unlock(&s->guard);
    return removed;
}

int store_sweep(struct store_sweep *f)
{
    (void)f;
    int rc = 0;
    while (rc == 0) {
        size_t removed = 0;
        for (size_t i = 0; i < STORE_SHARDS && rc == 0; i++) {
            removed += sweep_shard(&shards[i], weft_now());
            rc = i % 16 == 15 ? weft_yield() : 0;
        }
        if (rc < 0) {
            break;
        }
        if (store_count().expiring == 0) {
            /* Clear, then look again: a key set between the two has set the event again. */
            weft_event_clear(&expiry);
            rc = store_count().expiring == 0 ? weft_event_wait(&expiry) : 0;
        } else if (removed < STORE_SHARDS) {
            rc = weft_sleep(WEFT_MS(100)); /* little was found: no hurry */
        }
    }
    return rc;
}
WEFT_CORO_DEFINE(store_sweep);
