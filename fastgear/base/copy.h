/* SPDX-License-Identifier: MIT
 * memcpy for what is mostly short: names, handles, small workloads. Two moves that may overlap, and no call. */
#ifndef FASTGEAR_COPY_H
#define FASTGEAR_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FG_BOTH_ENDS(size)                                                     \
    do {                                                                       \
        struct { uint8_t bytes[size]; } first, last;                           \
        memcpy(&first, from, size);                                            \
        memcpy(&last, (const uint8_t *)from + length - size, size);            \
        memcpy(to, &first, size);                                              \
        memcpy((uint8_t *)to + length - size, &last, size);                    \
    } while (0)

/* The length may be 0, and `from` NULL then. */
static inline void copy_bytes(void *to, const void *from, size_t length) {
    if (length > 32)
        memcpy(to, from, length);
    else if (length >= 16)
        FG_BOTH_ENDS(16);
    else if (length >= 8)
        FG_BOTH_ENDS(8);
    else if (length >= 4)
        FG_BOTH_ENDS(4);
    else
        for (size_t i = 0; i < length; i++)
            ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}

#endif
