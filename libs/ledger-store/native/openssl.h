/*
 * Of OpenSSL 3 and zlib, which the process brings: what is used of them, so that no other copy's headers are needed.
 * It must not declare anything that nobody here calls.
 */
#ifndef KEDGE_LEDGER_OPENSSL_H
#define KEDGE_LEDGER_OPENSSL_H
#include <stddef.h>

typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
extern EVP_MD_CTX *EVP_MD_CTX_new(void);
extern void EVP_MD_CTX_free(EVP_MD_CTX *);
extern EVP_MD *EVP_MD_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_MD_free(EVP_MD *);
extern int EVP_DigestInit_ex(EVP_MD_CTX *, const EVP_MD *, void *engine);
extern int EVP_DigestUpdate(EVP_MD_CTX *, const void *, size_t);
extern int EVP_DigestFinal_ex(EVP_MD_CTX *, unsigned char *, unsigned int *);
extern EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *);
extern int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *, int type, int argument, void *pointer);
extern EVP_CIPHER *EVP_CIPHER_fetch(void *library, const char *algorithm, const char *properties);
extern void EVP_CIPHER_free(EVP_CIPHER *);
extern int EVP_EncryptInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *engine, const unsigned char *key,
                              const unsigned char *nonce);
extern int EVP_EncryptUpdate(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
extern int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *, unsigned char *, int *);
extern void OPENSSL_cleanse(void *, size_t);

typedef struct evp_pkey_st EVP_PKEY;
#define EVP_PKEY_ED25519 1087
extern EVP_PKEY *EVP_PKEY_new_raw_private_key(int type, void *engine, const unsigned char *key, size_t length);
extern void EVP_PKEY_free(EVP_PKEY *);
extern int EVP_DigestSignInit(EVP_MD_CTX *, void **context, const EVP_MD *, void *engine, EVP_PKEY *);
extern int EVP_DigestSign(EVP_MD_CTX *, unsigned char *signature, size_t *signature_length, const unsigned char *,
                          size_t);

extern unsigned long crc32(unsigned long crc, const unsigned char *, unsigned int length);

#endif
