/*
 * A thread that writes: what it is given goes to the disk one after the other, and the next one begins when the one
 * before it has ended, without a turn of the event loop between them.
 *
 * It must not write anything after a write that failed, before it is told to go on: what was given behind it is given
 * back as canceled. Descriptors are the caller's; opened with O_DSYNC, so that a write that has ended is durable.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include "writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct job {
    struct job *next;
    napi_ref held; /* keeps the bytes */
    const uint8_t *bytes;
    size_t length;
    off_t at;
    int fd;
    int error;
} job;

typedef struct {
    job *first, *last;
} line;

typedef struct {
    napi_threadsafe_function tell;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under the lock. */
    line given, done;
    bool stops, halted;
    /* Of the thread of the environment. */
    size_t under_way;
    int owners; /* the object that wraps it, and the function that is told */
    bool ended;
} writer;

static const napi_type_tag TAG = {0x9d1f6c5be2b04f5du, 0xa3c27f60915d84e1u};

static napi_value fail(napi_env env, const char *message)
{
    napi_throw_error(env, "LEDGER_ADDON", message);
    return NULL;
}

static void put(line *in, job *each)
{
    each->next = NULL;
    if (in->first == NULL)
        in->first = each;
    else
        in->last->next = each;
    in->last = each;
}

static int written(const job *each)
{
    for (size_t done = 0; done < each->length;) {
        ssize_t got = pwrite(each->fd, each->bytes + done, each->length - done, each->at + (off_t)done);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            return EIO;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static void *work(void *data)
{
    writer *self = data;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (self->given.first == NULL && !self->stops)
            pthread_cond_wait(&self->wake, &self->lock);
        job *each = self->given.first;
        if (self->stops || each == NULL)
            break;
        self->given.first = each->next;
        if (self->halted) {
            each->error = ECANCELED;
        } else {
            pthread_mutex_unlock(&self->lock);
            each->error = written(each);
            pthread_mutex_lock(&self->lock);
            self->halted = each->error != 0;
        }
        bool is_first = self->done.first == NULL;
        put(&self->done, each);
        if (is_first)
            napi_call_threadsafe_function(self->tell, NULL, napi_tsfn_nonblocking);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* On the thread of the environment: tells of each write that has ended, in their order, by its errno. */
static void tell(napi_env env, napi_value callback, void *context, void *data)
{
    (void)data;
    writer *self = context;
    pthread_mutex_lock(&self->lock);
    job *each = self->done.first;
    self->done.first = NULL;
    pthread_mutex_unlock(&self->lock);
    while (each != NULL) {
        job *next = each->next;
        int error = each->error;
        if (env != NULL)
            napi_delete_reference(env, each->held);
        free(each);
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
    pthread_mutex_lock(&self->lock);
    self->stops = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
}

static void drop(napi_env env, writer *self)
{
    if (--self->owners > 0)
        return;
    line *lines[] = {&self->given, &self->done};
    for (size_t at = 0; at < sizeof lines / sizeof *lines; at++) {
        for (job *each = lines[at]->first; each != NULL;) {
            job *next = each->next;
            napi_delete_reference(env, each->held);
            free(each);
            each = next;
        }
    }
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
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

/* startWriter(told): a thread that has begun; told(errno) is called once for each write, in their order. */
napi_value writer_start(napi_env env, napi_callback_info info)
{
    size_t count = 1;
    napi_value callback, name, object;
    if (napi_get_cb_info(env, info, &count, &callback, NULL, NULL) != napi_ok || count != 1)
        return fail(env, "startWriter takes a function");
    writer *self = calloc(1, sizeof *self);
    if (self == NULL)
        return fail(env, "no memory");
    self->owners = 1;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    if (napi_create_string_utf8(env, "ledger writer", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_object(env, &object) != napi_ok ||
        napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, self, let_go, self, tell, &self->tell) !=
            napi_ok) {
        free(self);
        return fail(env, "startWriter takes a function");
    }
    napi_unref_threadsafe_function(env, self->tell);
    /* Signals are for the other threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&self->thread, NULL, work, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
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

/* write(writer, fd, bytes, at): takes its turn; the bytes must stay as they are until it was told. */
napi_value writer_write(napi_env env, napi_callback_info info)
{
    size_t count = 4, length = 0;
    napi_value given[4];
    napi_typedarray_type type;
    void *bytes = NULL;
    int32_t fd = -1;
    int64_t at = -1;
    if (napi_get_cb_info(env, info, &count, given, NULL, NULL) != napi_ok || count != 4)
        return fail(env, "write takes a writer, a descriptor, bytes and a place");
    writer *self = writer_of(env, given[0]);
    if (self == NULL || napi_get_value_int32(env, given[1], &fd) != napi_ok || fd < 0 ||
        napi_get_typedarray_info(env, given[2], &type, &length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array || napi_get_value_int64(env, given[3], &at) != napi_ok || at < 0)
        return fail(env, "write takes a writer that runs, a descriptor, bytes and a place");
    job *each = calloc(1, sizeof *each);
    if (each == NULL || napi_create_reference(env, given[2], 1, &each->held) != napi_ok) {
        free(each);
        return fail(env, "no memory");
    }
    each->bytes = bytes;
    each->length = length;
    each->at = (off_t)at;
    each->fd = fd;
    /* A process does not end while something is being written. */
    if (self->under_way++ == 0)
        napi_ref_threadsafe_function(env, self->tell);
    pthread_mutex_lock(&self->lock);
    put(&self->given, each);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* resume(writer): goes on after a failure that was dealt with. */
napi_value writer_resume(napi_env env, napi_callback_info info)
{
    size_t count = 1;
    napi_value given;
    writer *self = NULL;
    if (napi_get_cb_info(env, info, &count, &given, NULL, NULL) == napi_ok && count == 1)
        self = writer_of(env, given);
    if (self == NULL)
        return fail(env, "resume takes a writer that runs");
    pthread_mutex_lock(&self->lock);
    self->halted = false;
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* stopWriter(writer): ends the thread; nothing is told any more. */
napi_value writer_stop(napi_env env, napi_callback_info info)
{
    size_t count = 1;
    napi_value given;
    writer *self = NULL;
    if (napi_get_cb_info(env, info, &count, &given, NULL, NULL) == napi_ok && count == 1)
        self = writer_of(env, given);
    if (self == NULL)
        return fail(env, "stopWriter takes a writer that runs");
    void *removed;
    if (napi_remove_wrap(env, given, &removed) != napi_ok)
        return fail(env, "stopWriter takes a writer that runs");
    finalize(env, self, NULL);
    return NULL;
}
