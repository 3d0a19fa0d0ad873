/* SPDX-License-Identifier: MIT
 * Numbers as decimal text and back, eight digits at a time in one word: neighbours are cut apart, or put together, in pairs, then
 * pairs of pairs. The way is known as SWAR (Mula, Lemire). */
#ifndef FASTGEAR_DIGITS_H
#define FASTGEAR_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_DIGITS 20           /* of a uint64_t */
#define DIGITS_EIGHT 100000000u /* what eight digits cannot say any more */

/* The digits of a number below DIGITS_EIGHT, leading zeros too, the first in the lowest byte; not yet characters. */
static inline uint64_t fg_eight_digits(uint32_t value) {
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007fULL;
    uint64_t pairs = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = ((pairs * 103) >> 10) & 0x000f000f000f000fULL;
    return tens | (pairs - 10 * tens) << 8;
}

/* Exactly eight digits of a number below DIGITS_EIGHT. */
static inline void digits_write_eight(uint8_t *to, uint32_t value) {
    uint64_t text = fg_eight_digits(value) + 0x3030303030303030ULL;
    memcpy(to, &text, 8);       /* little-endian machines, as Linux runs on */
}

/* Without leading zeros; eight bytes are written whatever the length. */
static inline size_t fg_put_first(uint8_t *to, uint32_t value) {
    uint64_t digits = fg_eight_digits(value);
    int zeros = digits ? __builtin_ctzll(digits) / 8 : 7;
    digits = (digits + 0x3030303030303030ULL) >> (8 * zeros);
    memcpy(to, &digits, 8);
    return 8 - zeros;
}

/* Write value in decimal and return the number of digits; there must be room for MAX_DIGITS of them, whatever the value. */
static inline size_t digits_write(uint8_t *to, uint64_t value) {
    size_t length;
    if (value < DIGITS_EIGHT)
        return fg_put_first(to, (uint32_t)value);
    length = value / DIGITS_EIGHT < DIGITS_EIGHT ? fg_put_first(to, (uint32_t)(value / DIGITS_EIGHT)) : digits_write(to, value / DIGITS_EIGHT);
    digits_write_eight(to + length, (uint32_t)(value % DIGITS_EIGHT));
    return length + 8;
}

/* Exactly eight digits. 0: they are something else. */
static inline int digits_read_eight(const uint8_t *from, uint64_t *value) {
    uint64_t text;
    memcpy(&text, from, 8);
    if (((text & (text + 0x0606060606060606ULL)) & 0xf0f0f0f0f0f0f0f0ULL) != 0x3030303030303030ULL)
        return 0;
    text = (text & 0x0f0f0f0f0f0f0f0fULL) * 2561 >> 8;
    text = (text & 0x00ff00ff00ff00ffULL) * 6553601 >> 16;
    *value = (text & 0x0000ffff0000ffffULL) * 42949672960001ULL >> 32;
    return 1;
}

/* Read a number of up to 19 digits and nothing else. 0: it is something else; -> value is undefined then. */
static inline int digits_read(const uint8_t *from, size_t length, uint64_t *value) {
    uint64_t eight, sum = 0;
    if (length == 0 || length > 19)
        return 0;
    for (; length >= 8; length -= 8, from += 8) {
        if (!digits_read_eight(from, &eight))
            return 0;
        sum = sum * DIGITS_EIGHT + eight;
    }
    for (; length > 0; length--, from++) {
        if (*from < '0' || *from > '9')
            return 0;
        sum = sum * 10 + (*from - '0');
    }
    *value = sum;
    return 1;
}

#endif
