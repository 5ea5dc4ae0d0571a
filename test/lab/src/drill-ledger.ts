/**
 * What a drill itself saw, held against the ledger: of each level that it entered, one question (PO-21, LE-1).
 * It must not take the answers of a gate or a transition from the ledger: those are what it compares.
 */
import type { LedgerEntry, LedgerFilter } from '@kedge/bus';
import { type LedgerRecord, ledgerRecordSchema } from '@kedge/contracts';
import type { Level } from '@kedge/units';
import { setTimeout as after } from 'node:timers/promises';

import type { Lab } from './lab.js';

/** One answer of the gate, as the drill got it. */
export interface GateAnswer {
  readonly tier: string;
  readonly allow: boolean;
}

/** What a drill saw of one step: the transition that it asked for, and whom the gate let through afterwards. */
export interface Witnessed {
  readonly epoch: string;
  readonly from: Level;
  readonly to: Level;
  /** In the order in which it asked. */
  readonly gate: readonly GateAnswer[];
}

/** Of one level, what the drill saw and what one question to the ledger brings. */
export interface LedgerAtLevel {
  readonly level: Level;
  /** Transitions to the level and answers of the gate at it, as the drill counted. */
  readonly seen: number;
  /** The same, as the ledger holds them. */
  readonly held: number;
  readonly ok: boolean;
}

export interface DrillLedger {
  readonly levels: readonly LedgerAtLevel[];
  readonly ok: boolean;
}

/** What the gate writes as the principal of those who only ask whether they might. */
const ASKS = 'ask';
/** The kinds that "every transit and permit" are, and the transitions that frame them. */
const KINDS = ['session-transit', 'network-mutation', 'authorisation-decision', 'posture-transition'];
const CALL = { deadlineMs: 10_000 };
const PAGE = 1_000;
/** Services hand their records on by themselves, a moment later. */
const DELIVERED_WITHIN_MS = 10_000;

/** One line for each thing seen, in a form that both sides can be written in. */
const transitionLine = (epoch: string, from: number, to: number): string =>
  `transition ${epoch}: ${from} → ${to}`;
const answerLine = (epoch: string, { tier, allow }: GateAnswer): string =>
  `gate at ${epoch}: ${tier} ${allow ? 'allowed' : 'denied'}`;

/** What the drill saw of a level, line by line. */
export function seenAt(level: Level, steps: readonly Witnessed[]): readonly string[] {
  return steps
    .filter(({ to }) => to === level)
    .flatMap(({ epoch, from, to, gate }) => [
      transitionLine(epoch, from, to),
      ...gate.map((answer) => answerLine(epoch, answer)),
    ]);
}

/** The same lines of what the ledger holds, of those epochs that were the drill's. */
export function heldAt(records: readonly LedgerRecord[], epochs: ReadonlySet<string>): readonly string[] {
  return records.flatMap((record): string[] => {
    if (!epochs.has(record.epoch)) return [];
    if (record.schema === 'kedge.posture-transition/1')
      return [transitionLine(record.epoch, record.from, record.to)];
    if (record.schema === 'kedge.authorisation-decision/1' && record.principal === ASKS)
      return [answerLine(record.epoch, record)];
    return [];
  });
}

/** Lines of which one side has more than the other; empty where both hold the same, each as often. */
export function differences(seen: readonly string[], held: readonly string[]): readonly string[] {
  const count = new Map<string, number>();
  for (const line of seen) count.set(line, (count.get(line) ?? 0) + 1);
  for (const line of held) count.set(line, (count.get(line) ?? 0) - 1);
  return [...count].flatMap(([line, more]) =>
    more === 0
      ? []
      : [`${line}: ${more > 0 ? `${more} more seen than held` : `${-more} more held than seen`}`],
  );
}

/** Every entry that a question brings, page by page. */
async function everyEntry(lab: Lab, filter: LedgerFilter): Promise<readonly LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for (let last: bigint | undefined; ;) {
    const place = last === undefined ? {} : { after: last };
    const page = await lab.ledger().query({ filter, limit: PAGE, newestFirst: false, ...place }, CALL);
    entries.push(...page.entries);
    last = page.entries.at(-1)?.index;
    if (!page.more || last === undefined) return entries;
  }
}

/**
 * Asks the ledger for each level once everything has had time to arrive there.
 *
 * @param sinceMs wall-clock milliseconds since 1970 of the drill's beginning
 * @returns what was compared, and each difference as a sentence beside its level; a ledger that does not answer is one
 * @throws AbortError when the signal comes
 */
export async function judgeLedger(
  lab: Lab,
  steps: readonly Witnessed[],
  sinceMs: number,
  signal?: AbortSignal,
): Promise<{ ledger: DrillLedger; wrong: readonly { level: Level; message: string }[] }> {
  const epochs = new Set(steps.map(({ epoch }) => epoch));
  const levels: LedgerAtLevel[] = [];
  const wrong: { level: Level; message: string }[] = [];
  const until = performance.now() + DELIVERED_WITHIN_MS;
  for (const level of [...new Set(steps.map(({ to }) => to))].sort()) {
    const seen = seenAt(level, steps);
    const filter = { kinds: KINDS, level, fromWallMs: BigInt(sinceMs) };
    let held: readonly string[] = [];
    let left: readonly string[];
    for (;;) {
      try {
        const entries = await everyEntry(lab, filter);
        held = heldAt(
          entries.map(({ record }) => ledgerRecordSchema.parse(JSON.parse(record))),
          epochs,
        );
        left = differences(seen, held);
      } catch (error) {
        left = [`it does not answer: ${error instanceof Error ? error.message : String(error)}`];
      }
      if (left.length === 0 || performance.now() > until) break;
      await after(100, undefined, { signal });
    }
    for (const line of left) wrong.push({ level, message: `the ledger differs at level ${level}: ${line}` });
    levels.push({ level, seen: seen.length, held: held.length, ok: left.length === 0 });
  }
  return { ledger: { levels, ok: wrong.length === 0 }, wrong };
}
