/*
 * The calls by which JavaScript has frames signed and written, each told when it is durable: a pipeline whose jobs are
 * buffers of an environment.
 * It must not let go of a buffer that a thread may touch. Descriptors are the caller's; opened with O_DSYNC, so that a
 * write that has ended is durable.
 */
#define NAPI_VERSION 8
#include "writer.h"

#include "frame.h"
#include "pipeline.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Longest text of a checkpoint: a name of 255 characters, a size and a root. */
enum { TEXT_MAX = 2048 };

/* Something to be written. */
typedef struct {
    job job; /* first: each is the other */
    napi_ref held; /* keeps the bytes */
    /* What is to be signed, and where to; no text where there is nothing to finish. */
    size_t signature_at, text_length;
    char text[];
} written_bytes;

typedef struct {
    napi_threadsafe_function tell;
    pipeline line;
    frame_signer *signer; /* of the thread that finishes */
    frame_signer *own;    /* of the thread of the environment */
    size_t under_way;
    int owners; /* the object that wraps it, and the function that is told */
    bool ended;
    job *rest; /* what was not told when it ended */
} writer;

static const napi_type_tag TAG = {0x9d1f6c5be2b04f5du, 0xa3c27f60915d84e1u};

static napi_value fail(napi_env env, const char *message)
{
    napi_throw_error(env, "LEDGER_ADDON", message);
    return NULL;
}

/* On the first thread: signs what is a frame. */
static bool finish(void *context, job *each)
{
    writer *self = context;
    written_bytes *frame = (written_bytes *)each;
    return frame->text_length == 0 ||
           frame_finish(self->signer, each->bytes, frame->text, frame->text_length, frame->signature_at);
}

/* On the second thread. */
static void ready(void *context)
{
    writer *self = context;
    napi_call_threadsafe_function(self->tell, NULL, napi_tsfn_nonblocking);
}

static void let_go_of(napi_env env, job *each)
{
    if (env != NULL)
        napi_delete_reference(env, ((written_bytes *)each)->held);
    free(each);
}

/* On the thread of the environment: tells of each write that has ended, in their order, by its errno. */
static void tell(napi_env env, napi_value callback, void *context, void *data)
{
    (void)data;
    writer *self = context;
    for (job *each = self->ended ? NULL : pipeline_take_done(&self->line); each != NULL;) {
        job *next = each->next;
        int error = each->error;
        let_go_of(env, each);
        self->under_way -= 1;
        napi_value number, none;
        if (env != NULL) {
            if (self->under_way == 0 && !self->ended)
                napi_unref_threadsafe_function(env, self->tell);
            if (napi_create_int32(env, error, &number) == napi_ok && napi_get_undefined(env, &none) == napi_ok)
                napi_call_function(env, none, callback, 1, &number, NULL);
        }
        each = next;
    }
}

/* Waits for the write that is under way; what was given behind it is not written. */
static void end(void *data)
{
    writer *self = data;
    if (self->ended)
        return;
    self->ended = true;
    self->rest = pipeline_end(&self->line);
}

static void dispose(writer *self)
{
    frame_signer_free(self->signer);
    frame_signer_free(self->own);
    free(self);
}

static void drop(napi_env env, writer *self)
{
    if (--self->owners > 0)
        return;
    for (job *each = self->rest; each != NULL;) {
        job *next = each->next;
        let_go_of(env, each);
        each = next;
    }
    dispose(self);
}

/* The function that is told is gone, and no call of it is under way. */
static void let_go(napi_env env, void *data, void *hint)
{
    (void)hint;
    drop(env, data);
}

/* The object is gone. */
static void finalize(napi_env env, void *data, void *hint)
{
    (void)hint;
    writer *self = data;
    if (!self->ended) {
        napi_remove_env_cleanup_hook(env, end, self);
        end(self);
        napi_release_threadsafe_function(self->tell, napi_tsfn_abort);
    }
    drop(env, self);
}

static writer *writer_of(napi_env env, napi_value value)
{
    bool is_one = false;
    void *found = NULL;
    if (napi_check_object_type_tag(env, value, &TAG, &is_one) != napi_ok || !is_one ||
        napi_unwrap(env, value, &found) != napi_ok)
        return NULL;
    writer *self = found;
    return self->ended ? NULL : self;
}

