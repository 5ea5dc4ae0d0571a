import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open as openFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  type PostureWriter,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ParticipantSlot } from './participant-slot.js';
import { BOARD_EVENTS, PostureBoard } from './posture-board.js';
import { wordOf } from './posture-word.js';

const uid = process.getuid?.() ?? 0;
let directory: string;
let open: { close(): void }[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-board-'));
  await chmod(directory, 0o1775);
  open = [];
});
afterEach(async () => {
  for (const each of open.reverse()) each.close();
  await rm(directory, { recursive: true, force: true });
});

function keep<T extends { close(): void }>(thing: T): T {
  open.push(thing);
  return thing;
}

interface Told {
  readonly name: string;
  readonly event: Record<string, unknown>;
}

function boardOf(files: string[], more: { now?: () => bigint; rescanMs?: number } = {}) {
  const board = keep(
    new PostureBoard({
      directory,
      owners: Object.fromEntries(files.map((file) => [file, uid])),
      realtime: false,
      rescanMs: 20,
      ...more,
    }),
  );
  const told: Told[] = [];
  for (const name of BOARD_EVENTS) {
    board.on(name, (event: unknown) => told.push({ name, event: event as Record<string, unknown> }));
  }
  const names = () => told.map((each) => each.name);
  const events = (name: string) => told.filter((each) => each.name === name).map(({ event }) => event);
  return { board, told, names, events };
}

const posture = (): PostureWriter => keep(createPostureSegment({ directory }));
const warden = (): SegmentWriter => {
  const writer = keep(createSegment({ directory, name: 'warden', kind: 'warden' }));
  writer.store64(layout.warden.budgetNs, 1_000_000n);
  writer.store64(layout.warden.budgetNs + 8, 5_000_000_000n);
  writer.store64(layout.warden.budgetNs + 16, 10_000_000_000n);
  writer.store64(layout.warden.staleNs, 1_000_000_000n);
  writer.beat(true);
  return writer;
};
const dataplane = (workers = 1): SegmentWriter => {
  const writer = keep(createSegment({ directory, name: 'dataplane-reference', kind: 'dataplane' }));
  writer.store32(layout.dataplane.workers, workers);
  for (let index = 0; index < workers; index++) {
    writer.store32(layout.dataplane.worker + index * layout.worker.size + layout.worker.live, 1);
  }
  return writer;
};
const workerAck = (
  writer: SegmentWriter,
  index: number,
  epoch: bigint,
  level: number,
  finishedAtNs = monotonicNs(),
) => {
  writer.writeAck(layout.dataplane.worker + index * layout.worker.size + layout.worker.ack, {
    epoch,
    startedAtNs: finishedAtNs - 10n,
    finishedAtNs,
    stage: enums.stage.TIGHTEN,
    outcome: enums.outcome.APPLIED,
    level,
    changes: 0,
  });
};
const setFailClosed = (writer: SegmentWriter, path: number, word: bigint, count: bigint) => {
  const at = layout.warden.failClosed + path * layout.failClosed.size;
  writer.store64(
    at + (word === 0n ? layout.failClosed.clearedAtNs : layout.failClosed.setAtNs),
    monotonicNs(),
  );
  writer.store64(at + layout.failClosed.count, count);
  writer.store64(at + layout.failClosed.word, word);
  writer.ring();
};
const loosen = (writer: PostureWriter, epoch: bigint, from: number, to: number, stage: number) => {
  writer.writeTransition({
    epoch,
    from,
    to,
    stage,
    flags: 0,
    receivedAtNs: monotonicNs(),
    decidedAtNs: monotonicNs(),
    stageAtNs: monotonicNs(),
    budgetNs: [0n, 0n, 0n],
  });
};
const tighten = (writer: PostureWriter, epoch: bigint, from: number, to: number) =>
  writer.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });

