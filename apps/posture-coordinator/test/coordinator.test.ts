import type { HistoryRequest } from '@kedge/bus';
import { type LedgerRecord, ledgerRecordSchema } from '@kedge/contracts';
import { decodeJournalRecord, EPOCH_JUMP, JOURNAL_RECORD_BYTES, recoverJournal } from '@kedge/posture';
import { createPostureSegment, layout, monotonicNs, type SegmentWriter } from '@kedge/shared-memory-ipc';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { Appliance, until } from './appliance.js';

const STAGE = layout.enums.stage;
/** Where the decision of `epoch` stands. */
function placeOf(journal: Uint8Array, epoch: bigint): number {
  for (let at = 0; at < journal.length; at += JOURNAL_RECORD_BYTES) {
    const found = decodeJournalRecord(journal.subarray(at, at + JOURNAL_RECORD_BYTES));
    if (found.place === 'record' && found.record.epoch === epoch) return at;
  }
  throw new Error(`epoch ${epoch} was not journaled`);
}
const journalOf = (appliance: Appliance) => recoverJournal(readFileSync(appliance.journalPath));

/** The warden's event of a number: a missed budget. */
function violate(warden: SegmentWriter, number: number, epoch: bigint): void {
  const at = layout.warden.violation + number * layout.violation.size;
  warden.store64(at + layout.violation.atNs, monotonicNs());
  warden.store64(at + layout.violation.epoch, epoch);
  warden.store32(at + layout.violation.kind, 1);
  warden.store32(at + layout.violation.level, 2);
  warden.write(at + layout.violation.subject, Buffer.from(`reference/${number}\0`));
  warden.store64(at + layout.violation.sequence, 2n * BigInt(number + 1));
  warden.store64(layout.warden.violations, BigInt(number + 1));
  warden.ring();
}

