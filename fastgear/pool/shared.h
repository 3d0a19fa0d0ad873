/* SPDX-License-Identifier: MIT
 * Words of memory that two processes share. */
#ifndef FASTGEAR_POOL_SHARED_H
#define FASTGEAR_POOL_SHARED_H

#include <stdint.h>

static inline uint64_t shared_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

static inline void shared_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

/* Put `to` where `from` is; 0 when something else is there. */
static inline int shared_swap(uint64_t *word, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint64_t shared_or(uint64_t *word, uint64_t bits) { return __atomic_fetch_or(word, bits, __ATOMIC_ACQ_REL); }

static inline uint64_t shared_and(uint64_t *word, uint64_t bits) { return __atomic_fetch_and(word, bits, __ATOMIC_ACQ_REL); }

static inline uint64_t shared_add(uint64_t *word, uint64_t number) { return __atomic_fetch_add(word, number, __ATOMIC_ACQ_REL); }

#endif
