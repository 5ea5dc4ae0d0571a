/*
 * Two threads in a row: one finishes what it is given, the other writes it, each in the order in which it was given. The
 * next write begins when the one before it has ended; what comes next is finished meanwhile.
 *
 * It must not write anything after a write that failed, before it is told to go on: what was given behind it comes back
 * as canceled. It must not know who gives, nor what is finished.
 */
#ifndef KEDGE_LEDGER_PIPELINE_H
#define KEDGE_LEDGER_PIPELINE_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes for a place of a file. Whoever gives it owns it before and afterwards, and does not touch it between. */
typedef struct job {
    struct job *next;
    uint8_t *bytes;
    size_t length;
    off_t at;
    int fd;
    int error; /* errno of what became of it; 0 = it is written, and durable where the descriptor is one of O_DSYNC */
} job;

typedef struct {
    /* Called by the first thread for each job: false where it cannot be finished, and then it fails with EIO. */
    bool (*finish)(void *context, job *each);
    /* Called by the second thread, under no lock, when there is something done and there was nothing before. */
    void (*ready)(void *context);
    void *context;
} pipeline_calls;

typedef struct {
    pthread_t thread;
    pthread_cond_t wake;
    job *first, *last;
} pipeline_stage;

typedef struct {
    pipeline_calls calls;
    pthread_mutex_t lock;
    /* Under the lock, but for the threads themselves. */
    pipeline_stage finish, write;
    job *done_first, *done_last;
    bool stops, halted;
} pipeline;

/* False where there are no threads to be had; nothing is left of it then. */
bool pipeline_start(pipeline *self, pipeline_calls calls);
void pipeline_give(pipeline *self, job *each);
/* What has ended since the last call, in its order, linked; NULL where nothing has. */
job *pipeline_take_done(pipeline *self);
/* Goes on after a failure that was dealt with: all that was given before it was taken. */
void pipeline_resume(pipeline *self);
/* Waits for the write that is under way, ends both threads, and gives back all that was not taken, written or not. */
job *pipeline_end(pipeline *self);

#endif