/* The bytes of a Uint8Array of this length; NULL for anything else. */
static uint8_t *exactly(napi_env env, napi_value value, size_t wanted)
{
    napi_typedarray_type type;
    size_t length = 0;
    void *bytes = NULL;
    if (napi_get_typedarray_info(env, value, &type, &length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array || length != wanted)
        return NULL;
    return bytes;
}

/* startWriter(told, secret, keyId): threads that have begun; told(errno) is called once for each write, in their
 * order. */
napi_value writer_start(napi_env env, napi_callback_info info)
{
    size_t count = 3;
    napi_value given[3], name, object;
    if (napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 3)
        return fail(env, "startWriter takes a function, a key and its id");
    const uint8_t *secret = exactly(env, given[1], FRAME_SECRET), *key_id = exactly(env, given[2], FRAME_KEY_ID);
    if (secret == NULL || key_id == NULL)
        return fail(env, "startWriter takes a key of 32 bytes, and its id of 4");
    writer *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(env, "no memory");
    self->owners = 1;
    self->signer = frame_signer_new(secret, key_id);
    self->own = frame_signer_new(secret, key_id);
    if (self->signer == NULL || self->own == NULL) {
        dispose(self);
        return fail(env, "the process cannot sign by Ed25519");
    }
    if (napi_create_string_utf8(env, "ledger writer", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_object(env, &object) != napi_ok ||
        napi_create_threadsafe_function(env, given[0], NULL, name, 0, 1, self, let_go, self, tell, &self->tell) !=
            napi_ok) {
        dispose(self);
        return fail(env, "startWriter takes a function");
    }
    napi_unref_threadsafe_function(env, self->tell);
    if (!pipeline_start(&self->line, (pipeline_calls){finish, ready, self})) {
        self->ended = true;
        napi_release_threadsafe_function(self->tell, napi_tsfn_abort);
        return fail(env, "no thread for the writer");
    }
    napi_add_env_cleanup_hook(env, end, self);
    self->owners = 2;
    if (napi_wrap(env, object, self, finalize, NULL, NULL) != napi_ok ||
        napi_type_tag_object(env, object, &TAG) != napi_ok) {
        finalize(env, self, NULL);
        return fail(env, "the writer could not be made");
    }
    return object;
}

/* What a call says of a frame: the text to be signed, and where its signature belongs. */
static bool signing_of(napi_env env, const napi_value given[2], const uint8_t *bytes, size_t length,
                       char text[TEXT_MAX], size_t *text_length, size_t *signature_at)
{
    int64_t at = -1;
    if (napi_get_value_string_utf8(env, given[0], text, TEXT_MAX, text_length) != napi_ok || *text_length == 0 ||
        *text_length >= TEXT_MAX - 4 || napi_get_value_int64(env, given[1], &at) != napi_ok || at < 0)
        return false;
    *signature_at = (size_t)at;
    return frame_has_room(bytes, length, *signature_at);
}

/* finish(writer, bytes, text, signatureAt): the frame is whole when it returns. */
napi_value writer_finish(napi_env env, napi_callback_info info)
{
    size_t count = 4, length = 0, text_length, signature_at;
    napi_value given[4];
    napi_typedarray_type type;
    void *bytes = NULL;
    char text[TEXT_MAX];
    writer *self = NULL;
    if (napi_get_cb_info(env, info, &count, given, NULL, NULL) == napi_ok && count == 4)
        self = writer_of(env, given[0]);
    if (self == NULL || napi_get_typedarray_info(env, given[1], &type, &length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array || !signing_of(env, given + 2, bytes, length, text, &text_length, &signature_at))
        return fail(env, "finish takes a writer that runs, a frame, a text, and the place of its signature");
    if (!frame_finish(self->own, bytes, text, text_length, signature_at))
        return fail(env, "the frame could not be signed");
    return NULL;
}

/* write(writer, fd, bytes, at, text?, signatureAt?): takes its turn; the bytes must stay as they are until it was told.
 * With a text it is a frame, which is finished first. */
napi_value writer_write(napi_env env, napi_callback_info info)
{
    size_t count = 6, length = 0, text_length = 0, signature_at = 0;
    napi_value given[6];
    napi_typedarray_type type;
    void *bytes = NULL;
    int32_t fd = -1;
    int64_t at = -1;
    char text[TEXT_MAX];
    if (napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || (count != 4 && count != 6))
        return fail(env, "write takes a writer, a descriptor, bytes and a place, and for a frame what is to be signed");
    writer *self = writer_of(env, given[0]);
    if (self == NULL || napi_get_value_int32(env, given[1], &fd) != napi_ok || fd < 0 ||
        napi_get_typedarray_info(env, given[2], &type, &length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array || napi_get_value_int64(env, given[3], &at) != napi_ok || at < 0)
        return fail(env, "write takes a writer that runs, a descriptor, bytes and a place");
    if (count == 6 && !signing_of(env, given + 4, bytes, length, text, &text_length, &signature_at))
        return fail(env, "write takes a text to be signed into a frame that has room for its signature");
    written_bytes *each = calloc(1, sizeof *each + text_length);
    if (each == NULL || napi_create_reference(env, given[2], 1, &each->held) != napi_ok) {
        free(each);
        return fail(env, "no memory");
    }
    each->job = (job){.bytes = bytes, .length = length, .at = (off_t)at, .fd = fd};
    each->signature_at = signature_at;
    each->text_length = text_length;
    memcpy(each->text, text, text_length);
    /* A process does not end while something is being written. */
    if (self->under_way++ == 0)
        napi_ref_threadsafe_function(env, self->tell);
    pipeline_give(&self->line, &each->job);
    return NULL;
}

/* The writer that a call is given, and nothing else; NULL where it is none, or has ended. */
static writer *only_argument(napi_env env, napi_callback_info info, napi_value *given)
{
    size_t count = 1;
    if (napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 1)
        return NULL;
    return writer_of(env, *given);
}

/* resume(writer): goes on after a failure that was dealt with. */
napi_value writer_resume(napi_env env, napi_callback_info info)
{
    napi_value given;
    writer *self = only_argument(env, info, &given);
    if (self == NULL)
        return fail(env, "resume takes a writer that runs");
    pipeline_resume(&self->line);
    return NULL;
}

/* stopWriter(writer): ends the threads; nothing is told any more. */
napi_value writer_stop(napi_env env, napi_callback_info info)
{
    napi_value given;
    void *removed;
    writer *self = only_argument(env, info, &given);
    if (self == NULL || napi_remove_wrap(env, given, &removed) != napi_ok)
        return fail(env, "stopWriter takes a writer that runs");
    finalize(env, self, NULL);
    return NULL;
}
