/*
 * What boot makes of the journal and of a posture word that stands already (PO-17): the same rules as the
 * coordinator's, in the same order, so that boot is never looser than what the coordinator takes up afterwards.
 *
 * It must read no file and store no word: everything comes in as data and goes out as data.
 */
#ifndef KEDGE_BOOT_RECOVERY_H
#define KEDGE_BOOT_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The level of a box that does not know its posture. */
#define BOOT_DOUBT_LEVEL 2u

/* Something that makes the box come up at BOOT_DOUBT_LEVEL or stricter. */
enum boot_doubt {
  BOOT_SURE = 0,
  BOOT_DOUBT_STATE,    /* the state directory is missing or not to be believed */
  BOOT_DOUBT_REFUSED,  /* the journal cannot be read, or is no file that boot believes */
  BOOT_DOUBT_MISSING,  /* no journal on a box that had one */
  BOOT_DOUBT_DAMAGED,  /* the journal breaks its rules */
  BOOT_DOUBT_EMPTY     /* a whole journal without a decision, on a box that had one */
};

struct boot_findings {
  /* NULL = there is none. Belongs to the caller. */
  const uint8_t *journal;
  size_t size;
  /* BOOT_DOUBT_STATE or BOOT_DOUBT_REFUSED when it could not be looked at; else BOOT_SURE. */
  enum boot_doubt trouble;
  bool provisioned;             /* a decision was durable here once, by the mark beside the journal */
  unsigned provisioning_level;  /* 1..5: of the very first start */
  uint64_t word;                /* as it stands on the board; 0 = none */
  /* The transition line beside it; all 0 = none. Levels are checked here. */
  uint64_t line_epoch;
  unsigned line_from, line_to;
};

enum boot_because {
  BOOT_BECAUSE_DECISION,     /* the journal's last decision, which is completed: word and line are its own */
  BOOT_BECAUSE_UNFINISHED,   /* its transition was interrupted: the stricter of its levels, under no epoch */
  BOOT_BECAUSE_DOUBT,
  BOOT_BECAUSE_PROVISIONING  /* nothing was ever decided here */
};

struct boot_plan {
  enum boot_because because;
  enum boot_doubt doubt;
  size_t damage_at;          /* BOOT_DOUBT_DAMAGED: offset of the first record that is wrong, or of the end */
  unsigned level;            /* what recovery demands, 1..5 */
  /*
   * The word to store. Boot decides nothing, so it issues no epoch: a new word carries the epoch of a journaled,
   * completed decision, or 0. A word that stands keeps its epoch and is made tighter or left.
   */
  uint64_t word;
  bool stands;               /* `word` is what is on the board already */
  bool with_line;            /* store a completed line of the decision, too */
  uint64_t epoch;            /* of that line */
  unsigned from, to;
};

/* Decides. Total: there is a plan for every input. */
void boot_plan_of(const struct boot_findings *findings, struct boot_plan *plan);

/* A lower-case word for JSON. */
const char *boot_because_text(enum boot_because because);

#endif
