/*
 * See pipeline.h. It must not hold its lock while something is finished, written or told.
 */
#define _GNU_SOURCE
#include "pipeline.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static void put(job **first, job **last, job *each)
{
    each->next = NULL;
    if (*first == NULL)
        *first = each;
    else
        (*last)->next = each;
    *last = each;
}

/* The next of a stage, under the lock; NULL where it is to end. */
static job *next_of(pipeline *self, pipeline_stage *of)
{
    while (of->first == NULL && !self->stops)
        pthread_cond_wait(&of->wake, &self->lock);
    if (self->stops)
        return NULL;
    job *each = of->first;
    of->first = each->next;
    return each;
}

static void *finish_jobs(void *data)
{
    pipeline *self = data;
    pthread_mutex_lock(&self->lock);
    for (job *each; (each = next_of(self, &self->finish)) != NULL;) {
        pthread_mutex_unlock(&self->lock);
        each->error = self->calls.finish(self->calls.context, each) ? 0 : EIO;
        pthread_mutex_lock(&self->lock);
        put(&self->write.first, &self->write.last, each);
        pthread_cond_signal(&self->write.wake);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
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

static void *write_jobs(void *data)
{
    pipeline *self = data;
    pthread_mutex_lock(&self->lock);
    for (job *each; (each = next_of(self, &self->write)) != NULL;) {
        if (self->halted) {
            each->error = ECANCELED;
        } else {
            pthread_mutex_unlock(&self->lock);
            if (each->error == 0)
                each->error = written(each);
            pthread_mutex_lock(&self->lock);
            self->halted = each->error != 0;
        }
        bool is_first = self->done_first == NULL;
        put(&self->done_first, &self->done_last, each);
        if (is_first) {
            pthread_mutex_unlock(&self->lock);
            self->calls.ready(self->calls.context);
            pthread_mutex_lock(&self->lock);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void stop(pipeline *self)
{
    pthread_mutex_lock(&self->lock);
    self->stops = true;
    pthread_cond_signal(&self->finish.wake);
    pthread_cond_signal(&self->write.wake);
    pthread_mutex_unlock(&self->lock);
}

static void destroy(pipeline *self)
{
    pthread_cond_destroy(&self->finish.wake);
    pthread_cond_destroy(&self->write.wake);
    pthread_mutex_destroy(&self->lock);
}

bool pipeline_start(pipeline *self, pipeline_calls calls)
{
    *self = (pipeline){.calls = calls};
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->finish.wake, NULL);
    pthread_cond_init(&self->write.wake, NULL);
    /* Signals are for the other threads of the process. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_begun = pthread_create(&self->finish.thread, NULL, finish_jobs, self) == 0;
    bool are_both = is_begun && pthread_create(&self->write.thread, NULL, write_jobs, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (is_begun && !are_both) {
        stop(self);
        pthread_join(self->finish.thread, NULL);
    }
    if (!are_both)
        destroy(self);
    return are_both;
}

void pipeline_give(pipeline *self, job *each)
{
    pthread_mutex_lock(&self->lock);
    put(&self->finish.first, &self->finish.last, each);
    pthread_cond_signal(&self->finish.wake);
    pthread_mutex_unlock(&self->lock);
}

job *pipeline_take_done(pipeline *self)
{
    pthread_mutex_lock(&self->lock);
    job *first = self->done_first;
    self->done_first = NULL;
    pthread_mutex_unlock(&self->lock);
    return first;
}

void pipeline_resume(pipeline *self)
{
    pthread_mutex_lock(&self->lock);
    self->halted = false;
    pthread_mutex_unlock(&self->lock);
}

job *pipeline_end(pipeline *self)
{
    stop(self);
    pthread_join(self->finish.thread, NULL);
    pthread_join(self->write.thread, NULL);
    job *first = NULL, *last = NULL, *rest[] = {self->done_first, self->write.first, self->finish.first};
    for (size_t at = 0; at < sizeof rest / sizeof *rest; at++) {
        for (job *each = rest[at]; each != NULL;) {
            job *next = each->next;
            put(&first, &last, each);
            each = next;
        }
    }
    destroy(self);
    return first;
}
