/*
 * What the YANG binding is measured against: libyang alone, doing the same with the same data.
 *
 *   yang DIRECTORY DIRECTORY BEFORE.json AFTER.json
 *
 * Reads words from its standard input and answers each with the nanoseconds that it took: "load" makes a context with
 * the modules, "parse" reads and validates BEFORE, "diff" compares BEFORE and AFTER. It works on a thread of its own, as
 * the binding does: the allocator gives threads memory of another kind. It must not count what tidies up.
 */
#define _GNU_SOURCE
#include <pthread.h>
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

static void *work(void *given)
{
  char **argv = given, word[16];
  char *before = text_of(argv[3]), *after = text_of(argv[4]);
  struct ly_ctx *context = load(argv + 1);
  struct lyd_node *a = parse(context, before), *b = parse(context, after);
  while (scanf("%15s", word) == 1) {
    uint64_t from = now_ns(), to;
    if (strcmp(word, "load") == 0) {
      struct ly_ctx *made = load(argv + 1);
      to = now_ns();
      ly_ctx_destroy(made);
    } else if (strcmp(word, "parse") == 0) {
      struct lyd_node *made = parse(context, before);
      to = now_ns();
      lyd_free_all(made);
    } else {
      struct lyd_node *made = NULL;
      must(strcmp(word, "diff") == 0 && lyd_diff_siblings(a, b, 0, &made) == LY_SUCCESS, "cannot compare");
      to = now_ns();
      lyd_free_all(made);
    }
    printf("%llu\n", (unsigned long long)(to - from));
  }
  lyd_free_all(a);
  lyd_free_all(b);
  ly_ctx_destroy(context);
  free(before);
  free(after);
  return NULL;
}

int main(int argc, char **argv)
{
  pthread_t thread;
  must(argc == 5, "usage: yang DIRECTORY DIRECTORY BEFORE.json AFTER.json");
  setvbuf(stdout, NULL, _IOLBF, 0);
  must(pthread_create(&thread, NULL, work, argv) == 0 && pthread_join(thread, NULL) == 0, "no thread");
  return 0;
}