describe('the local API', () => {
  let box: Appliance;
  let records: readonly LedgerRecord[] = [];
  beforeAll(async () => {
    box = new Appliance();
    box.startWarden();
    await box.start();
  });
  afterAll(() => box.close());

  it('PO-17 the very first start says that it is one, and is no recovery', async () => {
    expect(await box.ended()).toMatchObject({
      from: 5,
      to: 5,
      outcome: 'completed',
      source: {
        principal: 'service:posture-coordinator',
        reason: expect.stringContaining('first start of this appliance') as string,
      },
    });
    expect((await box.get()).alarms.join()).not.toContain('level 2');
  });

  it('PO-1 there are five levels, each can be reached, and nothing else is a level', async () => {
    for (const level of [4, 3, 2, 1]) {
      expect(await box.set(level)).toMatchObject({
        outcome: 'decision',
        decision: { to: level, durable: true },
      });
      expect(box.read()).toMatchObject({ level, to: level });
    }
    for (const level of [0, 6, 7, 255, 4_294_967_295]) {
      expect(await box.set(level)).toMatchObject({
        outcome: 'refusal',
        refusal: { code: 'POSTURE_LEVEL', field: 'level', expected: '1 (lockdown) to 5 (normal)' },
      });
    }
    expect(await box.set(5, { by: 'console' })).toMatchObject({
      outcome: 'decision',
      decision: { from: 1, to: 5 },
    });
    await until('level 5', () => (box.read().level === 5 ? true : undefined));
  });

  it('PO-5 every field wrong once: a typed refusal that names it, nothing changed', async () => {
    await box.ended();
    const before = box.read();
    const wrong = [
      ['POSTURE_REASON', 'reason', { reason: '' }],
      ['POSTURE_REASON', 'reason', { reason: ' \t' }],
      ['POSTURE_REASON', 'reason', { reason: 'x'.repeat(513) }],
      ['POSTURE_REASON', 'reason', { reason: 'two\nlines' }],
      ['POSTURE_PRINCIPAL', 'principal', { principal: '' }],
      ['POSTURE_PRINCIPAL', 'principal', { principal: 'x'.repeat(129) }],
      ['POSTURE_PRINCIPAL', 'principal', { principal: 'user:\u0007' }],
      ['POSTURE_IDEMPOTENCY_KEY', 'idempotency_key', { idempotencyKey: '' }],
      ['POSTURE_IDEMPOTENCY_KEY', 'idempotency_key', { idempotencyKey: 'seven77' }],
      ['POSTURE_IDEMPOTENCY_KEY', 'idempotency_key', { idempotencyKey: 'x'.repeat(65) }],
      ['POSTURE_IDEMPOTENCY_KEY', 'idempotency_key', { idempotencyKey: 'with a space' }],
      ['POSTURE_IF_EPOCH', 'if_epoch', { ifEpoch: 1n << 48n }],
      ['POSTURE_STALE', 'if_epoch', { ifEpoch: before.epoch - 1n }],
    ] as const;
    for (const [code, field, fields] of wrong) {
      const reply = await box.set(1, fields);
      expect(reply).toMatchObject({ outcome: 'refusal', refusal: { code, field } });
      if (reply.outcome === 'refusal') expect(reply.refusal.rule).not.toBe('');
    }
    expect(box.read()).toEqual(before);
    expect(await box.set(4, { ifEpoch: before.epoch })).toMatchObject({ outcome: 'decision' });
    await box.set(5, { by: 'console' });
    await until('level 5', () => (box.read().level === 5 ? true : undefined));
  });

  it('PO-3 the socket is the proof: what a tier may not do is refused whatever the message says', async () => {
    await box.ended();
    expect(await box.set(4, { by: 'local/apprentice', principal: 'user:root' })).toMatchObject({
      refusal: { code: 'POSTURE_NOT_AUTHORISED', rule: 'apprentice-looks-only' },
    });
    expect(await box.set(3, { by: 'local/journeyman' })).toMatchObject({ decision: { to: 3 } });
    await box.ended();
    for (const by of ['local/journeyman', 'local/apprentice'] as const) {
      expect(await box.set(5, { by })).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED' } });
    }
    expect(await box.set(5, { by: 'local/master' })).toMatchObject({ decision: { from: 3, to: 5 } });
    await box.ended();
    expect((await box.client('local/apprentice').get({}, { deadlineMs: 2_000 })).level).toBe(5);
  });

  it('PO-4 level 1 is left by the console only', async () => {
    await box.set(1, { by: 'local/journeyman' });
    await box.ended();
    expect(await box.set(2)).toMatchObject({ refusal: { rule: 'leave-lockdown-channel' } });
    expect(box.read().level).toBe(1);
    expect(await box.set(2, { by: 'console' })).toMatchObject({ decision: { from: 1, to: 2 } });
    await box.ended();
    await box.set(5);
    await box.ended();
    expect(box.read().level).toBe(5);
  });

  it('PO-5 the same key is the same request; the same key on another request is a replay', async () => {
    const idempotencyKey = 'the-same-key-twice';
    const first = await box.set(4, { idempotencyKey });
    await box.ended();
    await box.set(5);
    await box.ended();
    const before = box.read();
    expect(await box.set(4, { idempotencyKey })).toEqual(first);
    expect(await box.set(1, { idempotencyKey })).toMatchObject({ refusal: { code: 'POSTURE_REPLAYED' } });
    expect(await box.set(4, { idempotencyKey, reason: 'another' })).toMatchObject({
      refusal: { code: 'POSTURE_REPLAYED', field: 'idempotency_key' },
    });
    expect(box.read()).toEqual(before);
  });

  it('PO-11 asking for the level in force answers with the epoch in force, stores nothing, and has every path look again', async () => {
    await box.ended();
    const { stageAtNs, ...before } = box.read();
    expect(await box.set(5)).toMatchObject({ decision: { epoch: before.epoch, to: 5, durable: true } });
    const { stageAtNs: saidAgainAtNs, ...after } = box.read();
    expect(after).toEqual(before);
    expect(saidAgainAtNs).toBeGreaterThan(stageAtNs);
  });

  it('PO-8 history is had by time, level and source, and by nothing that is none of these', async () => {
    const list = async (wanted: Partial<HistoryRequest>) =>
      (await box.client().history({ limit: 1_000, beforeEpoch: 0n, ...wanted }, { deadlineMs: 2_000 }))
        .transitions;
    const all = await list({});
    const [newest] = all;
    const since = newest?.decidedAtWallMs ?? 0n;
    const toFour = all.filter(({ to }) => to === 4).map(({ epoch }) => epoch);
    expect(toFour.length).toBeGreaterThan(0);
    expect((await list({ level: 4 })).map(({ epoch }) => epoch)).toEqual(toFour);
    expect((await list({ sinceWallMs: since })).map(({ epoch }) => epoch)).toContain(newest?.epoch);
    expect(await list({ sinceWallMs: since + 1n })).toEqual([]);
    expect((await list({ source: 'local' })).every(({ source }) => source?.channel === 'local')).toBe(true);
    expect(await list({ source: 'loca' })).toEqual([]);
    for (const [field, wanted] of [
      ['level', { level: 6 }],
      ['source', { source: '' }],
      ['source', { source: 'x'.repeat(129) }],
    ] as const) {
      await expect(list(wanted)).rejects.toMatchObject({ code: 'POSTURE_FILTER', field });
    }
  });

  it('PO-8 history and reports are bounded and answer for what they do not have', async () => {
    const { transitions } = await box.client().history({ limit: 3, beforeEpoch: 0n }, { deadlineMs: 2_000 });
    expect(transitions).toHaveLength(3);
    const [newest, next] = transitions;
    expect(newest?.epoch).toBeGreaterThan(next?.epoch ?? 0n);
    const older = await box
      .client()
      .history({ limit: 1, beforeEpoch: newest?.epoch ?? 0n }, { deadlineMs: 2_000 });
    expect(older.transitions[0]?.epoch).toBe(next?.epoch);
    await expect(
      box.client().history({ limit: 1_001, beforeEpoch: 0n }, { deadlineMs: 2_000 }),
    ).rejects.toMatchObject({ code: 'POSTURE_LIMIT', field: 'limit' });
    await expect(
      box.client().history({ limit: 1, beforeEpoch: 1n << 48n }, { deadlineMs: 2_000 }),
    ).rejects.toMatchObject({ code: 'POSTURE_EPOCH', field: 'before_epoch' });
    await expect(box.client().transition({ epoch: 1n << 48n }, { deadlineMs: 2_000 })).rejects.toMatchObject({
      code: 'POSTURE_EPOCH',
      field: 'epoch',
    });
    expect(await box.client().transition({ epoch: 999_999n }, { deadlineMs: 2_000 })).toMatchObject({
      refusal: { code: 'POSTURE_EPOCH_UNKNOWN', field: 'epoch' },
    });
  });

  it('PO-8 who watches sees the state at once and every change', async () => {
    const seen: number[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const state of box.client().watch({}, { deadlineMs: 2_000, signal: abort.signal })) {
        seen.push(state.level);
        if (state.level === 2) return;
      }
    })();
    await until('the first state', () => seen.at(0));
    await box.set(4);
    await until('level 4', () => (seen.includes(4) ? true : undefined));
    await box.set(2);
    await watching;
    abort.abort();
    expect(seen[0]).toBe(5);
    expect(seen.at(-1)).toBe(2);
    await box.ended();
    await box.set(5);
    await box.ended();
  });

  it('PO-16 a second coordinator is refused and the first goes on', async () => {
    const second = new Appliance({ board: { directory: box.board, owners: {} } });
    try {
      second.spawn();
      expect(await second.exit()).toBe(4);
      expect(second.errors).toMatch(/COORDINATOR_RUNNING/);
      expect((await box.get()).level).toBe(5);
    } finally {
      await second.close();
    }
  });

  it('PO-13 what the warden records becomes an event: shown, recorded, and nothing waits for it', async () => {
    const warden = box.warden;
    if (warden === undefined) throw new Error('no warden');
    const epoch = box.read().epoch;
    violate(warden, 0, epoch);
    warden.store64(layout.warden.failClosed + layout.failClosed.word, (epoch << 16n) | 2n);
    warden.ring();
    const state = await until('the fail-closed line', async () => {
      const found = await box.get();
      return found.failClosed.length > 0 ? found : undefined;
    });
    expect(state).toMatchObject({
      level: 2,
      target: 5,
      failClosed: [{ path: 'dataplane', level: 2, epoch }],
    });
    expect(state.alarms.join()).toContain('dataplane is fail-closed at level 2');
    warden.store64(layout.warden.failClosed + layout.failClosed.word, 0n);
    warden.ring();
    await until('the line to clear', async () =>
      (await box.get()).failClosed.length === 0 ? true : undefined,
    );
  });

  it('PO-5 refusals, transitions and violations are records that their schemas accept', async () => {
    // Beside the processes, which are told of a while after.
    await until('the processes to be on the disk', () =>
      readdirSync(join(box.state, 'records')).some((name) =>
        readFileSync(join(box.state, 'records', name), 'utf8').includes('"section":"processes"'),
      ),
    );
    records = await box.records();
    for (const record of records) expect(ledgerRecordSchema.safeParse(record).success).toBe(true);
    const refused = records.filter((each) => each.schema === 'kedge.authorisation-decision/1' && !each.allow);
    const rules = new Set(refused.flatMap((each) => ('rule' in each ? [each.rule] : [])));
    for (const rule of [
      'well-formed',
      'if-epoch',
      'apprentice-looks-only',
      'leave-lockdown-channel',
      'one-request-per-key',
    ]) {
      expect(rules).toContain(rule);
    }
    // Wrong fields of calls that change nothing are kept as what they are.
    for (const rule of ['POSTURE_LIMIT', 'POSTURE_EPOCH']) {
      expect(refused).toContainEqual(expect.objectContaining({ rule, action: 'posture.history' }));
    }
    expect(records.filter((each) => each.schema === 'kedge.posture-transition/1').length).toBeGreaterThan(10);
    expect(records.filter((each) => each.schema === 'kedge.budget-violation/1')).toMatchObject([
      { kind: 'budget', path: 'dataplane', subject: 'reference/0', level: 2 },
    ]);
    expect(await box.exit()).toBe(0);
    expect(existsSync(join(box.sockets, 'console/posture.sock'))).toBe(false);
  });

  it('LE-8 on the way to a lockdown the processes of the controller are kept', () => {
    const parts = records.filter((each) => each.schema === 'kedge.posture-forensic-part/1');
    const locked = records.find((each) => each.schema === 'kedge.posture-transition/1' && each.to === 1);
    const part = parts.find(({ epoch }) => epoch === locked?.epoch);
    expect(part).toMatchObject({
      snapshot: `forensic-snapshot/${part?.appliance ?? ''}/${locked?.epoch ?? ''}`,
      section: 'processes',
      source: 'posture-coordinator',
      part: 1,
      reason: '',
    });
    const items = parts.filter(({ epoch }) => epoch === locked?.epoch).flatMap((each) => each.items);
    expect(items.map(({ name }) => name.split(' ')[0])).toContain(String(box.child?.pid));
  });
});

