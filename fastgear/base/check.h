/* SPDX-License-Identifier: MIT
 * fg_check(condition): an invariant of ours. Aborts with file and line in debug builds, is nothing in release builds.
 * Never for input: bytes from outside are answered, not asserted. */
#ifndef FASTGEAR_CHECK_H
#define FASTGEAR_CHECK_H

#ifdef FG_DEBUG
#include <stdio.h>
#include <stdlib.h>
#define fg_check(condition)                                                                    \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "fastgear: broken invariant at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)
#else
#define fg_check(condition) ((void)0)
#endif

#endif