describe('what a reader of the board is told', () => {
  it('PO-15 a tightening is told as decided, then as changed, with the times of the writer', async () => {
    const writer = posture();
    writer.storeWord(1n, 5);
    const { events, names } = boardOf(['posture']);
    const { decidedAtNs, storedAtNs } = writer.tighten({
      epoch: 2n,
      from: 5,
      to: 3,
      receivedAtNs: 7n,
      budgetNs: [500_000n, 0n, 0n],
    });
    await expect.poll(names).toEqual(['posture.decided', 'posture.changed']);
    expect(events('posture.decided')).toEqual([
      {
        epoch: 2n,
        from: 5,
        to: 3,
        stage: 'tighten',
        receivedAtNs: 7n,
        decidedAtNs,
        stageAtNs: expect.any(BigInt) as bigint,
        budgetNs: { dataplane: 500_000n, overlay: 0n, underlay: 0n },
        tightening: true,
        missedEpochs: 0n,
        restarted: false,
        initial: false,
      },
    ]);
    expect(events('posture.changed')).toMatchObject([
      { level: 3, before: 5, storedAtNs, word: { epoch: 2n, level: 3, valid: true } },
    ]);
  });

  it('PO-15 a loosening is told stage by stage, and the word last', async () => {
    const writer = posture();
    tighten(writer, 1n, 5, 2);
    const { events, names } = boardOf(['posture']);
    for (const stage of [
      enums.stage.LOOSEN_DECIDED,
      enums.stage.LOOSEN_PATHS,
      enums.stage.LOOSEN_SESSIONS,
      enums.stage.LOOSEN_DATAPLANE,
    ]) {
      const before = names().length;
      loosen(writer, 2n, 2, 4, stage);
      if (stage === enums.stage.LOOSEN_DATAPLANE) writer.storeWord(2n, 4);
      await expect.poll(() => names().length).toBeGreaterThan(before);
    }
    await expect.poll(() => events('posture.changed')).toHaveLength(1);
    expect(events('posture.decided')).toMatchObject([
      { epoch: 2n, tightening: false, stage: 'loosen-decided' },
    ]);
    expect(
      events('posture.staged').map(({ before, stage }) => `${String(before)} > ${String(stage)}`),
    ).toEqual([
      'loosen-decided > loosen-paths',
      'loosen-paths > loosen-sessions',
      'loosen-sessions > loosen-dataplane',
    ]);
    expect(events('posture.changed')).toMatchObject([{ before: 2, level: 4 }]);
  });

  it('PO-2 from a level to itself the stages say the direction, and the last ones keep it', () => {
    const writer = posture();
    writer.storeWord(6n, 5);
    const { board: reader } = boardOf(['posture']);
    const at = (epoch: bigint, stage: keyof typeof enums.stage): boolean | undefined => {
      writer.writeTransition({
        epoch,
        from: 5,
        to: 5,
        stage: enums.stage[stage],
        flags: 0,
        receivedAtNs: 0n,
        decidedAtNs: monotonicNs(),
        stageAtNs: monotonicNs(),
        budgetNs: [0n, 0n, 0n],
      });
      return reader.snapshot().transition?.tightening;
    };
    expect(at(7n, 'LOOSEN_DECIDED')).toBe(false);
    expect([at(7n, 'VERIFY'), at(7n, 'COMPLETE')]).toEqual([false, false]);
    expect([at(8n, 'TIGHTEN'), at(8n, 'VERIFY'), at(8n, 'COMPLETE')]).toEqual([true, true, true]);
    // Whoever saw no earlier stage believes the stricter.
    expect(at(9n, 'VERIFY')).toBe(true);
  });

  it('PO-15 decisions that came faster than the event loop are counted, and the newest is told', async () => {
    const writer = posture();
    tighten(writer, 1n, 5, 4);
    const { board, events } = boardOf(['posture']);
    tighten(writer, 2n, 4, 3);
    tighten(writer, 3n, 3, 2);
    tighten(writer, 4n, 2, 1);
    const until = Date.now() + 30; // the event loop is busy meanwhile
    while (Date.now() < until);
    await expect
      .poll(() => events('posture.decided'))
      .toMatchObject([{ epoch: 4n, to: 1, missedEpochs: 2n }]);
    expect(board.counts().missedEpochs).toBe(2n);
    await expect
      .poll(() => {
        const { rings, delivered, coalesced } = board.counts();
        return [rings, delivered + coalesced];
      })
      .toEqual([3, 3]);
  });

  it('a service that has just started is told what stands there', () => {
    tighten(posture(), 9n, 5, 2);
    const { board, events } = boardOf(['posture']);
    expect(events('posture.decided')).toEqual([]);
    board.announce();
    expect(events('posture.decided')).toMatchObject([{ epoch: 9n, to: 2, initial: true, missedEpochs: 0n }]);
  });

  it('DP-3 the data plane has acknowledged when every live worker has, and it is told once', async () => {
    const writer = posture();
    const plane = dataplane(2);
    const { events } = boardOf(['posture', 'dataplane-reference']);
    tighten(writer, 5n, 5, 2);
    workerAck(plane, 0, 5n, 2, 1_000n);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(events('dataplane.acknowledged')).toEqual([]);
    workerAck(plane, 1, 5n, 2, 2_000n);
    await expect.poll(() => events('dataplane.acknowledged')).toHaveLength(1);
    plane.ring();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(events('dataplane.acknowledged')).toMatchObject([
      {
        epoch: 5n,
        startedAtNs: 990n,
        finishedAtNs: 2_000n,
        workers: [{ who: 'reference/0' }, { who: 'reference/1', ack: { level: 2 } }],
      },
    ]);
  });

  it('DP-3 a worker that does not live is not waited for; a data plane without any acknowledges nothing', async () => {
    const writer = posture();
    const plane = dataplane(2);
    const { events } = boardOf(['posture', 'dataplane-reference']);
    const second = layout.dataplane.worker + layout.worker.size + layout.worker.live;
    const first = layout.dataplane.worker + layout.worker.live;
    plane.store32(first, 0);
    plane.store32(second, 0);
    tighten(writer, 5n, 5, 2);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(events('dataplane.acknowledged')).toEqual([]);
    plane.store32(first, 1);
    workerAck(plane, 0, 5n, 2);
    await expect
      .poll(() => events('dataplane.acknowledged'))
      .toMatchObject([{ workers: [{ who: 'reference/0' }] }]);
  });

  it('PO-15 the fail-closed line is told when it is set and cleared, and outlasts a looser word', async () => {
    const writer = posture();
    const guard = warden();
    writer.storeWord(1n, 5);
    const { board, events } = boardOf(['posture', 'warden']);
    setFailClosed(guard, enums.path.DATAPLANE, wordOf(2n, 2), 1n);
    await expect
      .poll(() => events('failclosed.set'))
      .toMatchObject([{ path: 'dataplane', word: { epoch: 2n, level: 2 }, missed: 0n }]);
    expect(events('posture.changed')).toMatchObject([{ before: 5, level: 2 }]);
    writer.storeWord(3n, 5);
    expect(board.snapshot()).toMatchObject({
      level: 2,
      levels: { dataplane: 2, overlay: 5 },
      word: { level: 5 },
    });
    setFailClosed(guard, enums.path.DATAPLANE, 0n, 1n);
    await expect.poll(() => events('failclosed.cleared')).toMatchObject([{ path: 'dataplane' }]);
    expect(board.snapshot()).toMatchObject({ level: 5, failClosed: {} });
    setFailClosed(guard, enums.path.OVERLAY, wordOf(4n, 1), 4n);
    await expect.poll(() => events('failclosed.set')).toHaveLength(2);
    expect(events('failclosed.set')[1]).toMatchObject({ path: 'overlay', missed: 3n });
  });

  it('PO-13 every event of the warden is told once, and those that were overwritten are counted', async () => {
    const guard = warden();
    const write = (number: bigint, kind: number) => {
      const at = layout.warden.violation + Number(number % 256n) * layout.violation.size;
      guard.store64(at + layout.violation.sequence, 2n * number + 1n);
      guard.store64(at + layout.violation.atNs, 5n);
      guard.store64(at + layout.violation.epoch, 7n);
      guard.store64(at + layout.violation.deadlineNs, 4n);
      guard.store32(at + layout.violation.kind, kind);
      guard.store32(at + layout.violation.path, enums.path.DATAPLANE);
      guard.store32(at + layout.violation.level, 2);
      guard.store32(at + layout.violation.outcome, 0xffff_ffff);
      guard.write(at + layout.violation.subject, Buffer.from('reference/0\0'));
      guard.store64(at + layout.violation.sequence, 2n * number + 2n);
      guard.store64(layout.warden.violations, number + 1n);
    };
    write(0n, enums.violationKind.BUDGET);
    const { board, events } = boardOf(['warden'], { rescanMs: 1000 });
    write(1n, enums.violationKind.BUDGET);
    guard.ring();
    await expect
      .poll(() => events('warden.violation'))
      .toEqual([
        {
          number: 1n,
          kind: 'budget',
          path: 'dataplane',
          atNs: 5n,
          epoch: 7n,
          deadlineNs: 4n,
          level: 2,
          outcome: -1,
          actedAtNs: 0n,
          subject: 'reference/0',
          lost: 0n,
        },
      ]);
    for (let number = 2n; number < 262n; number += 1n) write(number, enums.violationKind.ALARM);
    guard.ring();
    await expect.poll(() => events('warden.violation')).toHaveLength(257);
    expect(events('warden.violation')[1]).toMatchObject({ number: 6n, kind: 'alarm', lost: 4n });
    expect(board.counts().lostViolations).toBe(4n);
    write(262n, 99);
    guard.ring();
    await expect.poll(() => board.counts().lostViolations).toBe(5n);
    expect(events('warden.violation')).toHaveLength(257);
  });

  it('PO-15 a participant acknowledges with its stage, never backwards, and a restarted one goes on', async () => {
    const slot = keep(ParticipantSlot.create({ directory, name: 'overlay', path: 'overlay' }));
    const { events } = boardOf(['participant-overlay']);
    const ack = {
      epoch: 4n,
      stage: 'tighten',
      outcome: 'applied',
      level: 3,
      startedAtNs: 10n,
      finishedAtNs: 20n,
      changes: 6,
    } as const;
    slot.acknowledge(ack);
    await expect
      .poll(() => events('participant.acknowledged'))
      .toEqual([{ name: 'overlay', path: 'overlay', ack }]);
    slot.acknowledge({ ...ack, stage: 'loosen-paths' });
    await expect.poll(() => events('participant.acknowledged')).toHaveLength(2);
    const wrong: [object, string][] = [
      [{ epoch: 3n }, 'BUS_ACK_ORDER'],
      [{ epoch: -1n }, 'UNITS_EPOCH'],
      [{ level: 6 }, 'UNITS_LEVEL'],
      [{ changes: -1 }, 'BUS_ACK_INVALID'],
      [{ finishedAtNs: 9n }, 'BUS_ACK_INVALID'],
    ];
    for (const [part, code] of wrong) {
      expect(() => {
        slot.acknowledge({ ...ack, ...part });
      }).toThrow(expect.objectContaining({ code }));
    }
    expect(() => ParticipantSlot.create({ directory, name: 'overlay', path: 'overlay' })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_BUSY' }),
    );
    slot.close();
    expect(keep(ParticipantSlot.create({ directory, name: 'overlay', path: 'overlay' })).epoch).toBe(4n);
  });
});

