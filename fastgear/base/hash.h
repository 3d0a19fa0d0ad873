/* SPDX-License-Identifier: MIT
 * Hashes. SipHash-1-3 (Aumasson and Bernstein) is keyed, so that nobody who chooses names can choose collisions;
 * the other is the finaliser of splitmix64 (Steele, Lea, Flood) for numbers that nobody chooses. */
#ifndef FASTGEAR_HASH_H
#define FASTGEAR_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t fg_rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static inline void fg_sip_round(uint64_t v[4]) {
    v[0] += v[1]; v[1] = fg_rotate(v[1], 13); v[1] ^= v[0]; v[0] = fg_rotate(v[0], 32);
    v[2] += v[3]; v[3] = fg_rotate(v[3], 16); v[3] ^= v[2];
    v[0] += v[3]; v[3] = fg_rotate(v[3], 21); v[3] ^= v[0];
    v[2] += v[1]; v[1] = fg_rotate(v[1], 17); v[1] ^= v[2]; v[2] = fg_rotate(v[2], 32);
}

static inline uint64_t hash_bytes(const void *bytes, size_t length, uint64_t k0, uint64_t k1) {
    const uint8_t *at = (const uint8_t *)bytes;
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL,
                     k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
    uint64_t word;
    size_t left = length;
    for (; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);   /* little-endian machines, as Linux runs on */
        v[3] ^= word;
        fg_sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)at[i] << (8 * i);
    v[3] ^= word;
    fg_sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        fg_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint64_t hash_u64(uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

#endif
