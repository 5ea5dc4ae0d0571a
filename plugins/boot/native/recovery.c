/*
 * The rules of PO-17 as boot applies them; see recovery.h. libs/posture/src/recovery.ts has the same ones for
 * the coordinator, and a test drives both over the same journals.
 *
 * It must not know where anything is stored.
 */
#include "recovery.h"

#include <string.h>

#include "kedge/journal.h"
#include "kedge/layout.h"

static unsigned tighter(unsigned a, unsigned b) { return a < b ? a : b; }

static bool is_level(unsigned level) { return level >= KEDGE_LEVEL_LOCKDOWN && level <= KEDGE_LEVEL_NORMAL; }

const char *boot_because_text(enum boot_because because)
{
  switch (because) {
  case BOOT_BECAUSE_DECISION: return "decision";
  case BOOT_BECAUSE_UNFINISHED: return "unfinished";
  case BOOT_BECAUSE_DOUBT: return "doubt";
  case BOOT_BECAUSE_PROVISIONING: return "provisioning";
  }
  return "doubt";
}

/* What would have to stand on the board, were nothing there. */
static kedge_word wanted_word(const struct kedge_journal_summary *journal, struct boot_plan *plan)
{
  if (plan->because != BOOT_BECAUSE_DECISION)
    return kedge_word_of(0, 0, plan->level);
  plan->with_line = true;
  plan->epoch = journal->last.epoch;
  plan->from = journal->last.from;
  plan->to = journal->last.to;
  return kedge_word_of(plan->epoch, 0, plan->level);
}

void boot_plan_of(const struct boot_findings *findings, struct boot_plan *plan)
{
  struct kedge_journal_summary journal;
  bool there = findings->trouble == BOOT_SURE && findings->journal != NULL;
  unsigned stored = kedge_word_raw_level(findings->word);
  uint64_t stored_epoch = kedge_word_epoch(findings->word);
  /* A word that is no level, or of no decision, is none: it tells nothing about what was decided. */
  bool decided_word = stored_epoch > 0 && is_level(stored);

  memset(plan, 0, sizeof(*plan));
  memset(&journal, 0, sizeof(journal));
  if (there)
    kedge_journal_summarise(findings->journal, findings->size, &journal);

  /* The higher epoch of journal and word is the decision; until it is completed its stricter level is in force. */
  bool known = journal.decided != 0;
  bool completed = journal.completed != 0;
  unsigned in_force = journal.last.to;
  if (known && !completed)
    in_force = tighter(journal.last.from, journal.last.to);
  if (decided_word && stored_epoch > (known ? journal.last.epoch : 0)) {
    unsigned from = known ? journal.last.to : stored;
    if (findings->line_epoch == stored_epoch && is_level(findings->line_from) && is_level(findings->line_to))
      from = findings->line_from;
    in_force = tighter(from, stored);
    known = true;
    completed = false;
  }

  if (findings->trouble != BOOT_SURE)
    plan->doubt = findings->trouble;
  else if (!there && (findings->provisioned || decided_word))
    plan->doubt = BOOT_DOUBT_MISSING;
  else if (journal.damaged)
    plan->doubt = BOOT_DOUBT_DAMAGED;
  else if (there && !known && findings->provisioned)
    plan->doubt = BOOT_DOUBT_EMPTY;
  plan->damage_at = journal.tail;

  if (plan->doubt != BOOT_SURE) {
    plan->because = BOOT_BECAUSE_DOUBT;
    plan->level = BOOT_DOUBT_LEVEL;
    if (known)
      plan->level = tighter(plan->level, in_force);
    if (decided_word)
      plan->level = tighter(plan->level, stored);
  } else if (!known) {
    plan->because = BOOT_BECAUSE_PROVISIONING;
    plan->level = findings->provisioning_level;
  } else {
    plan->because = completed ? BOOT_BECAUSE_DECISION : BOOT_BECAUSE_UNFINISHED;
    plan->level = in_force;
  }

  plan->word = wanted_word(&journal, plan);
  if (findings->word == 0)
    return;
  /* Something stands there already, and boot loosens nothing. Its epoch was issued and is not taken back. */
  if (kedge_word_level(findings->word) <= plan->level) {
    plan->word = findings->word;
    plan->stands = true;
    plan->with_line = false;
  } else if (stored_epoch > 0) {
    plan->word = kedge_word_of(stored_epoch, kedge_word_flags(findings->word), plan->level);
    plan->with_line = false;
  }
}