describe('files that come and go', () => {
  it('PO-16 a file that appears later is opened, and its rings arrive', async () => {
    const { board, names, events } = boardOf(['posture', 'warden']);
    expect(board.snapshot()).toMatchObject({
      level: 1,
      gateLevel: 1,
      postureReadable: false,
      wardenFresh: false,
    });
    const writer = posture();
    await expect.poll(names).toEqual(['board.found']);
    tighten(writer, 1n, 5, 3);
    await expect.poll(() => events('posture.decided')).toMatchObject([{ epoch: 1n }]);
    expect(board.snapshot()).toMatchObject({ level: 3, postureReadable: true });
  });

  it('PO-16 a decision made while the file was not open is told as soon as it is', async () => {
    const { events } = boardOf(['posture']);
    tighten(posture(), 6n, 5, 2);
    await expect.poll(() => events('posture.decided')).toMatchObject([{ epoch: 6n }]);
  });

  it('PO-16 a file that is removed is lost and keeps its last state; its successor is opened', async () => {
    const first = createPostureSegment({ directory });
    tighten(first, 3n, 5, 2);
    const { board, events } = boardOf(['posture']);
    await rm(join(directory, 'posture'));
    await expect
      .poll(() => events('board.lost'))
      .toMatchObject([{ file: 'posture', code: 'SEGMENT_MISSING' }]);
    expect(board.snapshot()).toMatchObject({
      level: 2,
      postureReadable: false,
      files: [{ state: 'lost', stale: true }],
    });
    first.close();
    tighten(posture(), 4n, 2, 1);
    await expect.poll(() => events('board.found')).toHaveLength(1);
    await expect.poll(() => events('posture.decided')).toMatchObject([{ epoch: 4n, to: 1 }]);
    expect(board.snapshot()).toMatchObject({ level: 1, postureReadable: true });
    expect(events('board.lost')).toHaveLength(1);
  });

  it('PO-16 a writer that starts again on its file is noticed by its incarnation', async () => {
    const first = createPostureSegment({ directory });
    tighten(first, 3n, 5, 4);
    const { board, events } = boardOf(['posture']);
    first.close();
    const second = posture();
    await expect.poll(() => board.snapshot().files[0]?.incarnation).toBe(2n);
    tighten(second, 1003n, 4, 2);
    await expect
      .poll(() => events('posture.decided'))
      .toMatchObject([{ missedEpochs: 999n, restarted: true }]);
    tighten(second, 1004n, 2, 1);
    await expect
      .poll(() => events('posture.decided'))
      .toMatchObject([{}, { missedEpochs: 0n, restarted: false }]);
  });

  it('PO-15 the first decision of a coordinator that was started again says so, however soon it comes', async () => {
    const first = createPostureSegment({ directory });
    tighten(first, 3n, 5, 4);
    const { events } = boardOf(['posture'], { rescanMs: 600_000 });
    first.close();
    tighten(posture(), 1003n, 4, 2);
    await expect
      .poll(() => events('posture.decided'))
      .toMatchObject([{ missedEpochs: 999n, restarted: true }]);
  });

  it('PO-16 a header that is damaged under its reader is a loss until it is whole again', async () => {
    tighten(posture(), 3n, 5, 4);
    const { board, events } = boardOf(['posture']);
    const file = await openFile(join(directory, 'posture'), 'r+');
    try {
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, layout.header.version);
      await file.write(Buffer.from([9]), 0, 1, layout.header.version);
      await expect
        .poll(() => events('board.lost'))
        .toMatchObject([{ file: 'posture', code: 'SEGMENT_VERSION' }]);
      expect(board.snapshot()).toMatchObject({
        level: 4,
        postureReadable: false,
        files: [{ state: 'lost', stale: true, serving: false }],
      });
      await file.write(buffer, 0, 1, layout.header.version);
      await expect.poll(() => events('board.found')).toMatchObject([{ file: 'posture', incarnation: 1n }]);
      expect(board.snapshot().postureReadable).toBe(true);
      expect(events('board.lost')).toHaveLength(1);
    } finally {
      await file.close();
    }
  });

  it.each(['posture.decided', 'posture.changed', 'warden.violation', 'board.lost'] as const)(
    'closing the board while %s is told ends it there',
    async (name) => {
      const [writer, guard] = [posture(), warden()];
      writer.storeWord(1n, 5);
      const { board, told } = boardOf(['posture', 'warden']);
      let after: number | undefined;
      board.on(name, () => {
        board.close();
        after = told.length;
      });
      guard.store64(layout.warden.violation + layout.violation.sequence, 2n);
      guard.store32(layout.warden.violation + layout.violation.kind, 1);
      guard.store64(layout.warden.violations, 1n);
      tighten(writer, 2n, 5, 3);
      await rm(join(directory, 'warden'));
      await expect.poll(() => after).toBeGreaterThan(0);
      expect(told).toHaveLength(after ?? 0);
    },
  );

  it('PO-16 what is not a segment, or not of the owner expected, is not read', async () => {
    await writeFile(join(directory, 'warden'), 'nonsense', { mode: 0o644 });
    posture().storeWord(1n, 5);
    const { board } = boardOf(['warden']);
    expect(board.snapshot().files).toMatchObject([{ state: 'missing', why: { code: 'SEGMENT_SIZE' } }]);
    const foreign = keep(new PostureBoard({ directory, owners: { posture: uid + 1 }, realtime: false }));
    expect(foreign.snapshot()).toMatchObject({ level: 1, files: [{ why: { code: 'SEGMENT_OWNER' } }] });
  });

  it('PO-16 a board whose directory others can write to is refused, and so is a file the board does not have', async () => {
    expect(() => new PostureBoard({ directory, owners: { diary: 0 } })).toThrow(
      expect.objectContaining({ code: 'BUS_BOARD_FILES', field: 'owners.diary' }),
    );
    expect(() => new PostureBoard({ directory, owners: {} })).toThrow(
      expect.objectContaining({ code: 'BUS_BOARD_FILES' }),
    );
    await chmod(directory, 0o777);
    expect(() => new PostureBoard({ directory, owners: { posture: 0 } })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_DIRECTORY' }),
    );
  });
});

