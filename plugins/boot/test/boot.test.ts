/**
 * kedge-boot against the coordinator's own rules, over journals that were cut and changed everywhere, and the
 * program itself against whatever may stand in its place.
 * It must not need a coordinator: what takes the segment over is the library that the coordinator uses.
 */
import { recoverJournal, type RecoveryFindings, recoveryOf } from '@kedge/posture';
import { createPostureSegment, enums, openSegment } from '@kedge/shared-memory-ipc';
import { type Epoch, isLevel, type Level } from '@kedge/units';
import fc from 'fast-check';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { BOOT_BINARY } from '../src/index.js';
import { cuts, entries, type Entry, flips, journalOf, shuffles } from './journals.js';

const BUILD = join(BOOT_BINARY, '..');
const PROGRAM = join(BUILD, 'kedge-boot-sanitized');
const uid = process.getuid?.() ?? 0;
const gid = process.getgid?.() ?? 0;
const root = mkdtempSync(join(tmpdir(), 'kedge-boot-'));
const environment = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1' };

beforeAll(() => {
  execFileSync('make', ['-C', join(BUILD, '..'), 'tests'], { stdio: ['ignore', 'ignore', 'inherit'] });
}, 120_000);
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

/* ------------------------------------------------------------- differential */

interface Case {
  readonly journal: Uint8Array | undefined;
  readonly provisioned: boolean;
  readonly provisioningLevel: Level;
  readonly word: { readonly epoch: bigint; readonly level: number };
  readonly line: { readonly epoch: bigint; readonly from: Level; readonly to: Level } | undefined;
}

interface Answer {
  readonly because: string;
  readonly level: number;
  readonly stored: { readonly epoch: bigint; readonly level: number };
  readonly line: { readonly epoch: bigint; readonly from: number; readonly to: number } | undefined;
}

