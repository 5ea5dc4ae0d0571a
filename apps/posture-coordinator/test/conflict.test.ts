import type { ParticipantSlot, SetReply } from '@kedge/bus';
import type { Channel } from '@kedge/contracts';
import {
  CHANNEL_AUTHORITY,
  decodeJournalRecord,
  JOURNAL_RECORD_BYTES,
  type JournalRecord,
} from '@kedge/posture';
import { layout, monotonicNs, type SegmentWriter } from '@kedge/shared-memory-ipc';
import { isLevel, type Level, LEVELS, tighterOf } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';

import { Appliance, type Entrance, until } from './appliance.js';

const ORDERS = 1_000;
const AT_ONCE = 48;
const ENTRANCES: readonly Entrance[] = ['console', 'local/site_owner', 'local/master', 'local/journeyman'];
const STAGE = layout.enums.stage;
const QUIET_NS = 500_000_000n;

/** Numbers that look like chance and are the same in every run. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

/** Participants and a packet worker that do what they may, each time they look. */
class Others {
  readonly #timer: NodeJS.Timeout;
  readonly seen: { epoch: bigint; level: number }[] = [];
  readonly #at = new Map<string, Level>();

  constructor(
    readonly box: Appliance,
    readonly mesh: ParticipantSlot,
    readonly session: ParticipantSlot,
    readonly dataplane: SegmentWriter,
  ) {
    this.#timer = setInterval(() => {
      this.look();
    }, 2);
  }

  look(): void {
    const { epoch, level, stage, from, to, line } = this.box.read();
    if (!isLevel(level) || !isLevel(to)) return;
    const last = this.seen.at(-1);
    if (last?.epoch !== epoch || last.level !== level) this.seen.push({ epoch, level });
    this.box.acknowledge(this.dataplane, epoch, level);
    const loosening = to > from || (stage >= STAGE.LOOSEN_DECIDED && stage <= STAGE.LOOSEN_DATAPLANE);
    for (const [name, slot, released] of [
      ['mesh', this.mesh, STAGE.LOOSEN_PATHS],
      ['session', this.session, STAGE.LOOSEN_SESSIONS],
    ] as const) {
      if (loosening && stage < released) continue;
      const now = this.#at.get(name) ?? 5;
      const next = loosening ? to : tighterOf(now, to);
      this.#at.set(name, next);
      const at = monotonicNs();
      slot.acknowledge({
        epoch: line,
        stage: loosening ? 'loosen-paths' : 'tighten',
        outcome: 'applied',
        level: next,
        startedAtNs: at,
        finishedAtNs: at,
        changes: 0,
      });
    }
  }

  get levels(): readonly Level[] {
    return [...this.#at.values()];
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function recordsOf(box: Appliance): readonly JournalRecord[] {
  const bytes = readFileSync(box.journalPath);
  const records: JournalRecord[] = [];
  for (let at = 0; at < bytes.length; at += JOURNAL_RECORD_BYTES) {
    const found = decodeJournalRecord(bytes.subarray(at, at + JOURNAL_RECORD_BYTES));
    if (found.place === 'untouched') break;
    expect(found.place).toBe('record');
    if (found.place === 'record') records.push(found.record);
  }
  return records;
}

describe('1,000 conflicting orders at the real doors', () => {
  const box = new Appliance({ journalRecords: 16_384, verifyMs: 300, reports: 5_000 });
  afterAll(() => box.close());

  it('PO-4 all sources at once and a kill -9 between: every decision had the authority, no answer is forgotten', async () => {
    box.startWarden();
    const [mesh, session] = [box.participant('mesh', 'overlay'), box.participant('shellstream', 'overlay')];
    const dataplane = box.dataplane();
    await box.start();
    const others = new Others(box, mesh, session, dataplane);
    const random = chance(20_26);
    const replies: SetReply[] = [];
    let unanswered = 0;
    try {
      for (const half of [0, 1]) {
        let left = ORDERS / 2;
        const ask = async (): Promise<void> => {
          while (left > 0) {
            left -= 1;
            const by = ENTRANCES[random(ENTRANCES.length)] ?? 'console';
            // Lockdown is seldom: from there nobody but the console is even heard.
            const level = random(60) === 0 ? 1 : (LEVELS[random(4)] ?? 2);
            try {
              replies.push(await box.set(level, { by }));
            } catch {
              // The process died under it.
              unanswered += 1;
            }
          }
        };
        const asking = Promise.all(Array.from({ length: AT_ONCE }, ask));
        if (half === 0) {
          await until('half of the first half', () => (left < ORDERS / 4 ? true : undefined), 20_000);
          const lost = Math.max(0, left);
          left = 0;
          await box.kill();
          await asking;
          // A busy machine may take longer than one wait.
          await box.start().catch(() => box.serving());
          left = lost;
          await Promise.all(Array.from({ length: AT_ONCE }, ask));
        }
        await asking;
      }
      let quiet = { epoch: 0n, sinceNs: monotonicNs() };
      await until(
        'the end of it',
        () => {
          const { epoch, level, to, stage } = box.read();
          const over = level === to && stage === STAGE.COMPLETE && others.levels.every((at) => at === level);
          // What waited begins right after an end: the last one is followed by nothing for a while.
          if (!over || epoch !== quiet.epoch) quiet = { epoch, sinceNs: monotonicNs() };
          return over && monotonicNs() - quiet.sinceNs > QUIET_NS ? true : undefined;
        },
        15_000,
      );
    } finally {
      others.close();
    }

    // Nothing but answers, and all kinds of them.
    expect(replies.length + unanswered).toBe(ORDERS);
    expect(unanswered).toBeLessThanOrEqual(AT_ONCE);
    const kinds = new Set(
      replies.map((reply) => (reply.outcome === 'refusal' ? reply.refusal.code : reply.outcome)),
    );
    for (const kind of ['decision', 'waiting', 'POSTURE_NOT_AUTHORISED', 'POSTURE_HELD'])
      expect(kinds).toContain(kind);

    // Every decision in the journal, judged by the order of authority alone.
    const decisions = recordsOf(box).filter(({ kind }) => kind === 'decision');
    const holds = new Map<Channel, Level>();
    let target: Level = 5;
    let before = 0n;
    for (const { epoch, from, to, requested, channel, recovered } of decisions) {
      if (from === undefined || to === undefined || requested === undefined) throw new Error('no decision');
      expect(epoch).toBeGreaterThan(before);
      before = epoch;
      // What a restart goes on with was judged before it.
      if (channel !== undefined && !recovered && to > target) {
        for (const [holder, at] of holds)
          expect(at >= to || CHANNEL_AUTHORITY[holder] <= CHANNEL_AUTHORITY[channel]).toBe(true);
      }
      if (channel !== undefined && requested < target) holds.set(channel, requested);
      for (const [holder, at] of holds) if (to > target && at < to) holds.delete(holder);
      target = to;
    }
    expect(decisions.length).toBeGreaterThan(50);
    expect(target).toBe(box.read().level);

    // What was answered as durable is there, as it was answered.
    const known = new Map(decisions.map((each) => [each.epoch as bigint, each]));
    let durable = 0;
    for (const reply of replies) {
      if (reply.outcome !== 'decision' || !reply.decision.durable) continue;
      durable += 1;
      expect(known.get(reply.decision.epoch)?.to).toBe(reply.decision.to);
    }
    expect(durable).toBeGreaterThan(50);

    // What packets obeyed: epochs only rise, and each of them is one decision.
    for (const [index, { epoch, level }] of others.seen.entries()) {
      const earlier = others.seen[index - 1];
      if (earlier !== undefined) expect(epoch).toBeGreaterThan(earlier.epoch);
      // One that was on its way to the disk when the process died, with a newer one behind it, is nowhere.
      const decision = known.get(epoch);
      if (decision !== undefined) expect(decision.to).toBe(level);
    }
    expect(others.seen.filter(({ epoch }) => known.has(epoch)).length).toBeGreaterThan(20);
  }, 120_000);
});