describe('a violation', () => {
  it('LE-1 that is kept is not recorded again by a coordinator that starts anew, though it is shown', async () => {
    const box = new Appliance();
    try {
      const warden = box.startWarden();
      await box.start();
      const mark = join(box.state, 'violations.told');
      const marked = (number: number) => () =>
        existsSync(mark) && readFileSync(mark, 'latin1').endsWith(` ${number}\n`) ? true : undefined;
      violate(warden, 0, box.read().epoch);
      await until('the first one to be kept', marked(0));
      const subjects = async () =>
        (await box.records()).flatMap((each) =>
          each.schema === 'kedge.budget-violation/1' ? [each.subject] : [],
        );
      expect(await subjects()).toEqual(['reference/0']);
      // As if the ledger had taken all of it.
      rmSync(join(box.state, 'records'), { recursive: true });
      violate(warden, 1, box.read().epoch);
      await box.start();
      await until('the second one to be kept', marked(1));
      const { violations } = await box.get();
      expect(violations.map(({ subject }) => subject)).toEqual(['reference/1', 'reference/0']);
      expect(await subjects()).toEqual(['reference/1']);
      // Without the mark both are told again: twice is better than never.
      rmSync(mark);
      rmSync(join(box.state, 'records'), { recursive: true });
      await box.start();
      await until('both to be kept', marked(1));
      expect(await subjects()).toEqual(['reference/0', 'reference/1']);
    } finally {
      await box.close();
    }
  });
});

