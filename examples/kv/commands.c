/* SPDX-License-Identifier: Apache-2.0 */
/* kv/commands.c -- the table of commands and most of them. Texts of errors are those that Redis' users know. */
#include "kv/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_ullong commands_run;

/* ---- helpers ---- */

bool arg_is(struct resp_arg a, const char *upper)
{
    size_t n = strlen(upper);
    if (a.n != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = a.at[i] >= 'a' && a.at[i] <= 'z' ? (char)(a.at[i] - 32) : a.at[i];
        if (c != upper[i]) {
            return false;
        }
    }
    return true;
}

bool arg_integer(struct resp_arg a, int64_t *out)
{
    bool negative = a.n > 0 && a.at[0] == '-';
    size_t i = negative;
    if (i == a.n || a.n - i > 19 || (a.at[i] == '0' && a.n > 1)) {
        return false; /* no digits, too many, "-0", "007" */
    }
    uint64_t number = 0;
    for (; i < a.n; i++) {
        if (a.at[i] < '0' || a.at[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(a.at[i] - '0');
    }
    if (number > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = negative ? (int64_t)-number : (int64_t)number;
    return true;
}

weft_ns expiry_after(weft_ns now, int64_t n, weft_ns unit)
{
    weft_ns expires;
    if (__builtin_mul_overflow(n, unit, &expires) || __builtin_add_overflow(expires, now, &expires)) {
        return 0;
    }
    return expires < WEFT_FOREVER ? expires : 0;
}

static const char *lower_name(struct call *c, char name[32])
{
    size_t n = c->argv[0].n < 31 ? c->argv[0].n : 31;
    for (size_t i = 0; i < n; i++) {
        char ch = c->argv[0].at[i];
        name[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch + 32) : ch;
    }
    name[n] = '\0';
    return name;
}

static void not_an_integer(struct call *c)
{
    reply_error(c->out, "ERR value is not an integer or out of range");
}

static void no_memory(struct call *c)
{
    reply_error(c->out, "OOM memory is short");
}

static struct key key_of(struct resp_arg a)
{
    return store_key(a.at, a.n);
}

/* The shards of the arguments from `first` on, each `step`-th. */
static uint64_t shards_of(struct call *c, size_t first, size_t step)
{
    uint64_t shards = 0;
    for (size_t i = first; i < c->argc; i += step) {
        shards |= store_shard(key_of(c->argv[i]));
    }
    return shards;
}

/* ---- commands ---- */

static void ping(struct call *c)
{
    if (c->argc > 2) {
        reply_error(c->out, "ERR wrong number of arguments for 'ping' command");
    } else if (c->argc == 2) {
        reply_bulk(c->out, c->argv[1].at, c->argv[1].n);
    } else {
        reply_text(c->out, "+PONG\r\n");
    }
}

static void echo(struct call *c)
{
    reply_bulk(c->out, c->argv[1].at, c->argv[1].n);
}

/* One more reference, under the lock of its key. */
static void refer(struct value *v)
{
    /* relaxed: the table's own reference, held under the lock, keeps the count above zero */
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

/* A reference to a key's value under its lock, or NULL. */
static struct value *referenced(struct key k, weft_ns now)
{
    struct entry *e = store_find(k, now);
    if (e == NULL) {
        return NULL;
    }
    refer(entry_value(e));
    return entry_value(e);
}

static void get(struct call *c)
{
    struct key k = key_of(c->argv[1]);
    store_lock(store_shard(k));
    struct entry *e = store_find(k, c->now);
    struct value *v = e != NULL ? entry_value(e) : NULL;
    bool at_once = v != NULL && reply_has_room(c->out, v->n); /* to copy a small value is less than to count it */
    if (at_once) {
        reply_bulk(c->out, v->bytes, v->n);
    } else if (v != NULL) {
        refer(v);
    }
    store_unlock(store_shard(k));
    if (!at_once) {
        reply_value(c->out, v);
        value_release(v);
    }
}

static void mget(struct call *c)
{
    uint64_t shards = shards_of(c, 1, 1);
    struct value **values = calloc(c->argc, sizeof *values);
    if (values == NULL) {
        no_memory(c);
        return;
    }
    store_lock(shards);
    for (size_t i = 1; i < c->argc; i++) {
        values[i] = referenced(key_of(c->argv[i]), c->now);
    }
    store_unlock(shards);
    reply_number(c->out, '*', (int64_t)c->argc - 1);
    for (size_t i = 1; i < c->argc; i++) {
        reply_value(c->out, values[i]);
        value_release(values[i]);
    }
    free(values);
}

static void mset(struct call *c)
{
    if (c->argc % 2 == 0) {
        reply_error(c->out, "ERR wrong number of arguments for 'mset' command");
        return;
    }
    /* The values first: running out of memory for them leaves the table as it was. */
    struct value **values = calloc(c->argc, sizeof *values);
    bool enough = values != NULL;
    for (size_t i = 2; enough && i < c->argc; i += 2) {
        values[i] = value_create(c->argv[i].at, c->argv[i].n);
        enough = values[i] != NULL;
    }
    uint64_t shards = enough ? shards_of(c, 1, 2) : 0;
    store_lock(shards);
    for (size_t i = 1; enough && i < c->argc; i += 2) {
        struct value *old = NULL;
        if (store_set(key_of(c->argv[i]), values[i + 1], WEFT_FOREVER, c->now, &old) < 0) {
            enough = false;
        } else {
            values[i + 1] = old; /* released below */
        }
    }
    store_unlock(shards);
    for (size_t i = 2; values != NULL && i < c->argc; i += 2) {
        value_release(values[i]);
    }
    free(values);
    if (enough) {
        reply_text(c->out, "+OK\r\n");
    } else {
        no_memory(c);
    }
}

static void del(struct call *c)
{
    uint64_t shards = shards_of(c, 1, 1);
    int64_t removed = 0;
    store_lock(shards);
    for (size_t i = 1; i < c->argc; i++) {
        struct value *v = store_remove(key_of(c->argv[i]), c->now);
        removed += v != NULL;
        value_release(v);
    }
    store_unlock(shards);
    reply_number(c->out, ':', removed);
}

static void exists(struct call *c)
{
    uint64_t shards = shards_of(c, 1, 1);
    int64_t found = 0;
    store_lock(shards);
    for (size_t i = 1; i < c->argc; i++) {
        found += store_find(key_of(c->argv[i]), c->now) != NULL;
    }
    store_unlock(shards);
    reply_number(c->out, ':', found);
}

/* INCR and DECR; an expiry stays. */
static void add(struct call *c, int64_t by)
{
    struct key k = key_of(c->argv[1]);
    int64_t number = 0;
    const char *error = NULL;
    struct value *old = NULL;
    store_lock(store_shard(k));
    struct entry *e = store_find(k, c->now);
    if (e != NULL && !arg_integer((struct resp_arg){entry_value(e)->bytes, entry_value(e)->n}, &number)) {
        error = "ERR value is not an integer or out of range";
    } else if (__builtin_add_overflow(number, by, &number)) {
        error = "ERR increment or decrement would overflow";
    } else {
        char text[24];
        int n = snprintf(text, sizeof text, "%lld", (long long)number);
        struct value *v = value_create(text, (size_t)n);
        if (v == NULL || store_set(k, v, e != NULL ? entry_expires(e) : WEFT_FOREVER, c->now, &old) < 0) {
            value_release(v);
            error = "OOM memory is short";
        }
    }
    store_unlock(store_shard(k));
    value_release(old);
    if (error != NULL) {
        reply_error(c->out, "%s", error);
    } else {
        reply_number(c->out, ':', number);
    }
}

static void incr(struct call *c)
{
    add(c, 1);
}

static void decr(struct call *c)
{
    add(c, -1);
}

static void expire(struct call *c)
{
    int64_t seconds;
    if (!arg_integer(c->argv[2], &seconds)) {
        not_an_integer(c);
        return;
    }
    weft_ns expires = seconds > 0 ? expiry_after(c->now, seconds, WEFT_SEC(1)) : 1;
    if (expires == 0 || seconds < -(WEFT_FOREVER / WEFT_SEC(1))) {
        reply_error(c->out, "ERR invalid expire time in 'expire' command");
        return;
    }
    struct key k = key_of(c->argv[1]);
    struct value *gone = NULL;
    store_lock(store_shard(k));
    struct entry *e = store_find(k, c->now);
    if (e != NULL && seconds > 0) {
        entry_set_expiry(e, k, expires);
    } else if (e != NULL) {
        gone = store_remove(k, c->now); /* in the past: at once */
    }
    store_unlock(store_shard(k));
    value_release(gone);
    reply_number(c->out, ':', e != NULL);
}

/* TTL and PTTL: -2 no such key, -1 no expiry. */
static void time_to_live(struct call *c, weft_ns unit)
{
    struct key k = key_of(c->argv[1]);
    store_lock(store_shard(k));
    struct entry *e = store_find(k, c->now);
    weft_ns expires = e != NULL ? entry_expires(e) : 0;
    store_unlock(store_shard(k));
    int64_t left = e == NULL ? -2 : expires == WEFT_FOREVER ? -1 : (expires - c->now + unit / 2) / unit;
    reply_number(c->out, ':', left);
}

static void ttl(struct call *c)
{
    time_to_live(c, WEFT_SEC(1));
}

static void pttl(struct call *c)
{
    time_to_live(c, WEFT_MS(1));
}

static void flushall(struct call *c)
{
    if (c->argc > 2 || (c->argc == 2 && !arg_is(c->argv[1], "ASYNC") && !arg_is(c->argv[1], "SYNC"))) {
        reply_error(c->out, "ERR syntax error");
        return;
    }
    int rc;
    while ((rc = store_clear()) == -ECANCELED && client_told(c->out->client)) {
    }
    if (rc == -ENOMEM) {
        no_memory(c);
    } else if (rc < 0) {
        c->out->rc = rc;
    } else {
        reply_text(c->out, "+OK\r\n");
    }
}

static void dbsize(struct call *c)
{
    reply_number(c->out, ':', (int64_t)store_count().keys);
}

static void select_db(struct call *c)
{
    int64_t db;
    if (!arg_integer(c->argv[1], &db)) {
        not_an_integer(c);
    } else if (db != 0) {
        reply_error(c->out, "ERR DB index is out of range");
    } else {
        reply_text(c->out, "+OK\r\n");
    }
}

static void quit(struct call *c)
{
    reply_text(c->out, "+OK\r\n");
    c->quit = true;
}

/* ---- the table ---- */

static void command(struct call *c);

/* arity: the number of words, the name included; -n: at least n. first, last, step: which of them are keys. */
static const struct command {
    char name[9]; /* in capitals */
    uint8_t length;
    void (*run)(struct call *c);
    int arity;
    bool write;
    int first, last, step;
} table[] = {
#define NAMED(name) name, sizeof name - 1
    {NAMED("GET"), get, 2, false, 1, 1, 1},          {NAMED("SET"), command_set, -3, true, 1, 1, 1},
    {NAMED("INCR"), incr, 2, true, 1, 1, 1},         {NAMED("DECR"), decr, 2, true, 1, 1, 1},
    {NAMED("PING"), ping, -1, false, 0, 0, 0},       {NAMED("ECHO"), echo, 2, false, 0, 0, 0},
    {NAMED("DEL"), del, -2, true, 1, -1, 1},         {NAMED("EXISTS"), exists, -2, false, 1, -1, 1},
    {NAMED("MGET"), mget, -2, false, 1, -1, 1},      {NAMED("MSET"), mset, -3, true, 1, -1, 2},
    {NAMED("EXPIRE"), expire, 3, true, 1, 1, 1},     {NAMED("TTL"), ttl, 2, false, 1, 1, 1},
    {NAMED("PTTL"), pttl, 2, false, 1, 1, 1},        {NAMED("FLUSHALL"), flushall, -1, true, 0, 0, 0},
    {NAMED("DBSIZE"), dbsize, 1, false, 0, 0, 0},    {NAMED("INFO"), command_info, -1, false, 0, 0, 0},
    {NAMED("COMMAND"), command, -1, false, 0, 0, 0}, {NAMED("CONFIG"), command_config, -2, false, 0, 0, 0},
    {NAMED("SELECT"), select_db, 2, false, 0, 0, 0}, {NAMED("QUIT"), quit, -1, false, 0, 0, 0},
#undef NAMED
};

enum { COMMANDS = sizeof table / sizeof *table };

/* COMMAND, COMMAND COUNT; DOCS, which redis-cli asks for its hints, is answered with none. */
static void command(struct call *c)
{
    if (c->argc > 1 && arg_is(c->argv[1], "COUNT")) {
        reply_number(c->out, ':', COMMANDS);
        return;
    }
    if (c->argc > 1) {
        if (arg_is(c->argv[1], "DOCS")) {
            reply_text(c->out, "*0\r\n");
        } else {
            reply_error(c->out, "ERR unknown subcommand '%.*s'. Try COMMAND or COMMAND COUNT.",
                        c->argv[1].n < 128 ? (int)c->argv[1].n : 128, c->argv[1].at);
        }
        return;
    }
    reply_number(c->out, '*', COMMANDS);
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *k = &table[i];
        char name[32];
        size_t n = strlen(k->name);
        for (size_t j = 0; j < n; j++) {
            name[j] = (char)(k->name[j] + 32);
        }
        reply_number(c->out, '*', 6);
        reply_bulk(c->out, name, n);
        reply_number(c->out, ':', k->arity);
        reply_text(c->out, k->write ? "*1\r\n+write\r\n" : "*1\r\n+readonly\r\n");
        reply_number(c->out, ':', k->first);
        reply_number(c->out, ':', k->last);
        reply_number(c->out, ':', k->step);
    }
}

static void unknown(struct call *c)
{
    char quoted[160];
    size_t n = 0;
    quoted[0] = '\0';
    for (size_t i = 1; i < c->argc && n < 128; i++) {
        int most = (int)(128 - n);
        n += (size_t)snprintf(quoted + n, sizeof quoted - n, "'%.*s' ",
                              c->argv[i].n < (size_t)most ? (int)c->argv[i].n : most, c->argv[i].at);
    }
    reply_error(c->out, "ERR unknown command '%.*s', with args beginning with: %s",
                c->argv[0].n < 128 ? (int)c->argv[0].n : 128, c->argv[0].at, quoted);
}

void commands_count(unsigned *run)
{
    atomic_fetch_add_explicit(&commands_run, *run, memory_order_relaxed); /* a statistic */
    *run = 0;
}

unsigned long long commands_counted(void)
{
    return atomic_load_explicit(&commands_run, memory_order_relaxed);
}

/* At most 8 bytes as one number. Of letters the case is one bit, which is left out. */
static uint64_t packed(const char *at, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, at, n);
    return word & ~UINT64_C(0x2020202020202020);
}

void command_run(struct call *c)
{
    ++*c->run;
    struct resp_arg name = c->argv[0];
    uint64_t word = name.n <= 8 ? packed(name.at, name.n) : 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (packed(table[i].name, 8) == word && table[i].length == name.n) {
            size_t least = (size_t)abs(table[i].arity);
            if (c->argc < least || (table[i].arity > 0 && c->argc > least)) {
                char lower[32];
                reply_error(c->out, "ERR wrong number of arguments for '%s' command", lower_name(c, lower));
                return;
            }
            table[i].run(c);
            return;
        }
    }
    unknown(c);
}