describe('what the board means', () => {
  it('PO-15 gates obey the stricter of the word and the target of the transition', () => {
    const writer = posture();
    tighten(writer, 1n, 5, 3);
    const { board } = boardOf(['posture']);
    expect(board.snapshot()).toMatchObject({ level: 3, gateLevel: 3 });
    loosen(writer, 2n, 3, 5, enums.stage.LOOSEN_PATHS);
    expect(board.snapshot()).toMatchObject({ level: 3, gateLevel: 3, transition: { to: 5 } });
    // The line is there before the word: in between, gates are shut already.
    loosen(writer, 3n, 3, 1, enums.stage.TIGHTEN);
    expect(board.snapshot()).toMatchObject({ level: 3, gateLevel: 1 });
  });

  it('PO-15 a word whose level is none is lockdown', () => {
    const writer = posture();
    for (const level of [0n, 6n, 7n]) {
      writer.store64(layout.posture.word, (9n << 16n) | level);
      expect(boardOf(['posture']).board.snapshot()).toMatchObject({
        level: 1,
        word: { epoch: 9n, valid: false },
      });
    }
  });

  it('PO-16 a line out of its range is a fault and the last good one stands', () => {
    const writer = posture();
    const guard = warden();
    const plane = dataplane();
    tighten(writer, 1n, 5, 2);
    const { board } = boardOf(['posture', 'warden', 'dataplane-reference']);
    expect(board.snapshot().faults).toEqual([]);
    writer.store32(layout.posture.transition + layout.transition.to, 9);
    guard.store64(layout.warden.budgetNs, 1n << 60n);
    plane.store32(layout.dataplane.workers, 4_000_000_000);
    plane.store32(layout.dataplane.safeLevel, 77);
    const after = board.snapshot();
    expect(after.faults.map(({ file, field }) => `${file} ${field}`)).toEqual([
      'posture transition',
      'warden budget.dataplane',
      'dataplane-reference workers',
      'dataplane-reference safe_level',
    ]);
    expect(after).toMatchObject({
      gateLevel: 2,
      transition: { epoch: 1n, to: 2 },
      dataplanes: [{ workers: [], safeLevel: 1 }],
    });
    // Torn for good: its writer died in the middle.
    writer.store32(layout.posture.transition + layout.transition.to, 2);
    writer.store64(layout.posture.transition, 7n);
    expect(board.snapshot()).toMatchObject({ transition: { epoch: 1n }, faults: { length: 4 } });
  });

  it('PO-12 beats have ages, go stale by the limit of the warden, and one from the future counts as none', () => {
    const writer = posture();
    const guard = warden();
    let now = monotonicNs();
    const { board } = boardOf(['posture', 'warden', 'tables'], { now: () => now });
    const file = (name: string) => board.snapshot().files.find((each) => each.file === name);
    expect(file('posture')).toMatchObject({
      stale: true,
      beatAgeNs: undefined,
      alive: true,
      pid: process.pid,
    });
    writer.beat(true);
    guard.beat(true);
    now = monotonicNs();
    expect(file('posture')).toMatchObject({ stale: false, serving: true });
    expect(board.snapshot().wardenFresh).toBe(true);
    now += 1_100_000_000n;
    expect(file('posture')).toMatchObject({ stale: true, serving: false });
    expect(board.snapshot().wardenFresh).toBe(false);
    guard.store64(layout.warden.staleNs, 3_000_000_000n);
    expect(board.snapshot().wardenFresh).toBe(true);
    now -= 10_000_000_000n;
    expect(file('posture')).toMatchObject({ stale: true, beatAgeNs: undefined });
    expect(file('tables')).toMatchObject({ state: 'missing', stale: true, alive: false });
  });

  it('PO-19 a killed writer shows as dead at once', async () => {
    const script = `import('@kedge/shared-memory-ipc').then(({ createSegment }) => {
      createSegment({ directory: process.argv[1], name: 'tables', kind: 'tables' }).beat(true); console.log('up');
      setInterval(() => {}, 1000); });`;
    const child = spawn(
      process.execPath,
      ['--conditions=default', '--input-type=module', '-e', script, directory],
      {
        cwd: import.meta.dirname,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout, 'data');
    const { board } = boardOf(['tables']);
    expect(board.snapshot().files).toMatchObject([{ alive: true, stale: false, pid: child.pid }]);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(board.snapshot().files).toMatchObject([{ alive: false, stale: false }]);
  });

  it('PO-20 whoever believes in another posture is named, and after its budget it is overdue', () => {
    const writer = posture();
    const guard = warden();
    const plane = dataplane();
    const slot = keep(ParticipantSlot.create({ directory, name: 'overlay', path: 'overlay' }));
    let now = 0n;
    const { board } = boardOf(['posture', 'warden', 'participant-overlay', 'dataplane-reference'], {
      now: () => now,
    });
    const disagreements = () =>
      board.snapshot().disagreements.map(({ who, believes, inForce, overdue }) => {
        const says = `${who} ${believes.level ?? '-'} not ${inForce.level}`;
        return overdue ? `${says}, overdue` : says;
      });
    const { decidedAtNs } = tighten(writer, 1n, 5, 3);
    now = decidedAtNs + 900_000n;
    expect(disagreements()).toEqual(['overlay - not 3', 'reference/0 - not 3']);
    now = decidedAtNs + 1_100_000n;
    expect(disagreements()).toEqual(['overlay - not 3', 'reference/0 - not 3, overdue']);
    workerAck(plane, 0, 1n, 3);
    const ack = {
      stage: 'tighten',
      outcome: 'applied',
      startedAtNs: 1n,
      finishedAtNs: 2n,
      changes: 0,
    } as const;
    now = decidedAtNs + 5_000_000_001n;
    expect(disagreements()).toEqual(['overlay - not 3, overdue']);
    slot.acknowledge({ ...ack, epoch: 1n, level: 3 });
    expect(disagreements()).toEqual([]);

    // A loosening binds the overlay from its stage on, the data plane from the word on.
    loosen(writer, 2n, 3, 5, enums.stage.LOOSEN_DECIDED);
    expect(disagreements()).toEqual([]);
    loosen(writer, 2n, 3, 5, enums.stage.LOOSEN_PATHS);
    expect(disagreements()).toEqual(['overlay 3 not 5']);
    slot.acknowledge({ ...ack, epoch: 2n, level: 5 });
    now = writer.storeWord(2n, 5).storedAtNs + 900_000n;
    expect(disagreements()).toEqual(['reference/0 3 not 5']);
    workerAck(plane, 0, 2n, 5);
    expect(disagreements()).toEqual([]);

    // Fail-closed and safe level bind too.
    setFailClosed(guard, enums.path.OVERLAY, wordOf(2n, 2), 1n);
    plane.store32(layout.dataplane.safeLevel, 2);
    expect(disagreements()).toEqual(['overlay 5 not 2', 'reference/0 5 not 2']);
  });
});
