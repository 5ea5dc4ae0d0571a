/*
 * The pipeline without Node: order, failures, and an end in the middle of everything, for sanitizers to look at.
 * It must not leave a file or a thread. With PLANTED_RACE it reads what only the lock protects: a race to be seen.
 */
#define _GNU_SOURCE
#include "../pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { JOBS = 4000, BYTES = 64 };

/* What is given as the number that is to be finished: it cannot be. */
static const uint8_t UNFINISHABLE = 255;
static sem_t told;

static bool finish(void *context, job *each)
{
    (void)context;
    if (each->bytes[0] == UNFINISHABLE)
        return false;
    memset(each->bytes + 1, each->bytes[0], BYTES - 1);
    return true;
}

static void ready(void *context)
{
    (void)context;
    sem_post(&told);
}

static void expect(bool holds, const char *what, long at)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %ld\n", what, at);
    exit(1);
}

static job *new_job(int fd, long number, uint8_t first)
{
    job *each = calloc(1, sizeof *each);
    uint8_t *bytes = calloc(1, BYTES);
    expect(each != NULL && bytes != NULL, "no memory", number);
    bytes[0] = first;
    *each = (job){.bytes = bytes, .length = BYTES, .at = number * BYTES, .fd = fd};
    return each;
}

static void drop(job *each)
{
    free(each->bytes);
    free(each);
}

/* Waits for the next ones that are done. */
static job *next_done(pipeline *line)
{
    for (;;) {
        job *first = pipeline_take_done(line);
        if (first != NULL)
            return first;
        sem_wait(&told);
    }
}

static void writes_in_order(int fd)
{
    pipeline line;
    expect(pipeline_start(&line, (pipeline_calls){finish, ready, NULL}), "no threads", 0);
    long given = 0, done = 0;
    while (done < JOBS) {
        for (int more = 0; more < 37 && given < JOBS; more++, given++)
            pipeline_give(&line, new_job(fd, given, (uint8_t)(given % 251)));
#ifdef PLANTED_RACE
        while (*(job *volatile *)&line.done_first == NULL)
            ;
#endif
        for (job *each = next_done(&line); each != NULL; done++) {
            job *next = each->next;
            expect(each->error == 0 && each->at == done * BYTES, "not in its order", done);
            expect(each->bytes[BYTES - 1] == done % 251, "written before it was finished", done);
            drop(each);
            each = next;
        }
    }
    expect(pipeline_end(&line) == NULL, "something is left", 0);
    for (long at = 0; at < JOBS; at++) {
        uint8_t bytes[BYTES];
        expect(pread(fd, bytes, BYTES, at * BYTES) == BYTES && bytes[0] == at % 251 && bytes[BYTES - 1] == at % 251,
               "something else in the file", at);
    }
    puts("ok writes-in-order");
}

/* Four jobs, of which the second fails: errors in their order. */
static void fails(pipeline *line, int fd, int bad_fd, uint8_t bad_first, int error)
{
    const int expected[] = {0, error, ECANCELED, ECANCELED};
    for (long at = 0; at < 4; at++)
        pipeline_give(line, new_job(at == 1 ? bad_fd : fd, at, at == 1 ? bad_first : (uint8_t)(10 + at)));
    for (long at = 0; at < 4;) {
        for (job *each = next_done(line); each != NULL; at++) {
            job *next = each->next;
            expect(each->error == expected[at], "another error", each->error);
            drop(each);
            each = next;
        }
    }
    pipeline_resume(line);
}

static void stops_at_a_failure(int fd)
{
    pipeline line;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    expect(full >= 0 && ftruncate(fd, 0) == 0, "no files", errno);
    expect(pipeline_start(&line, (pipeline_calls){finish, ready, NULL}), "no threads", 0);
    for (int round = 0; round < 50; round++) {
        fails(&line, fd, full, 7, ENOSPC);
        fails(&line, fd, fd, UNFINISHABLE, EIO);
    }
    expect(pipeline_end(&line) == NULL, "something is left", 0);
    expect(lseek(fd, 0, SEEK_END) == BYTES, "written behind a failure", lseek(fd, 0, SEEK_END));
    close(full);
    puts("ok stops-at-a-failure");
}

static void ends_in_the_middle(int fd)
{
    for (int round = 0; round < 200; round++) {
        pipeline line;
        expect(pipeline_start(&line, (pipeline_calls){finish, ready, NULL}), "no threads", round);
        for (long at = 0; at < 40; at++)
            pipeline_give(&line, new_job(fd, at, 3));
        long back = 0;
        for (job *each = round % 3 == 0 ? next_done(&line) : NULL; each != NULL; back++) {
            job *next = each->next;
            drop(each);
            each = next;
        }
        for (job *each = pipeline_end(&line); each != NULL; back++) {
            job *next = each->next;
            drop(each);
            each = next;
        }
        expect(back == 40, "not all given back", back);
    }
    puts("ok ends-in-the-middle");
}

int main(void)
{
    int fd = memfd_create("pipeline", MFD_CLOEXEC);
    expect(fd >= 0 && sem_init(&told, 0, 0) == 0, "no file", errno);
    writes_in_order(fd);
    stops_at_a_failure(fd);
    ends_in_the_middle(fd);
    close(fd);
    return 0;
}
