/* SPDX-License-Identifier: Apache-2.0 */
/* kv/hash.h -- SipHash-1-3: a keyed hash, so that nobody who does not know the key can choose keys that collide. */
#ifndef EXAMPLES_KV_HASH_H
#define EXAMPLES_KV_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void hash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = hash_rotate(v[1], 13) ^ v[0];
    v[0] = hash_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = hash_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = hash_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = hash_rotate(v[1], 17) ^ v[2];
    v[2] = hash_rotate(v[2], 32);
}

static inline uint64_t hash_bytes(const uint64_t key[2], const char *p, size_t n)
{
    uint64_t v[4] = {
        key[0] ^ UINT64_C(0x736f6d6570736575),
        key[1] ^ UINT64_C(0x646f72616e646f6d),
        key[0] ^ UINT64_C(0x6c7967656e657261),
        key[1] ^ UINT64_C(0x7465646279746573),
    };
    uint64_t word, last = (uint64_t)n << 56;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        hash_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < n; i++) {
        last |= (uint64_t)(uint8_t)p[i] << (8 * i);
    }
    v[3] ^= last;
    hash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        hash_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
