import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  crc32,
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  openSegment,
  SegmentError,
  segmentKinds,
  verifyDirectory,
  type AckLine,
  type SegmentKind,
  type SegmentReader,
  type TransitionLine,
} from './index.js';

const uid = process.getuid?.() ?? 0;
const open: SegmentReader[] = [];
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-segment-'));
});

afterEach(() => {
  for (const segment of open.splice(0)) segment.close();
  rmSync(directory, { recursive: true, force: true });
});

function kept<S extends SegmentReader>(segment: S): S {
  open.push(segment);
  return segment;
}

const coordinator = () => kept(createPostureSegment({ directory }));
const reader = (owner: number | 'any' = uid, name = 'posture', kind: SegmentKind = 'posture') =>
  kept(openSegment({ directory, name, kind, owner }));
const file = (name = 'posture') => join(directory, name);

/** The code that an action is refused with; fails the test when it is not refused. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(SegmentError);
    const { code, message, field, expected, help } = error as SegmentError;
    for (const part of [message, field, expected, help]) expect(part?.length).toBeGreaterThan(1);
    return code;
  }
  throw new Error('it was not refused');
}

/** Overwrites bytes of a file behind everybody's back. */
function poke(offset: number, bytes: Uint8Array, name = 'posture'): void {
  const fd = openSync(file(name), 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

/** Makes the header's checksum right again, so that only the poked field is wrong. */
function seal(name = 'posture'): void {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(readFileSync(file(name)).subarray(0, layout.header.checksum)));
  poke(layout.header.checksum, sum, name);
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

const line = (over: Partial<TransitionLine> = {}): TransitionLine => ({
  epoch: 7n,
  from: 5,
  to: 2,
  stage: enums.stage.LOOSEN_DECIDED,
  flags: 0,
  receivedAtNs: 1n,
  decidedAtNs: 2n,
  stageAtNs: 3n,
  budgetNs: [4n, 5n, (1n << 64n) - 1n],
  ...over,
});

const ackLine = (over: Partial<AckLine> = {}): AckLine => ({
  epoch: 7n,
  startedAtNs: 1n,
  finishedAtNs: 2n,
  stage: enums.stage.TIGHTEN,
  outcome: enums.outcome.APPLIED,
  level: 2,
  changes: 3,
  ...over,
});

describe('creating and opening', () => {
  it('PO-16 gives every kind its file, whole, mode 0644, with a header that tells its writer', () => {
    let seen = 0;
    for (const kind of segmentKinds) {
      const writer = kept(createSegment({ directory, name: `a-${kind}`, kind }));
      const header = reader(uid, `a-${kind}`, kind).header;
      expect(header).toEqual({
        version: layout.limits.layoutVersion,
        kind,
        size: layout[kind].size,
        bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
        incarnation: 1n,
        writerPid: process.pid,
        writerStart: BigInt(readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[19] ?? '0'),
        writerUid: uid,
        name: `a-${kind}`,
      });
      expect(writer.replaced).toBeUndefined();
      const stat = statSync(file(`a-${kind}`));
      expect([stat.mode & 0o7777, stat.size, stat.nlink]).toEqual([0o644, layout[kind].size, 1]);
      expect(stat.blocks * 512).toBeGreaterThanOrEqual(layout[kind].size);
      seen++;
    }
    expect(seen).toBe(5);
    expect(readdirSync(directory).filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  it('PO-16 maps other people’s segments read-only and its own for writing', () => {
    coordinator();
    reader();
    const mappings = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .filter((entry) => entry.endsWith(file()))
      .map((entry) => entry.split(/\s+/)[1]);
    expect(mappings.sort()).toEqual(['r--s', 'rw-s']);
  });

  it('PO-16 lets only one writer hold a segment', () => {
    const first = coordinator();
    expect(refusal(coordinator)).toBe('SEGMENT_BUSY');
    expect(refusal(() => createSegment({ directory, name: 'posture', kind: 'posture' }))).toBe(
      'SEGMENT_BUSY',
    );
    unlinkSync(file());
    expect(refusal(coordinator)).toBe('SEGMENT_BUSY');
    first.close();
    coordinator();
  });

  it('keeps contents and raises the incarnation when a writer comes back, also for readers that stayed', () => {
    const first = coordinator();
    const stayed = reader();
    first.tighten({ epoch: 41n, from: 5, to: 3, receivedAtNs: 1n });
    first.close();
    const second = coordinator();
    expect(second.word() >> 16n).toBe(41n);
    expect(second.header.incarnation).toBe(2n);
    expect(stayed.header.incarnation).toBe(2n);
    expect(stayed.current()).toBe(true);
    expect(stayed.transition()?.to).toBe(3);
  });

  it('PO-19 does not serve any more once another writer takes over, before that one says so', () => {
    const first = coordinator();
    first.beat(true);
    const serving = () => stayed.load32(layout.posture.beat + layout.beat.serving);
    const stayed = reader();
    first.close();
    expect(serving()).toBe(1);
    const second = coordinator();
    expect(serving()).toBe(0);
    second.beat(true);
    expect(serving()).toBe(1);
  });

  it('refuses each wrong field of the header by name, and its writer then replaces the file and says why', () => {
    const h = layout.header;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replaceAll('-', '').trim();
    const otherBoot = Buffer.from(boot, 'hex').map((byte) => byte ^ 1);
    const wrong: [field: string, offset: number, bytes: Buffer, code: string, sealed: boolean][] = [
      ['magic', h.magic, u64(0x316567644cn), 'SEGMENT_MAGIC', true],
      ['version', h.version, u32(layout.limits.layoutVersion + 1), 'SEGMENT_VERSION', true],
      ['kind', h.kind, u32(enums.segmentKind.WARDEN), 'SEGMENT_KIND', true],
      ['size', h.bytes, u64(385n), 'SEGMENT_SIZE', true],
      ['boot id', h.bootId + 5, Buffer.from(otherBoot.subarray(5, 6)), 'SEGMENT_BOOT', true],
      ['incarnation', h.incarnation, u64(99n), 'SEGMENT_CHECKSUM', false],
      ['writer start', h.writerStart, u64(99n), 'SEGMENT_CHECKSUM', false],
      ['writer pid', h.writerPid, u32(99), 'SEGMENT_CHECKSUM', false],
      ['writer uid', h.writerUid, u32(uid + 1), 'SEGMENT_OWNER', true],
      ['name', h.name, Buffer.from('x'), 'SEGMENT_NAME', true],
      ['unterminated name', h.name, Buffer.alloc(32, 'p'), 'SEGMENT_NAME', true],
      ['checksum', h.checksum, u32(1), 'SEGMENT_CHECKSUM', false],
    ];
    let tried = 0;
    for (const [field, offset, bytes, code, sealed] of wrong) {
      coordinator().close();
      const stayed = reader();
      poke(offset, bytes);
      if (sealed) seal();
      expect([field, refusal(reader)]).toEqual([field, code]);
      expect([field, refusal(() => stayed.header)]).toEqual([field, code]);
      const writer = coordinator();
      const why = code === 'SEGMENT_OWNER' ? 'checksum' : code.slice('SEGMENT_'.length).toLowerCase();
      expect([field, writer.replaced]).toEqual([field, why]);
      expect(writer.header.incarnation).toBe(1n);
      expect(stayed.current()).toBe(false);
      reader();
      writer.close();
      tried++;
    }
    expect(tried).toBe(12);
  });

  it('refuses a header that is never finished, within a bound, and the next writer repairs it', () => {
    const writer = coordinator();
    writer.storeWord(9n, 2);
    writer.close();
    poke(layout.header.opening, u32(1));
    poke(layout.header.writerPid, u32(1));
    expect(refusal(reader)).toBe('SEGMENT_OPENING');
    const next = coordinator();
    expect(next.replaced).toBeUndefined();
    expect(next.word()).toBe((9n << 16n) | 2n);
    expect(reader().header.incarnation).toBe(2n);
  });

  it('refuses what is not the expected file, and says what it is', () => {
    const cases: [what: string, make: () => void, code: string][] = [
      ['missing', () => undefined, 'SEGMENT_MISSING'],
      ['short', () => (coordinator().close(), truncateSync(file(), 300)), 'SEGMENT_SIZE'],
      ['empty', () => writeFileSync(file(), '', { mode: 0o644 }), 'SEGMENT_SIZE'],
      ['long', () => (coordinator().close(), truncateSync(file(), 4096)), 'SEGMENT_SIZE'],
      ['mode 0640', () => (coordinator().close(), chmodSync(file(), 0o640)), 'SEGMENT_MODE'],
      ['mode 0666', () => (coordinator().close(), chmodSync(file(), 0o666)), 'SEGMENT_MODE'],
      ['set-user-id', () => (coordinator().close(), chmodSync(file(), 0o4644)), 'SEGMENT_MODE'],
      [
        'symbolic link to a good one',
        () => {
          coordinator().close();
          renameSync(file(), file('real'));
          symlinkSync('real', file());
        },
        'SEGMENT_NOT_REGULAR',
      ],
      ['pipe', () => execFileSync('mkfifo', ['-m', '644', file()]), 'SEGMENT_NOT_REGULAR'],
      ['all zero', () => writeFileSync(file(), Buffer.alloc(384), { mode: 0o644 }), 'SEGMENT_MAGIC'],
      [
        'copied from another name',
        () => {
          createSegment({ directory, name: 'other', kind: 'posture' }).close();
          renameSync(file('other'), file());
        },
        'SEGMENT_NAME',
      ],
    ];
    let tried = 0;
    for (const [what, make, code] of cases) {
      make();
      expect([what, refusal(reader)]).toEqual([what, code]);
      const writer = coordinator();
      const why = code.slice('SEGMENT_'.length).toLowerCase().replace('_', '-');
      expect([what, writer.replaced]).toEqual([what, code === 'SEGMENT_MISSING' ? undefined : why]);
      reader();
      writer.close();
      rmSync(file());
      rmSync(file('real'), { force: true });
      tried++;
    }
    expect(tried).toBe(11);
  });

  it('does not replace a directory that stands in the place', () => {
    execFileSync('mkdir', [file()]);
    expect(refusal(reader)).toBe('SEGMENT_NOT_REGULAR');
    expect(refusal(coordinator)).toBe('SEGMENT_NOT_REGULAR');
    expect(readdirSync(directory).sort()).toEqual(['.posture.lock', 'posture']);
  });

  it('asks for the owner that the configuration names, or any for tools that only show', () => {
    coordinator();
    expect(refusal(() => reader(uid + 1))).toBe('SEGMENT_OWNER');
    expect(reader('any').header.writerUid).toBe(uid);
  });

  it('notices that its file was replaced, moved away, removed or cut', () => {
    coordinator().close();
    const moved = reader();
    renameSync(file(), file('old'));
    expect(moved.current()).toBe(false);
    coordinator().close();
    expect(moved.current()).toBe(false);
    const cut = reader();
    expect(cut.current()).toBe(true);
    truncateSync(file(), 385);
    expect(cut.current()).toBe(false);
    truncateSync(file(), 384);
    expect(cut.current()).toBe(true);
    unlinkSync(file());
    expect(cut.current()).toBe(false);
  });

  it('verifies the board directory', () => {
    verifyDirectory(directory);
    chmodSync(directory, 0o1775);
    verifyDirectory(directory);
    coordinator().close();
    for (const mode of [0o775, 0o777, 0o1777, 0o702]) {
      chmodSync(directory, mode);
      expect(refusal(() => verifyDirectory(directory))).toBe('SEGMENT_DIRECTORY');
      expect(refusal(coordinator)).toBe('SEGMENT_DIRECTORY');
      expect(refusal(reader)).toBe('SEGMENT_DIRECTORY');
    }
    chmodSync(directory, 0o755);
    symlinkSync(directory, file('link'));
    expect(refusal(() => verifyDirectory(file('link')))).toBe('SEGMENT_DIRECTORY');
    expect(refusal(() => verifyDirectory(`${file('link')}/`))).toBe('SEGMENT_DIRECTORY');
    expect(refusal(() => verifyDirectory(file('none')))).toBe('SEGMENT_SYSTEM');
    expect(refusal(() => verifyDirectory('relative/path'))).toBe('SEGMENT_ARGUMENT');
  });

  it('pins a mapping in memory as far as the limits allow', () => {
    coordinator();
    expect(typeof reader().lockMemory()).toBe('boolean');
  });
});

describe('reading and writing', () => {
  it('carries 32 and 64-bit values and bytes unchanged', () => {
    const writer = kept(createSegment({ directory, name: 'tables', kind: 'tables' }));
    const shown = reader(uid, 'tables', 'tables');
    const at = layout.tables.bank + layout.bank.level;
    fc.assert(
      fc.property(
        fc.bigInt(0n, (1n << 64n) - 1n),
        fc.nat(0xffff_ffff),
        fc.uint8Array(),
        (big, small, bytes) => {
          writer.store64(at, big);
          writer.store32(at + 8, small);
          writer.write(at + 13, bytes);
          expect(shown.load64(at)).toBe(big);
          expect(shown.load32(at + 8)).toBe(small);
          expect(shown.bytes(at + 13, bytes.length)).toEqual(Buffer.from(bytes));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('never goes outside of the segment, off its alignment, or into the header', () => {
    const writer = coordinator();
    const size = layout.posture.size;
    const refused: (() => unknown)[] = [
      ...[-8, size, size - 7, 4, 0.5, NaN, Infinity, 2 ** 53].map((offset) => () => writer.load64(offset)),
      ...[-4, size, size - 3, 2].map((offset) => () => writer.load32(offset)),
      () => writer.bytes(size - 1, 2),
      () => writer.bytes(size + 1, 0),
      ...[0, 120, size - 4, size, 193].map((offset) => () => writer.store64(offset, 1n)),
      ...[0, 124, size, 130].map((offset) => () => writer.store32(offset, 1)),
      () => writer.write(100, new Uint8Array(64)),
      () => writer.write(size - 1, new Uint8Array(2)),
      ...[0, 64, 200, 384, 352].map((offset) => () => writer.ack(offset)),
      ...[0, 64, 200, 384].map((offset) => () => writer.writeAck(offset, ackLine())),
    ];
    for (const action of refused) expect(refusal(action)).toBe('SEGMENT_RANGE');
    expect(refused.length).toBe(34);
    writer.load64(0);
    writer.load64(size - 8);
    expect(writer.bytes(0, size).length).toBe(size);
    expect(writer.bytes(size, 0).length).toBe(0);
    expect(readerHeaderIsGood()).toBe(true);
  });

  const readerHeaderIsGood = () => reader().header.incarnation === 1n;

  it('refuses arguments that are no value of their field, and names the field', () => {
    const writer = coordinator();
    const at = layout.posture.storedAtNs;
    const t = { epoch: 1n, from: 5, to: 2, receivedAtNs: 0n };
    const loose = (value: unknown) => value as never;
    const cases: [field: string, action: () => unknown][] = [
      ['value', () => writer.store64(at, -1n)],
      ['value', () => writer.store64(at, 1n << 64n)],
      ['value', () => writer.store64(at, loose(1))],
      ['value', () => writer.store32(at, 2 ** 32)],
      ['value', () => writer.store32(at, loose(1n))],
      ['bytes', () => writer.write(at, loose('text'))],
      ['bytes', () => writer.write(at, loose(new Uint16Array(1)))],
      ['length', () => writer.bytes(at, -1)],
      ['epoch', () => writer.tighten({ ...t, epoch: 0n })],
      ['epoch', () => writer.tighten({ ...t, epoch: 1n << 48n })],
      ['from', () => writer.tighten({ ...t, from: 0 })],
      ['to', () => writer.tighten({ ...t, to: 6 })],
      ['to', () => writer.tighten({ ...t, to: loose('2') })],
      ['receivedAtNs', () => writer.tighten({ ...t, receivedAtNs: loose(5) })],
      ['budgetNs', () => writer.tighten({ ...t, budgetNs: loose([1n, 2n]) })],
      ['budgetNs[1]', () => writer.tighten({ ...t, budgetNs: [1n, -1n, 2n] })],
      ['flags', () => writer.tighten({ ...t, flags: 0x2000 })],
      ['level', () => writer.storeWord(1n, 0)],
      ['epoch', () => writer.storeWord(0n, 2)],
      ['line.stage', () => writer.writeTransition(line({ stage: 8 }))],
      ['line.from', () => writer.writeTransition(line({ from: 0 }))],
      ['line.flags', () => writer.writeTransition(line({ flags: 1 }))],
      ['line.epoch', () => writer.writeTransition(line({ epoch: 1n << 48n }))],
      ['line.budgetNs', () => writer.writeTransition(line({ budgetNs: loose(undefined) }))],
      ['ack.level', () => writer.writeAck(256, ackLine({ level: 0 }))],
      ['ack.outcome', () => writer.writeAck(256, ackLine({ outcome: 5 }))],
      ['ack.changes', () => writer.writeAck(256, ackLine({ changes: -1 }))],
      ['kind', () => createSegment({ directory, name: 'x', kind: loose('memory') })],
      ['directory', () => createSegment({ directory: 'board', name: 'x', kind: 'warden' })],
      ['directory', () => createSegment({ directory: '/tmp\0', name: 'x', kind: 'warden' })],
      ['owner', () => openSegment({ directory, name: 'posture', kind: 'posture', owner: -1 })],
      ['owner', () => openSegment({ directory, name: 'posture', kind: 'posture', owner: 0xffff_ffff })],
      ['initial', () => crc32(new Uint8Array(1), -1)],
    ];
    const before = writer.bytes(layout.posture.word, layout.posture.size - layout.posture.word);
    for (const [field, action] of cases) {
      expect([field, refusal(action)]).toEqual([field, 'SEGMENT_ARGUMENT']);
      expect(action).toThrow(expect.objectContaining({ field }) as Error);
    }
    expect(cases.length).toBe(33);
    expect(writer.bytes(layout.posture.word, before.length)).toEqual(before);
    for (const name of ['', '../etc', 'A', 'a'.repeat(32), 'a.b', 'a/b', 'a\0'])
      expect(refusal(() => createSegment({ directory, name, kind: 'warden' }))).toBe('SEGMENT_NAME');
  });

  it('refuses everything after close with SEGMENT_CLOSED, and closing twice is harmless', () => {
    const writer = coordinator();
    const at = layout.posture.storedAtNs;
    writer.close();
    writer.close();
    const actions: (() => unknown)[] = [
      () => writer.header,
      () => writer.load64(at),
      () => writer.load32(at),
      () => writer.bytes(at, 1),
      () => writer.transition(),
      () => writer.ack(256),
      () => writer.current(),
      () => writer.lockMemory(),
      () => writer.store64(at, 1n),
      () => writer.store32(at, 1),
      () => writer.write(at, new Uint8Array(1)),
      () => writer.writeAck(256, ackLine()),
      () => writer.beat(true),
      () => writer.ring(),
      () => writer.word(),
      () => writer.tighten({ epoch: 1n, from: 5, to: 2, receivedAtNs: 0n }),
      () => writer.writeTransition(line()),
      () => writer.storeWord(1n, 2),
    ];
    for (const action of actions) expect(refusal(action)).toBe('SEGMENT_CLOSED');
    expect(actions.length).toBe(18);
  });

  it('beats with the monotonic clock and says whether it serves', () => {
    const writer = kept(createSegment({ directory, name: 'participant-a', kind: 'participant' }));
    const shown = reader(uid, 'participant-a', 'participant');
    const { atNs, count, serving } = layout.beat;
    const beat = layout.participant.beat;
    expect(shown.load64(beat + atNs)).toBe(0n);
    const before = monotonicNs();
    writer.beat(true);
    expect(shown.load64(beat + atNs)).toBeGreaterThanOrEqual(before);
    expect(shown.load64(beat + atNs)).toBeLessThanOrEqual(monotonicNs());
    expect([shown.load64(beat + count), shown.load32(beat + serving)]).toEqual([1n, 1]);
    writer.beat(false);
    expect([shown.load64(beat + count), shown.load32(beat + serving)]).toEqual([2n, 0]);
  });

  it('computes the same CRC-32 as zlib', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(0xffff_ffff), (bytes, initial) => {
        expect(crc32(bytes, initial)).toBe(zlibCrc32(bytes, initial));
      }),
    );
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926);
    expect(crc32(Buffer.from('789'), crc32(Buffer.from('123456')))).toBe(0xcbf43926);
  });
});

describe('lines under a sequence lock', () => {
  const at = layout.posture.transition;

  it('carries a transition line and an acknowledgement whole', () => {
    const writer = coordinator();
    expect(reader().transition()).toEqual({
      ...line({ epoch: 0n, from: 0, to: 0, stage: 0, receivedAtNs: 0n, decidedAtNs: 0n, stageAtNs: 0n }),
      budgetNs: [0n, 0n, 0n],
    });
    writer.writeTransition(line());
    expect(reader().transition()).toEqual(line());
    const participant = kept(createSegment({ directory, name: 'participant-a', kind: 'participant' }));
    const slot = layout.participant.ack;
    const shown = reader(uid, 'participant-a', 'participant');
    expect(shown.ack(slot)).toEqual(
      ackLine({ epoch: 0n, startedAtNs: 0n, finishedAtNs: 0n, stage: 0, outcome: 0, level: 0, changes: 0 }),
    );
    participant.writeAck(slot, ackLine());
    expect(shown.ack(slot)).toEqual(ackLine());
    expect(refusal(() => shown.transition())).toBe('SEGMENT_KIND');
  });

  it('PO-15 the last step of a loosening stamps its stage, writes the line, then the word, then rings once', () => {
    const writer = createPostureSegment({ directory });
    const bells = writer.load32(layout.beat.bell + layout.header.size);
    const before = monotonicNs();
    const { stageAtNs, storedAtNs } = writer.loosen({
      epoch: 9n,
      from: 2,
      to: 5,
      receivedAtNs: 3n,
      decidedAtNs: 4n,
      budgetNs: [5n, 6n, 7n],
    });
    expect(stageAtNs).toBeGreaterThanOrEqual(before);
    expect(storedAtNs).toBeGreaterThanOrEqual(stageAtNs);
    expect(writer.word()).toBe((9n << 16n) | 5n);
    expect(writer.transition()).toMatchObject({
      epoch: 9n,
      from: 2,
      to: 5,
      stage: layout.enums.stage.LOOSEN_DATAPLANE,
      receivedAtNs: 3n,
      decidedAtNs: 4n,
      stageAtNs,
      budgetNs: [5n, 6n, 7n],
    });
    expect(writer.load32(layout.beat.bell + layout.header.size)).toBe(bells + 1);
    writer.close();
  });

  it('PO-15 a tightening store stamps decided-at, writes the line, then the word, then rings', () => {
    const writer = coordinator();
    const shown = reader();
    const bell = layout.posture.beat + layout.beat.bell;
    const before = monotonicNs();
    const { decidedAtNs, storedAtNs } = writer.tighten({
      epoch: 8n,
      from: 4,
      to: 1,
      receivedAtNs: before,
      budgetNs: [1n, 2n, 3n],
      flags: 5,
    });
    expect(shown.load64(layout.posture.word)).toBe((8n << 16n) | (5n << 3n) | 1n);
    expect(writer.word()).toBe(shown.load64(layout.posture.word));
    expect(shown.load64(layout.posture.storedAtNs)).toBe(storedAtNs);
    expect(shown.load32(bell)).toBe(1);
    expect(shown.transition()).toEqual({
      epoch: 8n,
      from: 4,
      to: 1,
      stage: enums.stage.TIGHTEN,
      flags: 0,
      receivedAtNs: before,
      decidedAtNs,
      stageAtNs: decidedAtNs,
      budgetNs: [1n, 2n, 3n],
    });
    expect(before <= decidedAtNs && decidedAtNs <= storedAtNs && storedAtNs <= monotonicNs()).toBe(true);
  });

  it('PO-14 stamps with CLOCK_MONOTONIC, which never steps back', () => {
    const writer = coordinator();
    let last = process.hrtime.bigint();
    for (let epoch = 1n; epoch <= 300n; epoch++) {
      const { decidedAtNs, storedAtNs } = writer.tighten({ epoch, from: 5, to: 2, receivedAtNs: last });
      expect(decidedAtNs).toBeGreaterThanOrEqual(last);
      expect(storedAtNs).toBeGreaterThanOrEqual(decidedAtNs);
      last = writer.storeWord(epoch, 3).storedAtNs;
      expect(last).toBeGreaterThanOrEqual(storedAtNs);
      const now = process.hrtime.bigint();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  it('stores a word alone and rings, and rings for every line', () => {
    const writer = coordinator();
    const rung = () => writer.load32(layout.posture.beat + layout.beat.bell);
    writer.storeWord(5n, 4);
    expect([writer.word(), rung()]).toEqual([(5n << 16n) | 4n, 1]);
    expect(writer.transition()?.epoch).toBe(0n);
    writer.writeTransition(line());
    expect(rung()).toBe(2);
    writer.ring();
    expect(rung()).toBe(3);
    writer.store64(layout.posture.storedAtNs, 0n);
    writer.beat(true);
    expect(rung()).toBe(3);
  });

  it('PO-16 gives up on a line that is torn for ever, in bounded time, and reads it again once it is whole', () => {
    const writer = coordinator();
    writer.writeTransition(line());
    const sequence = writer.load64(at);
    writer.store64(at, sequence + 1n);
    const before = monotonicNs();
    for (let i = 0; i < 10; i++) expect(reader().transition()).toBeUndefined();
    expect(monotonicNs() - before).toBeLessThan(5_000_000_000n);
    writer.writeTransition(line({ epoch: 8n }));
    expect(reader().transition()).toEqual(line({ epoch: 8n }));
    expect(writer.load64(at)).toBe(sequence + 2n);
  });

  it('PO-16 takes no value from a line without checking its range', () => {
    const writer = coordinator();
    const t = layout.transition;
    const hostile: [offset: number, value: number | bigint][] = [
      [t.to, 9],
      [t.to, 0],
      [t.from, 6],
      [t.from, 0xffff_ffff],
      [t.stage, 99],
      [t.stage, 8],
      [t.flags, 1],
      [t.epoch, 1n << 48n],
    ];
    for (const [offset, value] of hostile) {
      writer.writeTransition(line());
      expect(reader().transition()).toEqual(line());
      if (typeof value === 'bigint') writer.store64(at + offset, value);
      else writer.store32(at + offset, value);
      expect(reader().transition()).toBeUndefined();
    }
    expect(hostile.length).toBe(8);
    const participant = kept(createSegment({ directory, name: 'participant-a', kind: 'participant' }));
    const a = layout.ack;
    const slot = layout.participant.ack;
    for (const [offset, value] of [
      [a.level, 9],
      [a.level, 0],
      [a.outcome, 5],
      [a.stage, 8],
    ] as const) {
      participant.writeAck(slot, ackLine());
      participant.store32(slot + offset, value);
      expect(participant.ack(slot)).toBeUndefined();
    }
  });
});

describe('hostile bytes', () => {
  it('PO-16 refuses any damage to what the header’s checks cover, always with a code', () => {
    coordinator().close();
    const good = readFileSync(file());
    const codes = new Set<string>();
    fc.assert(
      fc.property(
        fc.nat(layout.header.checksum + 7),
        fc.uint8Array({ minLength: 1, maxLength: 16 }),
        (offset, bytes) => {
          const damaged = Buffer.from(good);
          damaged.set(bytes.subarray(0, layout.header.opening + 4 - offset), offset);
          fc.pre(!damaged.equals(good));
          writeFileSync(file(), damaged);
          codes.add(refusal(reader));
        },
      ),
      { numRuns: 150 },
    );
    expect(codes.size).toBeGreaterThanOrEqual(5);
    writeFileSync(file(), good);
    reader();
  });

  it('PO-16 survives random bytes behind the header: what it reads is in range or nothing', () => {
    const writer = coordinator();
    const shown = reader();
    const first = layout.posture.word;
    const span = layout.posture.size - first;
    let whole = 0;
    const level = fc.nat(6);
    const nearly = fc.tuple(fc.bigInt(0n, 1n << 48n), level, level, fc.nat(9), fc.nat(1));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: span, maxLength: span }), fc.option(nearly), (bytes, almost) => {
        writer.write(first, bytes);
        if (almost !== null) {
          const t = layout.transition;
          const [epoch, from, to, stage, flags] = almost;
          writer.store64(layout.posture.transition + t.sequence, 2n);
          writer.store64(layout.posture.transition + t.epoch, epoch);
          [
            [t.from, from],
            [t.to, to],
            [t.stage, stage],
            [t.flags, flags],
          ].forEach(([offset = 0, value = 0]) => writer.store32(layout.posture.transition + offset, value));
        }
        const seen = shown.transition();
        if (seen === undefined) return;
        whole++;
        const lowest = seen.stage === 0 ? 0 : 1;
        expect(seen.epoch < 1n << 48n && seen.stage <= 7 && seen.flags === 0).toBe(true);
        for (const value of [seen.from, seen.to]) {
          expect(value).toBeGreaterThanOrEqual(lowest);
          expect(value).toBeLessThanOrEqual(5);
        }
      }),
      { numRuns: 500 },
    );
    expect(whole).toBeGreaterThan(10);
    expect(existsSync(file())).toBe(true);
  });
});
