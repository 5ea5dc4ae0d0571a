/*
 * What the YANG binding is measured against: libyang alone, doing the same with the same data.
 *
 *   yang DIRECTORY DIRECTORY BEFORE.json AFTER.json
 *
 * Reads words from its standard input and answers each with the nanoseconds that it took: "load" makes a context with
 * the modules, "parse" reads and validates BEFORE, "diff" compares BEFORE and AFTER. It parses and compares on four threads
 * in turn, as the binding does on those of libuv: the allocator gives each thread memory of its own, and where what
 * libyang needs meanwhile comes to lie decides about most of the time of a comparison. It must not count what tidies up,
 * nor what goes from thread to thread.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libyang/libyang.h>
#include <libyang/version.h>

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(int good, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "yang: %s\n", what);
  exit(1);
}

static char *text_of(const char *path)
{
  FILE *file = fopen(path, "r");
  must(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
  long length = ftell(file);
  rewind(file);
  char *text = malloc((size_t)length + 1);
  must(text != NULL && fread(text, 1, (size_t)length, file) == (size_t)length, path);
  text[length] = '\0';
  fclose(file);
  return text;
}

static struct ly_ctx *load(char **directories)
{
  static const char *const modules[] = {"ietf-interfaces", "ietf-ip", "iana-if-type"};
  const char *features[] = {"*", NULL};
  struct ly_ctx *context = NULL;
  must(ly_ctx_new(NULL, LY_CTX_DISABLE_SEARCHDIR_CWD | LY_CTX_NO_YANGLIBRARY, &context) == LY_SUCCESS, "no context");
  for (int i = 0; i < 2; i++)
    must(ly_ctx_set_searchdir(context, directories[i]) == LY_SUCCESS, directories[i]);
  for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++)
    must(ly_ctx_load_module(context, modules[i], NULL, features) != NULL, modules[i]);
  return context;
}

static struct lyd_node *parse(const struct ly_ctx *context, const char *text)
{
  struct lyd_node *tree = NULL;
  uint32_t validation = LYD_VALIDATE_NO_STATE;
#ifdef LYD_VALIDATE_MULTI_ERROR
  validation |= LYD_VALIDATE_MULTI_ERROR;
#endif
  must(lyd_parse_data_mem(context, text, LYD_JSON, LYD_PARSE_STRICT | LYD_PARSE_NO_STATE, validation, &tree) ==
           LY_SUCCESS,
       "cannot parse");
  return tree;
}

/* What is done on a thread of the pool. */
struct job {
  enum { PARSE, DIFF } kind;
  const struct ly_ctx *context;
  const char *text;
  const struct lyd_node *a, *b;
  struct lyd_node *made;
  uint64_t took_ns;
};

/* A thread of the pool: it takes what it is given, and says when it is done. */
struct worker {
  pthread_t thread;
  sem_t given, done;
  struct job *job;
};

static void *work(void *given)
{
  struct worker *self = given;
  for (;;) {
    must(sem_wait(&self->given) == 0, "no work");
    struct job *job = self->job;
    if (job == NULL)
      return NULL;
    uint64_t from = now_ns();
    if (job->kind == PARSE)
      job->made = parse(job->context, job->text);
    else
      must(lyd_diff_siblings(job->a, job->b, 0, &job->made) == LY_SUCCESS, "cannot compare");
    job->took_ns = now_ns() - from;
    must(sem_post(&self->done) == 0, "nobody waits");
  }
}

static struct worker pool[4];

/* Does a job on the next thread of the pool. */
static void run(struct job *job)
{
  static unsigned turn;
  struct worker *worker = &pool[turn++ % (sizeof(pool) / sizeof(pool[0]))];
  worker->job = job;
  must(sem_post(&worker->given) == 0 && sem_wait(&worker->done) == 0, "no work was done");
}

int main(int argc, char **argv)
{
  char word[16];
  must(argc == 5, "usage: yang DIRECTORY DIRECTORY BEFORE.json AFTER.json");
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t i = 0; i < sizeof(pool) / sizeof(pool[0]); i++)
    must(sem_init(&pool[i].given, 0, 0) == 0 && sem_init(&pool[i].done, 0, 0) == 0 &&
             pthread_create(&pool[i].thread, NULL, work, &pool[i]) == 0,
         "no thread");
  char *before = text_of(argv[3]), *after = text_of(argv[4]);
  struct ly_ctx *context = load(argv + 1);
  struct job a = {.kind = PARSE, .context = context, .text = before};
  struct job b = {.kind = PARSE, .context = context, .text = after};
  run(&a);
  run(&b);
  while (scanf("%15s", word) == 1) {
    struct job job = {.context = context};
    if (strcmp(word, "load") == 0) {
      uint64_t from = now_ns();
      struct ly_ctx *made = load(argv + 1);
      job.took_ns = now_ns() - from;
      ly_ctx_destroy(made);
    } else if (strcmp(word, "parse") == 0) {
      job.kind = PARSE;
      job.text = before;
      run(&job);
    } else {
      must(strcmp(word, "diff") == 0, "no such word");
      job.kind = DIFF;
      job.a = a.made;
      job.b = b.made;
      run(&job);
    }
    lyd_free_all(job.made);
    printf("%llu\n", (unsigned long long)job.took_ns);
  }
  for (size_t i = 0; i < sizeof(pool) / sizeof(pool[0]); i++) {
    pool[i].job = NULL;
    must(sem_post(&pool[i].given) == 0 && pthread_join(pool[i].thread, NULL) == 0, "a thread does not end");
  }
  lyd_free_all(a.made);
  lyd_free_all(b.made);
  ly_ctx_destroy(context);
  free(before);
  free(after);
  return 0;
}
