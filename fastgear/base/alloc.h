/* SPDX-License-Identifier: MIT
 * Counting and failing of allocations, in debug builds only. Several loops may run in one process, hence the atomics. */
#ifndef FASTGEAR_ALLOC_H
#define FASTGEAR_ALLOC_H

/* Under AddressSanitizer nothing is kept to be used again: it sees who uses what was given back. */
#ifdef __SANITIZE_ADDRESS__
#define FG_KEEPS 0
#else
#define FG_KEEPS 1
#endif

#ifdef FG_DEBUG
#define FG_COUNTING 1
static long fg_live = 0;        /* allocated and not freed */
static long fg_countdown = -1;  /* this many more allocations succeed before one fails; below 0: none fails */
#define fg_note_alloc(memory) do { if (memory) __atomic_add_fetch(&fg_live, 1, __ATOMIC_RELAXED); } while (0)
#define fg_note_free(memory) do { if (memory) __atomic_sub_fetch(&fg_live, 1, __ATOMIC_RELAXED); } while (0)
static inline int fg_must_fail(void) {
    if (__atomic_load_n(&fg_countdown, __ATOMIC_RELAXED) < 0)
        return 0;
    return __atomic_fetch_sub(&fg_countdown, 1, __ATOMIC_RELAXED) == 0;
}
static inline long fg_live_count(void) { return __atomic_load_n(&fg_live, __ATOMIC_RELAXED); }
static inline long fg_set_countdown(long n) { return __atomic_exchange_n(&fg_countdown, n, __ATOMIC_RELAXED); }
#else
#define FG_COUNTING 0
#define fg_note_alloc(memory) ((void)0)
#define fg_note_free(memory) ((void)0)
#define fg_must_fail() 0
#define fg_live_count() 0L
#define fg_set_countdown(n) ((void)(n), -1L)
#endif

#endif
