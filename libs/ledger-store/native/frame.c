/*
 * A frame's last two steps: its checkpoint is signed by OpenSSL's Ed25519, then its CRC is written.
 * It must not be used by two threads with one signer, nor look at what a frame says.
 */
#include "frame.h"

#include "base64.h"
#include "openssl.h"

#include <stdlib.h>
#include <string.h>

/* A frame's head: magic, bytes of the body, index of the first entry, CRC over all but itself. Little-endian, as every
 * machine is that this is built for. */
enum { LENGTH_AT = 4, CRC_AT = 16, HEAD = 20, SIGNATURE_BYTES = 64 };
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "frames are written as they lie in memory"
#endif

struct frame_signer {
    EVP_PKEY *key;
    EVP_MD_CTX *context;
    uint8_t signed_by[FRAME_KEY_ID + SIGNATURE_BYTES];
};
_Static_assert(BASE64_LENGTH(FRAME_KEY_ID + SIGNATURE_BYTES) == FRAME_SIGNATURE, "key id and signature as text");

frame_signer *frame_signer_new(const uint8_t secret[FRAME_SECRET], const uint8_t key_id[FRAME_KEY_ID])
{
    frame_signer *signer = calloc(1, sizeof *signer);
    if (signer == NULL)
        return NULL;
    signer->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, FRAME_SECRET);
    signer->context = EVP_MD_CTX_new();
    memcpy(signer->signed_by, key_id, FRAME_KEY_ID);
    if (signer->key == NULL || signer->context == NULL) {
        frame_signer_free(signer);
        return NULL;
    }
    return signer;
}

void frame_signer_free(frame_signer *signer)
{
    if (signer == NULL)
        return;
    EVP_MD_CTX_free(signer->context);
    EVP_PKEY_free(signer->key);
    free(signer);
}

static size_t frame_length(const uint8_t *bytes)
{
    uint32_t body;
    memcpy(&body, bytes + LENGTH_AT, sizeof body);
    return (size_t)HEAD + body;
}

bool frame_has_room(const uint8_t *bytes, size_t length, size_t signature_at)
{
    if (length < HEAD || frame_length(bytes) > length)
        return false;
    return signature_at >= HEAD && signature_at <= frame_length(bytes) &&
           frame_length(bytes) - signature_at >= FRAME_SIGNATURE;
}

bool frame_finish(frame_signer *signer, uint8_t *bytes, const void *text, size_t text_length, size_t signature_at)
{
    size_t signature_length = SIGNATURE_BYTES;
    /* A context signs one text. */
    if (!EVP_DigestSignInit(signer->context, NULL, NULL, NULL, signer->key) ||
        !EVP_DigestSign(signer->context, signer->signed_by + FRAME_KEY_ID, &signature_length, text, text_length) ||
        signature_length != SIGNATURE_BYTES)
        return false;
    base64_of(signer->signed_by, sizeof signer->signed_by, (char *)bytes + signature_at);
    unsigned long head = crc32(0, bytes, CRC_AT);
    uint32_t crc = (uint32_t)crc32(head, bytes + HEAD, (unsigned int)(frame_length(bytes) - HEAD));
    memcpy(bytes + CRC_AT, &crc, sizeof crc);
    return true;
}