describe('participants', () => {
  let box: Appliance;
  beforeAll(async () => {
    box = new Appliance();
    box.startWarden();
    await box.start();
  });
  afterAll(() => box.close());

  it('PO-7 word first when tightening; paths, sessions, then the word when loosening; each step in the report', async () => {
    const mesh = box.participant('mesh', 'overlay');
    const session = box.participant('shellstream', 'overlay');
    const dataplane = box.dataplane();
    const apply = (
      slot: typeof mesh,
      epoch: bigint,
      level: 2 | 5,
      stage: 'tighten' | 'loosen-paths' | 'loosen-sessions',
    ) => {
      const now = monotonicNs();
      slot.acknowledge({
        epoch,
        stage,
        outcome: 'applied',
        level,
        startedAtNs: now,
        finishedAtNs: now,
        changes: 3,
      });
    };
    await until('everybody to be seen', async () =>
      // A file that is configured is listed before anybody has made it.
      (await box.get()).services.filter(({ pid }) => pid > 0).length >= 5 ? true : undefined,
    );
    const tightened = await box.set(2);
    if (tightened.outcome !== 'decision') throw new Error('refused');
    const { epoch } = tightened.decision;
    expect(box.read()).toMatchObject({ level: 2, epoch, stage: STAGE.TIGHTEN, from: 5, to: 2 });
    box.acknowledge(dataplane, epoch, 2);
    apply(session, epoch, 2, 'tighten');
    apply(mesh, epoch, 2, 'tighten');
    const report = await box.ended(epoch);
    expect(report).toMatchObject({
      from: 5,
      to: 2,
      durable: true,
      source: { channel: 'local', tier: 'site_owner', principal: 'user:ada', reason: 'a test wants it' },
    });
    expect(report.decidedAtNs).toBeGreaterThanOrEqual(report.receivedAtNs);
    expect(report.storedAtNs).toBeGreaterThanOrEqual(report.decidedAtNs);
    expect(report.journaledAtNs).toBeGreaterThan(report.storedAtNs);
    const overlay = report.paths.find(({ path }) => path === 'overlay');
    expect(overlay).toMatchObject({ outcome: 'applied', budgetNs: 5_000_000_000n });
    expect(overlay?.participants.map(({ name, level, changes }) => [name, level, changes]).sort()).toEqual([
      ['mesh', 2, 3],
      ['shellstream', 2, 3],
    ]);
    expect(report.paths.find(({ path }) => path === 'underlay')?.outcome).toBe('absent');

    const loosened = await box.set(5);
    if (loosened.outcome !== 'decision') throw new Error('refused');
    const next = loosened.decision.epoch;
    await until('the paths', () => (box.read().stage === STAGE.LOOSEN_PATHS ? true : undefined));
    expect(journalOf(box).last).toMatchObject({ epoch: next, to: 5, completed: false });
    await pause(150);
    // Nobody has loosened yet, so nothing behind may: the word stands.
    expect(box.read()).toMatchObject({ stage: STAGE.LOOSEN_PATHS, level: 2, epoch });
    apply(mesh, next, 5, 'loosen-paths');
    await until('the sessions', () => (box.read().stage === STAGE.LOOSEN_SESSIONS ? true : undefined));
    expect(box.read().level).toBe(2);
    apply(session, next, 5, 'loosen-sessions');
    await until('the word', () => (box.read().level === 5 ? true : undefined));
    box.acknowledge(dataplane, next, 5);
    const end = await box.ended(next);
    expect(end.paths.map(({ path, outcome }) => [path, outcome])).toEqual([
      ['dataplane', 'applied'],
      ['overlay', 'applied'],
      ['underlay', 'absent'],
    ]);
    expect(box.read().stage).toBe(STAGE.COMPLETE);
  });

  it('PO-10 a tighter request pre-empts a loosening that runs; a looser one waits its turn', async () => {
    const [mesh, session] = box.slots;
    const before = box.read();
    const tightened = await box.set(3);
    if (tightened.outcome !== 'decision') throw new Error('refused');
    // Nobody acknowledges: it runs until its deadlines, so a looser request has to wait.
    expect(await box.set(4)).toMatchObject({
      outcome: 'waiting',
      waiting: { behindEpoch: tightened.decision.epoch },
    });
    const lockdown = await box.set(1);
    if (lockdown.outcome !== 'decision') throw new Error('refused');
    expect(box.read()).toMatchObject({ level: 1, epoch: lockdown.decision.epoch });
    expect((await box.ended(tightened.decision.epoch)).outcome).toBe('preempted');
    expect(lockdown.decision.epoch).toBeGreaterThan(before.epoch);
    expect([mesh, session]).not.toContain(undefined);
  });

  it('PO-20 who believes in a looser posture for longer than its budget is shown, and brought back by a tightening', async () => {
    const [mesh] = box.slots;
    box.warden?.store64(layout.warden.budgetNs + 8, 300_000_000n);
    await until(
      'steady',
      async () => ((await box.ended()) && box.read().stage === STAGE.COMPLETE) || undefined,
    );
    const before = box.read();
    const now = monotonicNs();
    mesh?.acknowledge({
      epoch: before.line,
      stage: 'tighten',
      outcome: 'applied',
      level: 5,
      startedAtNs: now,
      finishedAtNs: now,
      changes: 0,
    });
    const shown = await until('the disagreement', async () => {
      const found = (await box.get()).disagreements.find(({ who, overdue }) => who === 'mesh' && overdue);
      return found;
    });
    expect(shown).toMatchObject({
      path: 'overlay',
      believesLevel: 5,
      inForceLevel: before.level,
      away: false,
    });
    const repaired = await until('the repair', () =>
      box.read().line > before.line ? box.read() : undefined,
    );
    expect(repaired).toMatchObject({ level: before.level, from: before.level, to: before.level });
    box.warden?.store64(layout.warden.budgetNs + 8, 5_000_000_000n);
    for (const slot of box.slots) {
      slot.acknowledge({
        epoch: box.read().line,
        stage: 'tighten',
        outcome: 'applied',
        level: before.level as 1,
        startedAtNs: now,
        finishedAtNs: now,
        changes: 0,
      });
    }
  });

  it('PO-12 nothing loosens while the warden does not beat, and tightening goes on', async () => {
    box.beatWarden(false);
    await until('the alarm', async () =>
      (await box.get()).alarms.some((a) => a.includes('warden')) ? true : undefined,
    );
    await box.kill('SIGKILL');
    for (const slot of box.slots) slot.close();
    rmSync(join(box.board, 'participant-mesh'));
    rmSync(join(box.board, 'participant-shellstream'));
    rmSync(join(box.board, 'dataplane-reference'));
    await box.start();
    await box.ended();
    expect(await box.set(2, { by: 'console' })).toMatchObject({ refusal: { code: 'POSTURE_WARDEN_STALE' } });
    expect(box.read().level).toBe(1);
    box.beatWarden(true);
    await until('a fresh warden', async () =>
      !(await box.get()).alarms.some((a) => a.includes('warden')) ? true : undefined,
    );
    expect(await box.set(2, { by: 'console' })).toMatchObject({ decision: { to: 2 } });
  });
});

