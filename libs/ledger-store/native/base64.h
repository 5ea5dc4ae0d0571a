/*
 * Base64 (RFC 4648) with padding. It must not read text.
 */
#ifndef KEDGE_LEDGER_BASE64_H
#define KEDGE_LEDGER_BASE64_H
#include <stddef.h>
#include <stdint.h>

/* Characters of so many bytes. */
#define BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

static inline size_t base64_of(const uint8_t *bytes, size_t length, char *text)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t out = 0;
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        uint32_t bits = (uint32_t)bytes[at] << 16 | (left > 1 ? (uint32_t)bytes[at + 1] << 8 : 0) |
                        (left > 2 ? bytes[at + 2] : 0);
        text[out++] = DIGITS[bits >> 18];
        text[out++] = DIGITS[bits >> 12 & 63];
        text[out++] = left > 1 ? DIGITS[bits >> 6 & 63] : '=';
        text[out++] = left > 2 ? DIGITS[bits & 63] : '=';
    }
    return out;
}

#endif