/** What recovery.c makes of all of them, asked in one process. */
function answersTo(cases: readonly Case[]): Answer[] {
  const input = cases.flatMap(({ journal, provisioned, provisioningLevel, word, line }) => {
    const head = Buffer.alloc(32);
    head.writeUInt32LE(journal?.length ?? 0, 0);
    head[4] = journal === undefined ? 0 : 1;
    head[6] = provisioned ? 1 : 0;
    head[7] = provisioningLevel;
    head.writeBigUInt64LE((word.epoch << 16n) | BigInt(word.level), 8);
    head.writeBigUInt64LE(line?.epoch ?? 0n, 16);
    head[24] = line?.from ?? 0;
    head[25] = line?.to ?? 0;
    return [head, journal ?? new Uint8Array()];
  });
  const output = execFileSync(join(BUILD, 'oracle'), {
    input: Buffer.concat(input),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return output
    .trimEnd()
    .split('\n')
    .map((text): Answer => {
      const [because = '', , level, stored, epoch = '', , , withLine, lineEpoch = '', from, to] =
        text.split(' ');
      return {
        because,
        level: Number(level),
        stored: { epoch: BigInt(epoch), level: Number(stored) },
        line: withLine === '1' ? { epoch: BigInt(lineEpoch), from: Number(from), to: Number(to) } : undefined,
      };
    });
}

const obeyed = (level: number): number => (isLevel(level) ? level : 1);

/** What the coordinator finds when `word` stands on the board. */
function findingsOf(one: Case, word: { readonly epoch: bigint; readonly level: number }): RecoveryFindings {
  return {
    journal: one.journal === undefined ? undefined : recoverJournal(one.journal),
    provisioned: one.provisioned,
    provisioningLevel: one.provisioningLevel,
    word:
      word.epoch > 0n && isLevel(word.level) ? { epoch: word.epoch as Epoch, level: word.level } : undefined,
    line: one.line === undefined ? undefined : { ...one.line, epoch: one.line.epoch as Epoch },
    wordDoubt: undefined,
  };
}

const seen = { doubt: 0, decision: 0, unfinished: 0, provisioning: 0 };

/** Why boot's answer is wrong; undefined = it is right. */
function wrong(one: Case, answer: Answer): string | undefined {
  const findings = findingsOf(one, one.word);
  const plan = recoveryOf(findings);
  if (answer.level !== plan.level) return `level ${answer.level}, the coordinator says ${plan.level}`;
  if ((answer.because === 'doubt') !== (plan.because === 'doubt'))
    return `${answer.because}, not ${plan.because}`;
  if (!(answer.because in seen)) return `${answer.because} is no reason`;
  seen[answer.because as keyof typeof seen] += 1;
  const { stored } = answer;
  const stood = (one.word.epoch << 16n) | BigInt(one.word.level);
  if (obeyed(stored.level) > plan.level) return `stores ${stored.level}, looser than ${plan.level}`;
  if (stood !== 0n && obeyed(stored.level) > obeyed(one.word.level)) return 'loosens what stands';
  // An epoch is one that stood there, or that of the journal's last decision with its own level, or none.
  const last = findings.journal?.last;
  if (one.word.epoch > 0n) {
    if (stored.epoch !== one.word.epoch) return `takes epoch ${one.word.epoch} back`;
  } else if (stored.epoch !== 0n) {
    if (last?.epoch !== stored.epoch || last.to !== stored.level || !last.completed)
      return `issues epoch ${stored.epoch}`;
    if (answer.line?.epoch !== stored.epoch || answer.line.from !== last.from || answer.line.to !== last.to)
      return 'has no line to its epoch';
  } else if (answer.because === 'decision' && stood === 0n) return 'has lost the epoch of the decision';
  // Then the coordinator starts and finds boot's word.
  const after = recoveryOf(findingsOf(one, stored));
  if (after.level > plan.level) return `leads the coordinator to ${after.level} instead of ${plan.level}`;
  if (stood === 0n && after.level !== plan.level) return `leads the coordinator to ${after.level}`;
  if (after.above < plan.above || (isLevel(stored.level) && after.above < stored.epoch))
    return 'makes the coordinator issue an epoch twice';
  if (stood === 0n && answer.because === 'decision' && after.action !== 'hold')
    return `leads to ${after.action}`;
  if (stood === 0n && answer.because !== 'decision' && after.action !== 'restore')
    return `leads to ${after.action}`;
  if (stood === 0n && after.resumeTo !== plan.resumeTo) return 'makes the coordinator forget a loosening';
  return undefined;
}

function compare(cases: readonly Case[]): void {
  const answers = answersTo(cases);
  expect(answers).toHaveLength(cases.length);
  const broken = cases.flatMap((one, index) => {
    const answer = answers[index];
    const why = answer === undefined ? 'no answer' : wrong(one, answer);
    return why === undefined ? [] : [{ index, why, word: one.word, answer }];
  });
  expect(broken.slice(0, 3)).toEqual([]);
}

/** What may stand on the board, as seen from a journal whose last decision has epoch 9. */
const WORDS: readonly Pick<Case, 'word' | 'line'>[] = [
  { word: { epoch: 0n, level: 0 }, line: undefined },
  { word: { epoch: 9n, level: 3 }, line: { epoch: 9n, from: 5, to: 3 } },
  { word: { epoch: 8n, level: 5 }, line: { epoch: 9n, from: 5, to: 3 } },
  { word: { epoch: 30n, level: 2 }, line: { epoch: 30n, from: 3, to: 2 } },
  { word: { epoch: 30n, level: 4 }, line: undefined },
  { word: { epoch: 31n, level: 7 }, line: undefined },
  { word: { epoch: 0n, level: 4 }, line: undefined },
  { word: { epoch: 0n, level: 0 }, line: undefined },
];

const STORY: readonly Entry[] = [
  { is: 'decide', to: 4, skip: 2 },
  { is: 'complete' },
  { is: 'anew' },
  { is: 'decide', to: 2, skip: 1 },
  { is: 'complete' },
  { is: 'decide', to: 5, skip: 1 },
  { is: 'complete' },
  { is: 'decide', to: 3, skip: 1 },
];

describe('what boot makes of a journal', () => {
  it('PO-17 takes the level and the epoch that the coordinator takes, over journals of every kind', () => {
    const stories = fc.sample(entries, { seed: 17, numRuns: 1_500 });
    const cases = stories.flatMap((story, index) =>
      [0, 1, 2].map((turn): Case => ({
        journal: index % 97 === 0 && turn === 0 ? undefined : journalOf(story, index % 3, turn !== 2),
        provisioned: (index + turn) % 3 !== 0,
        provisioningLevel: (((index + turn) % 5) + 1) as Level,
        ...(WORDS[(index + turn * 3) % WORDS.length] ?? { word: { epoch: 0n, level: 0 }, line: undefined }),
      })),
    );
    expect(cases).toHaveLength(4_500);
    compare(cases);
    expect(Object.values(seen).every((count) => count > 100)).toBe(true);
  });

  it('PO-17 is never looser than the coordinator over a journal cut at every byte, each bit and record changed', () => {
    let visited = 0;
    for (const completed of [false, true]) {
      const journal = journalOf(completed ? [...STORY, { is: 'complete' }] : STORY, 1, completed);
      const damaged = [...cuts(journal), ...flips(journal), ...shuffles(journal)];
      expect(damaged.length).toBeGreaterThan(journal.length * 17);
      compare(
        damaged.map((bytes, index) => ({
          journal: bytes,
          provisioned: index % 11 !== 0,
          provisioningLevel: 5,
          ...(WORDS[index % WORDS.length] ?? { word: { epoch: 0n, level: 0 }, line: undefined }),
        })),
      );
      visited += damaged.length;
    }
    expect(visited).toBeGreaterThan(30_000);
  });

  it('PO-17 keeps what holds for every plan over a hundred thousand mutated journals, under sanitizers', () => {
    const file = join(root, 'seed.journal');
    writeFileSync(file, journalOf(STORY));
    for (const seed of [1, 2, 3, 4]) {
      const output = execFileSync(join(BUILD, 'fuzz-journal'), [file, '25000', String(seed)], {
        encoding: 'utf8',
      });
      const [sure = 0, doubts = 0] = (output.match(/\d+/g) ?? []).map(Number);
      expect(sure + doubts).toBe(25_000);
      expect(Math.min(sure, doubts)).toBeGreaterThan(100);
    }
  });
});

/* ------------------------------------------------------------------ program */

let directory: string;
let board: string;
let state: string;
let number = 0;

beforeEach(() => {
  number += 1;
  directory = join(root, String(number));
  board = join(directory, 'board');
  state = join(directory, 'state');
  for (const path of [directory, board, state]) mkdirSync(path, { mode: 0o755 });
});

interface Run {
  readonly status: number | null;
  readonly said: Readonly<Record<string, unknown>>;
  readonly error: string;
}

function boot(...options: readonly string[]): Run {
  const { status, stdout, stderr } = spawnSync(
    PROGRAM,
    ['--board', board, '--state', state, '--uid', String(uid), '--gid', String(gid), ...options],
    { encoding: 'utf8', env: environment },
  );
  return { status, said: stdout === '' ? {} : (JSON.parse(stdout) as Run['said']), error: stderr.trimEnd() };
}

const put = (entries: readonly Entry[]): void => {
  writeFileSync(join(state, 'decisions.journal'), journalOf(entries), { mode: 0o600 });
};
const markProvisioned = (): void => {
  writeFileSync(join(state, 'provisioned'), '', { mode: 0o600 });
};
const FINISHED: readonly Entry[] = [{ is: 'decide', to: 3, skip: 6 }, { is: 'complete' }];

/** What a coordinator finds. */
function takenOver(): {
  word: bigint;
  replaced: string | undefined;
  stage: number | undefined;
  epoch: bigint | undefined;
} {
  const segment = createPostureSegment({ directory: board });
  try {
    const line = segment.transition();
    return { word: segment.word(), replaced: segment.replaced, stage: line?.stage, epoch: line?.epoch };
  } finally {
    segment.close();
  }
}
const wordOf = (epoch: bigint, level: number): bigint => (epoch << 16n) | BigInt(level);

describe('kedge-boot', () => {
  it('PO-17 stores a completed decision as it was, and the coordinator takes the segment over', () => {
    put(FINISHED);
    expect(boot()).toMatchObject({
      status: 0,
      error: '',
      said: { stored: true, level: 3, epoch: '7', because: 'decision', stood: false },
    });
    const file = statSync(join(board, 'posture'));
    expect({ uid: file.uid, mode: file.mode & 0o7777 }).toEqual({ uid, mode: 0o644 });
    expect(takenOver()).toEqual({
      word: wordOf(7n, 3),
      replaced: undefined,
      stage: enums.stage.COMPLETE,
      epoch: 7n,
    });
  });

  it('PO-17 stores the stricter level of an interrupted transition under no epoch', () => {
    put([...FINISHED, { is: 'decide', to: 5, skip: 0 }]);
    expect(boot().said).toMatchObject({ level: 3, epoch: '0', because: 'unfinished' });
    expect(takenOver()).toMatchObject({ word: wordOf(0n, 3), stage: enums.stage.NONE });
  });

  it('PO-17 takes the provisioning level on the first boot only, level 2 where a journal should be', () => {
    expect(boot('--provisioning-level', '5').said).toMatchObject({
      level: 5,
      epoch: '0',
      because: 'provisioning',
    });
    rmSync(join(board, 'posture'));
    markProvisioned();
    const run = boot('--provisioning-level', '5');
    expect(run).toMatchObject({ status: 0, said: { level: 2, because: 'doubt' } });
    expect(run.error).toMatch(/^kedge-boot: BOOT_JOURNAL_MISSING: there is no .*; level 2 is taken$/);
  });

  it('PO-17 never loosens what stands, and makes it stricter where it has to', () => {
    put(FINISHED);
    boot();
    // A whole journal that says 5, while 3 stands.
    put([...FINISHED, { is: 'decide', to: 5, skip: 0 }, { is: 'complete' }]);
    expect(boot().said).toMatchObject({ level: 3, epoch: '7', stood: true });
    writeFileSync(join(state, 'decisions.journal'), 'not a journal');
    expect(boot().said).toMatchObject({ level: 2, epoch: '7', because: 'doubt', stood: false });
    expect(takenOver()).toMatchObject({ word: wordOf(7n, 2), replaced: undefined });
  });

  it('PO-17 changes nothing while a coordinator has the posture', () => {
    put(FINISHED);
    const coordinator = createPostureSegment({ directory: board });
    try {
      coordinator.tighten({ epoch: 20n, from: 5, to: 4, receivedAtNs: 0n });
      const run = boot();
      expect(run.status).toBe(4);
      expect(run.error).toContain('BOOT_BUSY');
      expect(coordinator.word()).toBe(wordOf(20n, 4));
    } finally {
      coordinator.close();
    }
  });

  it.each([40, 60])(
    'PO-17 leaves a segment that is damaged at byte %i to the coordinator, which then knows',
    (offset) => {
      put(FINISHED);
      boot();
      const path = join(board, 'posture');
      const fd = openSync(path, 'r+');
      writeSync(fd, Buffer.from([0xff]), 0, 1, offset);
      closeSync(fd);
      const before = readFileSync(path);
      const run = boot();
      expect(run).toMatchObject({ status: 0, said: { stored: false, because: 'damaged-segment' } });
      expect(run.error).toContain('BOOT_SEGMENT_DAMAGED');
      expect(readFileSync(path)).toEqual(before);
      expect(takenOver()).toMatchObject({ replaced: 'checksum', word: 0n });
    },
  );

  const JOURNAL = 'decisions.journal';
  const hostile: readonly (readonly [string, string, string, () => void])[] = [
    [
      'a symbolic link',
      'BOOT_JOURNAL_REFUSED',
      'it is a symbolic link',
      () => {
        writeFileSync(join(directory, 'elsewhere'), journalOf(FINISHED));
        symlinkSync(join(directory, 'elsewhere'), join(state, JOURNAL));
      },
    ],
    [
      'a pipe',
      'BOOT_JOURNAL_REFUSED',
      'it is not a regular file',
      () => {
        execFileSync('mkfifo', [join(state, JOURNAL)]);
      },
    ],
    [
      'a directory',
      'BOOT_JOURNAL_REFUSED',
      'it is not a regular file',
      () => {
        mkdirSync(join(state, JOURNAL));
      },
    ],
    [
      'a file of somebody else',
      'BOOT_JOURNAL_REFUSED',
      'it belongs to another user',
      () => {
        put(FINISHED);
        chownSync(join(state, JOURNAL), 64799, 64799);
      },
    ],
    [
      'a file that others may write',
      'BOOT_JOURNAL_REFUSED',
      'others may write to it',
      () => {
        put(FINISHED);
        chmodSync(join(state, JOURNAL), 0o666);
      },
    ],
    [
      'a file of a terabyte',
      'BOOT_JOURNAL_REFUSED',
      'it is larger than any journal',
      () => {
        put(FINISHED);
        truncateSync(join(state, JOURNAL), 2 ** 40);
      },
    ],
    [
      'an empty file',
      'BOOT_JOURNAL_DAMAGED',
      'is damaged from byte 0 on',
      () => {
        writeFileSync(join(state, JOURNAL), '');
      },
    ],
    [
      'a state directory that others may write',
      'BOOT_STATE_REFUSED',
      'others may write to it',
      () => {
        put(FINISHED);
        chmodSync(state, 0o777);
      },
    ],
    [
      'a link in place of the state directory',
      'BOOT_STATE_REFUSED',
      'it is no directory',
      () => {
        put(FINISHED);
        execFileSync('mv', [state, `${state}-moved`]);
        symlinkSync(`${state}-moved`, state);
      },
    ],
    [
      'no state directory at all',
      'BOOT_STATE_REFUSED',
      'No such file or directory',
      () => {
        rmSync(state, { recursive: true });
      },
    ],
  ];

  it.each(hostile)('PO-17 comes up at level 2 when it meets %s', (_what, code, why, arrange) => {
    arrange();
    const checked = boot('--check', '--provisioning-level', '5');
    expect(checked).toMatchObject({ status: 7, said: { stored: false, level: 2, because: 'doubt' } });
    const run = boot('--provisioning-level', '5');
    expect(run).toMatchObject({ status: 0, said: { stored: true, level: 2, epoch: '0', because: 'doubt' } });
    expect(run.error).toContain(code);
    expect(run.error).toContain(why);
    expect(takenOver().word).toBe(wordOf(0n, 2));
  });

  it('PO-16 refuses a board that others may write, and a posture segment of somebody else', () => {
    put(FINISHED);
    chmodSync(board, 0o777);
    const open = boot();
    expect(open.status).toBe(3);
    expect(open.error).toContain('BOOT_BOARD');
    chmodSync(board, 0o755);
    createPostureSegment({ directory: board }).close();
    chownSync(join(board, 'posture'), 64799, 64799);
    const foreign = boot();
    expect(foreign.status).toBe(3);
    expect(foreign.error).toContain('BOOT_FOREIGN');
  });

  it('PO-16 becomes the user who has to own the segment', () => {
    chmodSync(board, 0o1777 & ~0o002);
    chownSync(board, 0, 64700);
    chmodSync(board, 0o1775);
    put(FINISHED);
    chownSync(join(state, JOURNAL), 64701, 64700);
    chownSync(state, 64701, 64700);
    chmodSync(root, 0o755);
    const { status } = spawnSync(
      PROGRAM,
      ['--board', board, '--state', state, '--uid', '64701', '--gid', '64700'],
      { encoding: 'utf8', env: environment },
    );
    expect(status).toBe(0);
    expect(statSync(join(board, 'posture'))).toMatchObject({ uid: 64701, gid: 64700 });
    const segment = openSegment({ directory: board, name: 'posture', kind: 'posture', owner: 64701 });
    expect(segment.header.writerUid).toBe(64701);
    segment.close();
  });

  it('changes nothing with --check', () => {
    put(FINISHED);
    expect(boot('--check')).toMatchObject({ status: 0, said: { stored: false, level: 3, epoch: '7' } });
    expect(() => statSync(join(board, 'posture'))).toThrow('ENOENT');
  });

  // prettier-ignore
  const wrongs: readonly (readonly [string, readonly string[]])[] = [
    ['expected --board DIRECTORY', ['--state', '/s', '--uid', '1', '--gid', '1']],
    ['expected --state DIRECTORY', ['--board', '/b', '--uid', '1', '--gid', '1']],
    ['expected an absolute path after --board', ['--board', 'b']],
    ['expected a value after --state', ['--state']],
    ['given twice: --board', ['--board', '/b', '--board', '/c']],
    ['expected --uid and --gid together', ['--board', '/b', '--state', '/s', '--uid', '1']],
    ['expected a number from 0 to 4294967294 after --uid', ['--uid', '4294967295']],
    ['expected a number from 0 to 4294967294 after --gid', ['--gid', '-1']],
    ['expected a level from 1 to 5 after --provisioning-level', ['--provisioning-level', '6']],
    ['expected a level from 1 to 5 after --provisioning-level', ['--provisioning-level', '0']],
    ['unknown argument --force', ['--force']],
  ];
  it.each(wrongs)('says what is wrong with its arguments: %s', (sentence, words) => {
    const { status, stderr, stdout } = spawnSync(PROGRAM, words, { encoding: 'utf8', env: environment });
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: '',
      stderr: `kedge-boot: BOOT_USAGE: ${sentence}; see kedge-boot --help\n`,
    });
  });

  it('has a manual that names every option and every exit status', () => {
    const { status, stdout } = spawnSync(PROGRAM, ['--help'], { encoding: 'utf8', env: environment });
    expect(status).toBe(0);
    for (const word of [
      'NAME',
      'SYNOPSIS',
      'OPTIONS',
      'FILES',
      'EXAMPLE',
      '--board',
      '--state',
      '--uid',
      '--check',
    ])
      expect(stdout).toContain(word);
    for (const exit of [0, 1, 2, 3, 4, 7]) expect(stdout).toMatch(new RegExp(`^    ${exit}  `, 'm'));
  });
});