describe('after a crash', () => {
  // One box that dies again and again: every test leaves it serving, and begins at level 5.
  let box: Appliance;
  const stands = async (level: number) => {
    await box.ended();
    await box.set(level, { by: 'console' });
    await until(`level ${level}, completed`, () => {
      const { last } = journalOf(box);
      return last?.to === level && last.completed && box.read().level === level ? true : undefined;
    });
  };
  beforeAll(async () => {
    box = new Appliance();
    box.startWarden();
    await box.start();
  });
  beforeEach(() => stands(5));
  afterAll(() => box.close());

  it('PO-17 kill -9 after an answer: the decision stands, its key is known, no epoch comes twice', async () => {
    const idempotencyKey = 'survives-a-restart';
    const first = await box.set(3, { idempotencyKey });
    await box.kill();
    await box.start();
    expect(box.read().level).toBe(3);
    const again = await box.set(3, { idempotencyKey });
    if (first.outcome !== 'decision' || again.outcome !== 'decision') throw new Error('refused');
    expect(again.decision).toMatchObject({ epoch: first.decision.epoch, from: 5, to: 3, durable: true });
    expect(await box.set(2, { idempotencyKey })).toMatchObject({ refusal: { code: 'POSTURE_REPLAYED' } });
    const next = await box.set(2);
    if (next.outcome !== 'decision') throw new Error('refused');
    expect(next.decision.epoch).toBeGreaterThan(first.decision.epoch + 1_000n);
    // What was reported before the crash is still there.
    expect((await box.ended(first.decision.epoch)).source?.principal).toBe('user:ada');
  });

  it('PO-17 a word newer than the journal is the decision, and is journaled first', async () => {
    await box.set(4);
    await box.ended();
    const { epoch } = box.read();
    await box.kill();
    // The store was made, the record was not.
    const posture = createPostureSegment({ directory: box.board });
    posture.tighten({ epoch: epoch + 1n, from: 4, to: 2, receivedAtNs: monotonicNs() });
    posture.close();
    await box.start();
    expect(box.read()).toMatchObject({ level: 2, epoch: epoch + 1n });
    const report = await box.ended(epoch + 1n);
    expect(report).toMatchObject({ from: 4, to: 2, outcome: 'recovered', durable: true });
    await until('the completion', () => (journalOf(box).last?.completed === true ? true : undefined));
    expect(journalOf(box).last).toMatchObject({ epoch: epoch + 1n, from: 4, to: 2 });
  });

  it('PO-17 kill -9 within a loosening: the stricter level is in force, and the decision goes on', async () => {
    await box.set(3);
    await box.ended();
    const mesh = box.participant('mesh', 'overlay');
    await until('the participant', async () =>
      (await box.get()).services.some(({ name, pid }) => name === 'participant-mesh' && pid > 0)
        ? true
        : undefined,
    );
    const reply = await box.set(5);
    if (reply.outcome !== 'decision') throw new Error('refused');
    const { epoch } = reply.decision;
    await until('the release', () => (box.read().stage === STAGE.LOOSEN_PATHS ? true : undefined));
    await box.kill();
    expect(box.read().level).toBe(3);
    await box.start();
    expect(box.read()).toMatchObject({ level: 3 });
    const now = monotonicNs();
    mesh.acknowledge({
      epoch,
      stage: 'loosen-paths',
      outcome: 'applied',
      level: 5,
      startedAtNs: now,
      finishedAtNs: now,
      changes: 0,
    });
    await until('level 5', () => (box.read().level === 5 ? true : undefined));
    expect(await box.ended(epoch)).toMatchObject({ outcome: 'recovered', source: { principal: 'user:ada' } });
    mesh.close();
    rmSync(join(box.board, 'participant-mesh'));
    await until('nobody to wait for', async () =>
      (await box.get()).alarms.some((alarm) => alarm.startsWith('mesh of the path overlay is away'))
        ? true
        : undefined,
    );
  });

  it('PO-17 after a power cut the journal alone is enough; until completion the stricter level holds', async () => {
    await box.set(3);
    await box.ended();
    const { epoch } = box.read();
    await box.kill();
    rmSync(join(box.board, 'posture'));
    await box.start();
    expect(box.read().level).toBe(3);
    expect(box.read().epoch).toBeGreaterThan(epoch + 1_000n);
  });

  it('PO-17 a damaged journal means level 2 or stricter and an alarm until somebody loosens; it is kept', async () => {
    const alarmed = async () =>
      (await box.get()).alarms.join().includes('the decision journal is damaged at byte');
    for (const [level, expected] of [
      [4, 2],
      [1, 1],
    ] as const) {
      await stands(level);
      await box.kill();
      const bytes = readFileSync(box.journalPath);
      const { tail } = recoverJournal(bytes);
      bytes[tail - 60] = (bytes[tail - 60] ?? 0) ^ 0x20;
      writeFileSync(box.journalPath, bytes);
      await box.start();
      expect(box.read().level).toBe(expected);
      expect(await alarmed()).toBe(true);
      expect((await box.ended()).source?.reason).toContain('not certain what had been decided');
      expect(readFileSync(`${box.journalPath}.damaged`)).toEqual(bytes);
      expect(journalOf(box).damage).toBeUndefined();
      await stands(1);
      expect(await alarmed()).toBe(true);
      await box.set(4, { by: 'console' });
      await until('the end of the alarm', async () => ((await alarmed()) ? undefined : true));
    }
  });

  it('PO-17 a doubt outlives a power cut right after the journal was made anew', async () => {
    await box.kill();
    const bytes = readFileSync(box.journalPath);
    bytes[300] = (bytes[300] ?? 0) ^ 1;
    writeFileSync(box.journalPath, bytes);
    await box.start();
    const { level, epoch } = box.read();
    expect(level).toBe(2);
    await box.kill();
    // The power went before anything was appended to the new journal: it has what it was made with.
    const anew = readFileSync(box.journalPath);
    writeFileSync(box.journalPath, anew.fill(0, placeOf(anew, epoch)));
    rmSync(join(box.board, 'posture'));
    await box.start();
    expect(box.read().level).toBe(2);
  });

  it('PO-17 a journal that is gone from a provisioned box, or is cut, means level 2', async () => {
    await until('the mark', () => (existsSync(join(box.state, 'provisioned')) ? true : undefined));
    await box.kill();
    rmSync(box.journalPath);
    rmSync(join(box.board, 'posture'));
    await box.start();
    expect(box.read().level).toBe(2);
    expect((await box.get()).alarms.join()).toContain('journal is gone');
    await box.kill();
    truncateSync(box.journalPath, 200);
    await box.start();
    expect(box.read().level).toBe(2);
  });
});

