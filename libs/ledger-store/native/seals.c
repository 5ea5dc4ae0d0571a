/*
 * The Node addon that seals personal fields and hashes entries: the same bytes as @kedge/ledger makes, at a fraction of
 * what a call through node:crypto costs.
 *
 * It must stay thin: what it is given was checked in TypeScript, and what is checked again here is only what memory
 * safety hangs on. SHA-256 and AES are OpenSSL's, as the process has them; no state but the contexts of one environment,
 * so that it works in any number of worker threads.
 */
#define NAPI_VERSION 8
#include <node_api.h>

#include "base64.h"
#include "openssl.h"
#include "writer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EVP_CTRL_AEAD_GET_TAG 0x10

enum {
    HASH = 32,
    BLOCK = 64,
    NONCE = 12,
    TAG = 16,
    PADDING = 32,
    KEYS = 64, /* sealing key, then the key of the nonces */
    PLACE_MAX = 1024,
    VALUE_MAX = 4096,
    PLAIN_MAX = VALUE_MAX + PADDING,
    SEALED_MAX = NONCE + PLAIN_MAX + TAG,
};

typedef struct {
    EVP_MD *sha256;
    EVP_MD_CTX *hash;
    EVP_CIPHER *aes;
    EVP_CIPHER_CTX *cipher;
} contexts;

static napi_value fail(napi_env env, const char *message)
{
    napi_throw_error(env, "LEDGER_ADDON", message);
    return NULL;
}

static contexts *contexts_of(napi_env env)
{
    void *found = NULL;
    return napi_get_instance_data(env, &found) == napi_ok ? found : NULL;
}

/* The bytes of a Uint8Array; NULL for anything else. */
static uint8_t *bytes_of(napi_env env, napi_value value, size_t *length)
{
    napi_typedarray_type type;
    void *data = NULL;
    if (napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL) != napi_ok || type != napi_uint8_array)
        return NULL;
    return data;
}

static int hash_of(contexts *in, uint8_t first, const void *a, size_t a_length, const void *b, size_t b_length,
                   uint8_t out[HASH])
{
    return EVP_DigestInit_ex(in->hash, NULL, NULL) && EVP_DigestUpdate(in->hash, &first, 1) &&
           EVP_DigestUpdate(in->hash, a, a_length) && (b_length == 0 || EVP_DigestUpdate(in->hash, b, b_length)) &&
           EVP_DigestFinal_ex(in->hash, out, NULL);
}

/* HMAC-SHA256 (RFC 2104) under a key of 32 bytes. */
static int hmac_of(contexts *in, const uint8_t key[HASH], const void *a, size_t a_length, const void *b,
                   size_t b_length, uint8_t out[HASH])
{
    uint8_t pad[BLOCK], inner[HASH];
    memset(pad, 0x36, BLOCK);
    for (size_t at = 0; at < HASH; at++)
        pad[at] ^= key[at];
    int done = EVP_DigestInit_ex(in->hash, NULL, NULL) && EVP_DigestUpdate(in->hash, pad, BLOCK) &&
               EVP_DigestUpdate(in->hash, a, a_length) && EVP_DigestUpdate(in->hash, b, b_length) &&
               EVP_DigestFinal_ex(in->hash, inner, NULL);
    for (size_t at = 0; at < BLOCK; at++)
        pad[at] ^= 0x36 ^ 0x5c;
    done = done && EVP_DigestInit_ex(in->hash, NULL, NULL) && EVP_DigestUpdate(in->hash, pad, BLOCK) &&
           EVP_DigestUpdate(in->hash, inner, HASH) && EVP_DigestFinal_ex(in->hash, out, NULL);
    OPENSSL_cleanse(pad, BLOCK);
    return done;
}

