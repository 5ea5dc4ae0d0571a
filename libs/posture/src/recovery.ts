/**
 * What a restarted coordinator makes of the journal and of the posture word that survived (PO-17).
 * It must not read either; both come in as data.
 */
import { EPOCH_NONE, isLooser, laterOf, tighterOf, type Epoch, type Level } from '@kedge/units';

import type { Holds, JournalSummary } from './journal-record.js';
import type { Decision, RecoveryPlan } from './transition-state.js';

/** What a restart finds. */
export interface RecoveryFindings {
  /** Undefined: there is no journal. */
  readonly journal: JournalSummary | undefined;
  /** True once a decision was ever written on this box, by a mark that is kept apart from the journal. */
  readonly provisioned: boolean;
  /** Level for the very first boot. */
  readonly provisioningLevel: Level;
  /** The posture word as it survived; undefined = none, or one that is no level. */
  readonly word: { readonly epoch: Epoch; readonly level: Level } | undefined;
  /** The transition line that survived beside it. */
  readonly line: Decision | undefined;
  /** Why the shared memory that should hold the word was not to be believed; undefined = it was, or a new boot. */
  readonly wordDoubt: string | undefined;
}

/** The level of a box that does not know its posture. */
export const DOUBT_LEVEL: Level = 2;
/** How far epochs jump when a reservation may have been lost together with the journal. */
export const EPOCH_JUMP = 16_777_216n;

/**
 * Holds where decisions may have been lost: who asked for `level` is not known, so nobody below the console, which
 * every box has, may loosen it (PO-4). It ends like every hold of the console: when the console loosens.
 */
function holdsOfUnknown(holds: Holds, level: Level): Holds {
  return { ...holds, console: tighterOf(holds.console ?? level, level) };
}

/** What to do. The higher epoch of journal and word is the decision. Pure. */
export function recoveryOf(findings: RecoveryFindings): RecoveryPlan {
  const { journal, word, line, wordDoubt } = findings;
  const journaled = journal?.last;
  const alarms: string[] = [];
  let holds = journal?.holds ?? {};
  const newer = word !== undefined && word.epoch > (journaled?.epoch ?? EPOCH_NONE) ? word : undefined;
  let journalFirst: Decision | undefined =
    newer === undefined
      ? undefined
      : {
          epoch: newer.epoch,
          from: line?.epoch === newer.epoch ? line.from : (journaled?.to ?? newer.level),
          to: newer.level,
        };
  const decision = journalFirst ?? journaled;
  const completed = journalFirst === undefined && journaled?.completed === true;
  let above = laterOf(journal?.reservedUpTo ?? EPOCH_NONE, word?.epoch ?? EPOCH_NONE);

  const known =
    decision === undefined ? undefined : completed ? decision.to : tighterOf(decision.from, decision.to);
  const doubts: string[] = [];
  if (journal === undefined && (findings.provisioned || word !== undefined)) {
    doubts.push('the decision journal is gone from a box that had one');
  } else if (journal?.damage !== undefined) {
    doubts.push(`the decision journal is damaged at byte ${journal.damage.offset}: ${journal.damage.why}`);
  } else if (journal !== undefined && decision === undefined && findings.provisioned) {
    doubts.push('the decision journal holds no decision');
  }
  if (wordDoubt !== undefined) doubts.push(`the posture segment was not to be believed: ${wordDoubt}`);

  const restore = (
    level: Level,
    because: RecoveryPlan['because'] = 'recovery',
    resumeTo?: Level,
  ): RecoveryPlan => ({
    decision,
    level,
    resumeTo,
    action: 'restore',
    because,
    journalFirst,
    word: { epoch: word?.epoch ?? EPOCH_NONE, level: word?.level },
    above,
    holds,
    alarms,
  });

  if (doubts.length > 0) {
    if (journal === undefined || journal.damage !== undefined) above = (above + EPOCH_JUMP) as Epoch;
    const level = [known, word?.level].reduce<Level>(
      (tightest, each) => (each === undefined ? tightest : tighterOf(tightest, each)),
      DOUBT_LEVEL,
    );
    alarms.push(...doubts.map((why) => `${why}; level ${level} was taken`));
    above = (above + 1n) as Epoch;
    journalFirst = { epoch: above, from: level, to: level };
    holds = holdsOfUnknown(holds, level);
    return restore(level, 'doubt');
  }
  if (newer !== undefined) {
    holds = holdsOfUnknown(holds, newer.level);
    alarms.push(
      `level ${newer.level} of epoch ${newer.epoch} was stored and not journaled before a restart: who asked for it is not known, and only the console may loosen it`,
    );
  }
  if (decision === undefined || known === undefined) {
    return restore(findings.provisioningLevel, 'provisioning');
  }
  if (completed) {
    const agrees = word?.epoch === decision.epoch && word.level === decision.to;
    return { ...restore(decision.to), action: agrees ? 'hold' : 'restore' };
  }
  const resumeTo = isLooser(decision.to, known) ? decision.to : undefined;
  // The decision goes on under its own epoch where the word stands as it stood when it was interrupted.
  const interrupted =
    word !== undefined &&
    word.level === known &&
    (resumeTo === undefined ? word.epoch === decision.epoch : word.epoch < decision.epoch);
  return { ...restore(known, 'recovery', resumeTo), action: interrupted ? 'continue' : 'restore' };
}