describe('accords that cannot be used', () => {
  it('PO-4 only the console may loosen then, whatever the defaults are, and an alarm says so', async () => {
    const box = new Appliance({ accords: join(fileURLToPath(import.meta.url), '..', 'appliance.ts') });
    try {
      box.startWarden();
      await box.start();
      await box.set(4, { by: 'local/journeyman' });
      await box.ended();
      for (const by of ['local/site_owner', 'local/master'] as const) {
        expect(await box.set(5, { by })).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED' } });
      }
      expect((await box.get()).alarms.join()).toContain('the accords are not in use');
      expect(await box.set(5, { by: 'console' })).toMatchObject({ decision: { from: 4, to: 5 } });
    } finally {
      await box.close();
    }
  });
});

describe('storage that fails', () => {
  let box: Appliance;
  afterEach(() => box.close());

  it('PO-17 after a failed flush tightenings are applied and not durable, loosenings refused, the file left alone', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    await box.start();
    await box.set(4);
    await box.ended();
    await until('the completion', () => (journalOf(box).last?.completed === true ? true : undefined));
    faults.add({ ops: ['sync'], path: 'decisions.journal', action: 'fail', error: 'EIO' });
    expect(await box.set(3)).toMatchObject({ decision: { to: 3, durable: false } });
    expect(box.read().level).toBe(3);
    // The storage recovers; this process does not believe it.
    faults.clear();
    const left = readFileSync(box.journalPath);
    expect(await box.set(5)).toMatchObject({
      refusal: { code: 'POSTURE_NOT_DURABLE', rule: 'loosening-needs-journal' },
    });
    expect(await box.set(2)).toMatchObject({ decision: { to: 2, durable: false } });
    expect(box.read().level).toBe(2);
    await pause(200);
    expect(readFileSync(box.journalPath)).toEqual(left);
    expect((await box.get()).alarms.join()).toContain('journal takes no records');
    // A new process reads what is there; the word is newer and counts.
    await box.kill();
    await box.start();
    expect(box.read().level).toBe(2);
    // Who asked for it could not be written down: it is the console's to loosen.
    expect(await box.set(5)).toMatchObject({ refusal: { code: 'POSTURE_HELD' } });
    expect(await box.set(5, { by: 'console' })).toMatchObject({ decision: { to: 5, durable: true } });
  });

  it('PO-17 a loosening that was refused for its record does not come back with the next power cut', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    await box.start();
    await box.set(2);
    await box.ended();
    await until('the completion', () => (journalOf(box).last?.completed === true ? true : undefined));
    faults.add({ ops: ['sync'], path: 'decisions.journal', action: 'fail', error: 'EIO' });
    expect(await box.set(5)).toMatchObject({ refusal: { code: 'POSTURE_NOT_DURABLE' } });
    expect((await box.ended()).source?.reason).toContain('could not be written down');
    expect(journalOf(box)).toMatchObject({ damage: undefined, last: { from: 5, to: 2, completed: true } });
    await box.kill();
    rmSync(join(box.board, 'posture'));
    await box.start();
    await box.ended();
    expect(box.read()).toMatchObject({ level: 2, stage: STAGE.COMPLETE });
  });

  it('PO-17 nor does one that somebody else stood behind before its record failed', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    await box.start();
    await box.set(3);
    await box.ended();
    await until('the completion', () => (journalOf(box).last?.completed === true ? true : undefined));
    const flush = { ops: ['sync'], path: 'decisions.journal' } as const;
    const hang = faults.add({ ...flush, action: 'hang' });
    const tightened = box.set(2, { by: 'console' });
    await until('the end of it', () =>
      box.read().level === 2 && box.read().stage === STAGE.COMPLETE ? true : undefined,
    );
    // Both wait for the flush that hangs, and share the next.
    const loosened = box.set(3, { by: 'console' });
    await until('the loosening', async () => ((await box.get()).target === 3 ? true : undefined));
    const joined = box.set(3, { by: 'console' });
    expect(await box.set(5, { by: 'console' })).toMatchObject({ outcome: 'waiting' });
    faults.add({ ...flush, action: 'fail', error: 'EIO', skip: 1 });
    hang.remove();
    expect(await tightened).toMatchObject({ decision: { to: 2, durable: true } });
    for (const reply of [loosened, joined])
      expect(await reply).toMatchObject({ refusal: { code: 'POSTURE_NOT_DURABLE' } });
    expect(journalOf(box)).toMatchObject({ damage: undefined, last: { from: 3, to: 2 } });
    await box.kill();
    faults.clear();
    rmSync(join(box.board, 'posture'));
    await box.start();
    await box.ended();
    expect(box.read()).toMatchObject({ level: 2, stage: STAGE.COMPLETE });
  });

  it('PO-12 storage that is slow at the start does not stop the beat', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    faults.add({ ops: ['sync'], action: 'delay', ms: 1_000 });
    box.spawn();
    const beats = await until('a beat every 100 ms before it serves', () => {
      if (existsSync(join(box.sockets, 'console/posture.sock'))) throw new Error('it serves already');
      const count = existsSync(join(box.board, 'posture')) ? box.beats() : 0n;
      return count >= 6n ? count : undefined;
    });
    expect(beats).toBeGreaterThanOrEqual(6n);
    faults.clear();
    await box.serving();
  });

  it('PO-22 a disk that hangs at the start is given up on: tightenings are served, nothing loosens, an alarm says so', async () => {
    box = new Appliance({ storageAnswerMs: 500 });
    box.startWarden();
    await box.start();
    await box.set(4);
    await box.ended();
    await until('the completion', () => (journalOf(box).last?.completed === true ? true : undefined));
    await box.kill();
    const whole = readFileSync(box.journalPath);
    const faults = box.faults();
    const ops = ['open', 'write', 'sync', 'rename', 'link', 'unlink'] as const;
    faults.add({ ops, action: 'hang' });
    await box.start();
    // What cannot be read is doubt.
    expect(box.read().level).toBe(2);
    expect(await box.set(1)).toMatchObject({ decision: { to: 1, durable: false } });
    expect(box.read().level).toBe(1);
    expect(await box.set(3, { by: 'console' })).toMatchObject({ refusal: { code: 'POSTURE_NOT_DURABLE' } });
    expect((await box.get()).alarms.join()).toContain('STORAGE_SILENT');
    expect(readFileSync(box.journalPath)).toEqual(whole);
    // The disk answers again: the newer word counts, and no epoch comes twice.
    const { epoch } = box.read();
    await box.kill();
    faults.clear();
    await box.start();
    expect(box.read().level).toBe(1);
    expect(await box.set(3, { by: 'console' })).toMatchObject({
      decision: { from: 1, to: 3, durable: true },
    });
    expect(box.read().epoch).toBeGreaterThanOrEqual(epoch);
  });

  it('PO-17 epochs that could not be reserved are not issued again after a power cut', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    faults.add({ ops: ['sync'], action: 'fail', error: 'EIO' });
    await box.start();
    expect(await box.set(3)).toMatchObject({ decision: { durable: false } });
    const unreserved = box.read().epoch;
    expect(unreserved).toBeGreaterThan(EPOCH_JUMP);
    await box.kill();
    rmSync(join(box.board, 'posture'));
    faults.clear();
    await box.start();
    expect(await box.set(2)).toMatchObject({ decision: { durable: true } });
    expect(box.read().epoch).toBeLessThan(unreserved);
    expect(journalOf(box).reservedUpTo).toBeLessThan(unreserved);
  });

  it('PO-17 a full disk: what is preallocated goes on, what needs room fails towards the tighter', async () => {
    box = new Appliance({ journalRecords: 64 }, '256k');
    box.startWarden();
    await box.start();
    await box.set(4);
    await box.ended();
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${join(box.state, 'filler')}`, 'bs=4k'], { stdio: 'ignore' });
    } catch {
      // Full is what was wanted.
    }
    // Inside the preallocated file decisions are as durable as ever.
    expect(await box.set(3)).toMatchObject({ decision: { durable: true } });
    let durable = true;
    for (let round = 0; round < 40 && durable; round += 1) {
      await box.ended();
      const loosened = await box.set(5);
      await box.ended();
      const tightened = await box.set(3);
      durable = tightened.outcome === 'decision' && tightened.decision.durable;
      if (loosened.outcome === 'refusal') expect(loosened.refusal.code).toBe('POSTURE_NOT_DURABLE');
    }
    // The file was full, a new one found no room: the tightening is in force all the same.
    expect(durable).toBe(false);
    expect(box.read().level).toBe(3);
    expect(await box.set(1)).toMatchObject({ decision: { to: 1, durable: false } });
    expect(box.read().level).toBe(1);
    expect(await box.set(5, { by: 'console' })).toMatchObject({ refusal: { code: 'POSTURE_NOT_DURABLE' } });
  });

  it('PO-17 a journal that is full is written anew, with its decision, its reservation and its keys', async () => {
    box = new Appliance({ journalRecords: 64 });
    box.startWarden();
    await box.start();
    const idempotencyKey = 'carried-into-a-new-file';
    const first = await box.set(4, { idempotencyKey });
    if (first.outcome !== 'decision') throw new Error('refused');
    for (let round = 0; round < 20; round += 1) {
      await box.set(3);
      await box.ended();
      await box.set(5);
      await box.ended();
    }
    await box.kill();
    const summary = journalOf(box);
    expect(summary.damage).toBeUndefined();
    expect(summary.sequence).toBeGreaterThan(80n);
    expect(statSync(box.journalPath).size).toBe(64 * 128);
    await box.start();
    expect(box.read().level).toBe(5);
    expect(await box.set(4, { idempotencyKey })).toMatchObject({
      decision: { epoch: first.decision.epoch, to: 4, durable: true },
    });
  });
});