/* seal(value, keys, place): the text of the sealed value; undefined where value or place is too long for here. */
static napi_value seal(napi_env env, napi_callback_info info)
{
    size_t count = 3, key_length = 0, value_length = 0, place_length = 0;
    napi_value given[3], result;
    contexts *in = contexts_of(env);
    uint8_t plain[PLAIN_MAX], bytes[SEALED_MAX], nonce[HASH];
    char place[PLACE_MAX + 4], text[BASE64_LENGTH(SEALED_MAX)];
    if (in == NULL || napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 3)
        return fail(env, "seal takes a value, keys and a place");
    const uint8_t *keys = bytes_of(env, given[1], &key_length);
    if (keys == NULL || key_length != KEYS ||
        napi_get_value_string_utf8(env, given[0], (char *)plain + 2, VALUE_MAX - 2, &value_length) != napi_ok ||
        napi_get_value_string_utf8(env, given[2], place, sizeof place, &place_length) != napi_ok)
        return fail(env, "seal takes two texts and 64 bytes of keys");
    /* A text that was cut fills its room but for the bytes of a last character. */
    if (value_length >= VALUE_MAX - 8 || place_length >= PLACE_MAX) {
        OPENSSL_cleanse(plain, sizeof plain);
        return napi_get_undefined(env, &result) == napi_ok ? result : NULL;
    }
    plain[0] = (uint8_t)(value_length >> 8);
    plain[1] = (uint8_t)value_length;
    size_t length = (2 + value_length + PADDING - 1) / PADDING * PADDING;
    memset(plain + 2 + value_length, 0, length - 2 - value_length);
    int part = 0, rest = 0;
    int done = hmac_of(in, keys + HASH, place, place_length, plain, length, nonce) &&
               EVP_EncryptInit_ex(in->cipher, NULL, NULL, keys, nonce) &&
               EVP_EncryptUpdate(in->cipher, NULL, &part, (const uint8_t *)place, (int)place_length) &&
               EVP_EncryptUpdate(in->cipher, bytes + NONCE, &part, plain, (int)length) && part == (int)length &&
               EVP_EncryptFinal_ex(in->cipher, bytes + NONCE + length, &rest) && rest == 0 &&
               EVP_CIPHER_CTX_ctrl(in->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, bytes + NONCE + length);
    OPENSSL_cleanse(plain, 2 + value_length);
    if (!done)
        return fail(env, "the cipher failed");
    memcpy(bytes, nonce, NONCE);
    size_t end = base64_of(bytes, NONCE + length + TAG, text);
    return napi_create_string_latin1(env, text, end, &result) == napi_ok ? result : NULL;
}

/* hashLeaf(entry, out) */
static napi_value hash_leaf(napi_env env, napi_callback_info info)
{
    size_t count = 2, length = 0, room = 0;
    napi_value given[2];
    contexts *in = contexts_of(env);
    if (in == NULL || napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 2)
        return fail(env, "hashLeaf takes an entry and room for its hash");
    const uint8_t *entry = bytes_of(env, given[0], &length);
    uint8_t *out = bytes_of(env, given[1], &room);
    if (entry == NULL || out == NULL || room != HASH || !hash_of(in, 0, entry, length, NULL, 0, out))
        return fail(env, "hashLeaf takes bytes, and room for 32");
    return NULL;
}

/* hashPair(left, right, out) */
static napi_value hash_pair(napi_env env, napi_callback_info info)
{
    size_t count = 3, left_length = 0, right_length = 0, room = 0;
    napi_value given[3];
    contexts *in = contexts_of(env);
    if (in == NULL || napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 3)
        return fail(env, "hashPair takes two hashes and room for one");
    const uint8_t *left = bytes_of(env, given[0], &left_length);
    const uint8_t *right = bytes_of(env, given[1], &right_length);
    uint8_t *out = bytes_of(env, given[2], &room);
    if (left == NULL || right == NULL || out == NULL || left_length != HASH || right_length != HASH || room != HASH ||
        !hash_of(in, 1, left, HASH, right, HASH, out))
        return fail(env, "hashPair takes two hashes of 32 bytes, and room for one");
    return NULL;
}

static void let_go(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    contexts *in = data;
    EVP_CIPHER_CTX_free(in->cipher);
    EVP_CIPHER_free(in->aes);
    EVP_MD_CTX_free(in->hash);
    EVP_MD_free(in->sha256);
    free(in);
}

NAPI_MODULE_INIT()
{
    static const struct {
        const char *name;
        napi_callback call;
    } CALLS[] = {{"seal", seal},
                 {"hashLeaf", hash_leaf},
                 {"hashPair", hash_pair},
                 {"startWriter", writer_start},
                 {"finish", writer_finish},
                 {"write", writer_write},
                 {"resume", writer_resume},
                 {"stopWriter", writer_stop}};
    contexts *in = calloc(1, sizeof *in);
    if (in == NULL)
        return fail(env, "no memory");
    in->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    in->hash = EVP_MD_CTX_new();
    in->aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    in->cipher = EVP_CIPHER_CTX_new();
    if (in->sha256 == NULL || in->hash == NULL || in->aes == NULL || in->cipher == NULL ||
        !EVP_DigestInit_ex(in->hash, in->sha256, NULL) || !EVP_EncryptInit_ex(in->cipher, in->aes, NULL, NULL, NULL) ||
        napi_set_instance_data(env, in, let_go, NULL) != napi_ok) {
        let_go(env, in, NULL);
        return fail(env, "the process has no SHA-256 or AES-256-GCM");
    }
    for (size_t at = 0; at < sizeof CALLS / sizeof *CALLS; at++) {
        napi_value call;
        if (napi_create_function(env, CALLS[at].name, NAPI_AUTO_LENGTH, CALLS[at].call, NULL, &call) != napi_ok ||
            napi_set_named_property(env, exports, CALLS[at].name, call) != napi_ok)
            return fail(env, "the addon could not be made");
    }
    return exports;
}
