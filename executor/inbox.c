/* SPDX-License-Identifier: Apache-2.0 */
/* executor/inbox.c -- a list that any thread adds to and any thread may claim as a whole.
 *
 * A Treiber stack without pop: push swings the head by CAS, claim exchanges it for NULL and turns the chain round, so
 * that the claimer reads oldest first. Because nobody ever takes a single item, nobody follows `next` of an item that
 * another may own: there is no ABA and nothing to reclaim. Any searcher can take all of a busy worker's inbox in one
 * exchange.
 *
 * Invariants
 *   1 An item belongs to its pusher until the CAS, then to the list, then to the one claimer; push does not touch it
 *     after the CAS (it may be gone). It is in at most one inbox at a time.
 *   2 Items of one pusher come out of one claim in the order it pushed them.
 *
 * Threads: all calls but init by anyone.
 *
 * Orders, and the labels in the code
 *   INBOX-ITEM  CAS in push -> exchange in claim: the item's content and link. Every change of the head is a
 *               read-modify-write, so the chain of releases reaches back to each pusher.
 *   INBOX-PARK  CAS in push, then the pusher's load of the sleepers' count; a sleeper's announcement, then its load of
 *               head in empty. All seq_cst: at least one of them sees the other.
 *
 * Rejected: a linked queue (Vyukov's): one consumer only, and an item can hang between exchange and link while its
 * pusher is off the CPU, which a parking worker cannot tell from "empty". A ring: full some time. */
#include "executor/inbox.h"

void weft__inbox_init(struct weft__inbox *b)
{
    weft__store_relaxed(&b->head, NULL); /* relaxed: nobody else knows it yet */
}

/* Turns a chain round; returns its new first. `tail` is what the new last one links to. */
static struct weft__link *link_reverse(struct weft__link *chain, struct weft__link *tail)
{
    while (chain) {
        struct weft__link *next = chain->next;
        chain->next = tail;
        tail = chain;
        chain = next;
    }
    return tail;
}

/* newest..oldest is a chain in the list's own order. */
static void inbox_attach(struct weft__inbox *b, struct weft__link *newest, struct weft__link *oldest)
{
    struct weft__link *head = weft__load_relaxed(&b->head); /* relaxed: the CAS orders, and finds out if it is old */
    do
        oldest->next = head;
    while (!weft__cas_seq_cst(&b->head, &head, newest)); /* pairs: INBOX-ITEM, INBOX-PARK */
}

void weft__inbox_push(struct weft__inbox *b, struct weft__link *item)
{
    inbox_attach(b, item, item);
}

void weft__inbox_push_list(struct weft__inbox *b, struct weft__link *first, struct weft__link *last)
{
    last->next = NULL;
    link_reverse(first, NULL);
    inbox_attach(b, last, first);
}

struct weft__link *weft__inbox_claim(struct weft__inbox *b)
{
    /* Look first: an exchange would take the cache line away from the pushers for nothing. */
    if (weft__inbox_empty(b))
        return NULL;
    return link_reverse(weft__exchange_seq_cst(&b->head, NULL), NULL); /* pairs: INBOX-ITEM */
}

bool weft__inbox_empty(const struct weft__inbox *b)
{
    return weft__load_seq_cst(&b->head) == NULL; /* pairs: INBOX-PARK */
}
