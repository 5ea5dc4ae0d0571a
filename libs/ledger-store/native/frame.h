/*
 * What a frame lacks when it leaves the event loop: the signature of its checkpoint, and the CRC over it all.
 * It must not know the rest of a frame: that is wal-frame.ts's.
 */
#ifndef KEDGE_LEDGER_FRAME_H
#define KEDGE_LEDGER_FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_SECRET = 32,    /* Ed25519, as RFC 8032 calls the private key */
    FRAME_KEY_ID = 4,     /* of a signed note, as its bytes stand before a signature */
    FRAME_SIGNATURE = 92, /* characters: key id and signature */
};

/* A key with its id. Of one thread at a time. */
typedef struct frame_signer frame_signer;

/* NULL without memory or without Ed25519. */
frame_signer *frame_signer_new(const uint8_t secret[FRAME_SECRET], const uint8_t key_id[FRAME_KEY_ID]);
void frame_signer_free(frame_signer *signer);

/* True where a frame starts the bytes, and has room for a signature there. */
bool frame_has_room(const uint8_t *bytes, size_t length, size_t signature_at);

/* Signs the text into a frame that has room for it, then writes the CRC. False where OpenSSL fails. */
bool frame_finish(frame_signer *signer, uint8_t *bytes, const void *text, size_t text_length, size_t signature_at);

#endif
