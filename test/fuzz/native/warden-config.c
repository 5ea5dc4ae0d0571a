/*
 * Fuzz target: any text as the warden's configuration. What is accepted is within every limit; what is refused is
 * told in one line that names the place; twice the same text, twice the same answer.
 *
 * It must read no file.
 */
#include "config.h"
#include "input.h"

#define PLACE "fuzz.conf:"

static void unit_is_in_range(const struct kedge_unit *unit)
{
  HOLDS(unit->kind <= KEDGE_UNIT_WATCH && memchr(unit->name, '\0', sizeof(unit->name)) != NULL && unit->name[0] != '\0');
  HOLDS((unit->exec.count > 0) == (unit->kind != KEDGE_UNIT_WATCH));
  for (size_t i = 0; i < unit->exec.count; i++)
    HOLDS(unit->exec.word[i] != NULL);
  HOLDS(unit->exec.count == 0 || (unit->exec.word[0][0] == '/' && unit->exec.word[unit->exec.count] == NULL));
  HOLDS(unit->output == NULL || unit->output[0] == '/');
  HOLDS(unit->segment == NULL || kedge_config_kind(unit->segment) != 0);
  HOLDS(unit->restart_min_ns <= unit->restart_max_ns && unit->restart_max_ns <= CONFIG_DURATION_MAX_NS);
  HOLDS(unit->stale_ns <= CONFIG_DURATION_MAX_NS && unit->start_grace_ns <= CONFIG_DURATION_MAX_NS);
}

static void config_is_in_range(const struct kedge_config *config)
{
  uid_t uid;
  HOLDS(config->board != NULL && config->board[0] == '/');
  HOLDS(config->dataplanes.count <= CONFIG_MAX_DATAPLANES && config->owners <= CONFIG_MAX_OWNERS);
  HOLDS(config->silence_kill_ns >= CONFIG_DURATION_MIN_NS && config->silence_kill_ns <= CONFIG_DURATION_MAX_NS);
  HOLDS(config->stale_ns >= CONFIG_DURATION_MIN_NS && config->stale_ns <= CONFIG_DURATION_MAX_NS);
  HOLDS(config->oneshots <= CONFIG_MAX_UNITS && config->services <= CONFIG_MAX_UNITS);
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    HOLDS(config->participants[path].count <= CONFIG_MAX_PARTICIPANTS);
    HOLDS(config->budget_ns[path] >= CONFIG_DURATION_MIN_NS && config->budget_ns[path] <= CONFIG_DURATION_MAX_NS);
    for (size_t i = 0; i < config->participants[path].count; i++)
      HOLDS(strlen(config->participants[path].word[i]) < KEDGE_NAME_BYTES &&
            kedge_config_owner(config, config->participants[path].word[i], &uid));
  }
  HOLDS(config->participants[KEDGE_PATH_DATAPLANE].count == 0);
  for (size_t i = 0; i < config->dataplanes.count; i++)
    HOLDS(strlen(config->dataplanes.word[i]) < KEDGE_NAME_BYTES &&
          kedge_config_kind(config->dataplanes.word[i]) == KEDGE_SEGMENT_DATAPLANE);
  for (size_t i = 0; i < config->oneshots; i++)
    unit_is_in_range(&config->oneshot[i]);
  for (size_t i = 0; i < config->services; i++)
    unit_is_in_range(&config->service[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct kedge_config config, again;
  char error[512] = "", second[512] = "", *text = (char *)copy_of(data, size);
  bool accepted = kedge_config_parse(&config, "fuzz.conf", text, size, error, sizeof(error));
  HOLDS(kedge_config_parse(&again, "fuzz.conf", text, size, second, sizeof(second)) == accepted);
  HOLDS(strcmp(error, second) == 0);
  if (accepted) {
    free(text);
    text = NULL;
    config_is_in_range(&config); /* nothing of it may stand in the text that was read */
    kedge_config_free(&config);
    kedge_config_free(&again);
  } else {
    HOLDS(strncmp(error, PLACE, strlen(PLACE)) == 0 && strstr(error, "expected") != NULL && strchr(error, '\n') == NULL);
  }
  free(text);
  return 0;
}
