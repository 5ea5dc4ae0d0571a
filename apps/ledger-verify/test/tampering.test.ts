/**
 * A catalogue of what can be done to the files of a ledger: the program names each, and a second verifier of another
 * language sees what is to be seen in the hashes.
 */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  bundleOf,
  entriesOf,
  leafHash,
  openCheckpoint,
  signCheckpoint,
  signerOf,
  signNote,
} from '@kedge/ledger';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Finding, WHAT, type What } from '../src/index.js';
import { filesIn } from '../src/log-files.js';
import { reportJson } from '../src/report-text.js';
import { verification } from '../src/verification.js';
import {
  box,
  change,
  decisionOf,
  entryOf,
  mutationOf,
  recordsOf,
  sha256,
  snapshotOf,
  snapshotPartOf,
  transitionOf,
  transitOf,
  witness,
  writeLedger,
} from './sample-ledger.js';

const PROGRAM = join(import.meta.dirname, '../bin/kedge-ledger-verify.js');
const VERIFIER = join(import.meta.dirname, '../../../test/verifier/verifier.py');
const SIZE = 1_500;
/** Of the catalogue, those that are verified by a process of their own. */
const PROGRAM_RUNS = 20;

interface Report {
  readonly sound: boolean;
  readonly entries: number;
  readonly records: number;
  readonly pruned: number;
  readonly faults: readonly Finding[];
  readonly notices: readonly Finding[];
}

function run(directory: string, ...more: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [PROGRAM, directory, '--key', box.text, ...more],
    { encoding: 'utf8' },
  );
  return { status, out: stdout, err: stderr };
}

function verified(directory: string, ...more: string[]): Report & { status: number | null } {
  const { status, out, err } = run(directory, '--json', ...more);
  expect(err).toBe('');
  return { ...(JSON.parse(out) as Report), status };
}

/** What the program says of a directory, without a process of its own. */
async function verifiedHere(directory: string, kept: readonly string[]): Promise<Report> {
  const found = await verification({
    read: filesIn(directory),
    log: box,
    kept: kept.map((each) => openCheckpoint(readFileSync(each), box)),
    witnesses: [witness],
    keptFrom: 0,
    threads: 0,
    findingsMax: 100,
  });
  return JSON.parse(reportJson(found)) as Report;
}

const flip =
  (at: number) =>
  (bytes: Buffer): Uint8Array =>
    bytes.with(at, (bytes[at] ?? 0) ^ 1);

const swap = (directory: string, one: string, other: string): void => {
  renameSync(join(directory, one), join(directory, 'aside'));
  renameSync(join(directory, other), join(directory, one));
  renameSync(join(directory, 'aside'), join(directory, other));
};

describe('a ledger that was tampered with', () => {
  let room: string;
  let entries: Buffer[];
  let checkpoint: string;
  beforeAll(() => {
    room = mkdtempSync(join(tmpdir(), 'kedge-verify-'));
    entries = recordsOf(SIZE).map(entryOf);
    checkpoint = writeLedger(join(room, 'whole'), entries);
    // Kept elsewhere: the checkpoint of the whole log, and one of an older state.
    writeFileSync(join(room, 'kept'), checkpoint);
    writeFileSync(join(room, 'kept-older'), writeLedger(join(room, 'older'), entries.slice(0, 1_100)));
  });
  afterAll(() => rmSync(room, { recursive: true, force: true }));

  interface Tampering {
    readonly name: string;
    readonly by: (directory: string) => void;
    /** All that is to be found. */
    readonly found: readonly (readonly [path: string, what: What, first?: number, last?: number])[];
    /** Seen in the hashes and signatures alone, as the second verifier has to. */
    readonly inHashes: boolean;
  }

  const rewritten = (all: () => readonly Buffer[]) => (directory: string) => {
    rmSync(directory, { recursive: true });
    writeLedger(directory, all());
  };

  const CATALOGUE: readonly Tampering[] = [
    {
      name: 'a bit in a bundle',
      by: (at) => change(at, 'tile/entries/002', flip(1_000)),
      found: [['tile/entries/002', 'other-hash']],
      inHashes: true,
    },
    {
      name: 'a bit in the partial bundle',
      by: (at) => change(at, 'tile/entries/005.p/220', flip(100)),
      found: [['tile/entries/005.p/220', 'other-hash', 1_280, 1_280]],
      inHashes: true,
    },
    {
      name: 'a bit in a tile of the lowest level',
      by: (at) => change(at, 'tile/0/001', flip(32 * 9 + 5)),
      found: [['tile/0/001', 'other-hash', 265, 265]],
      inHashes: true,
    },
    {
      name: 'a bit in the partial tile of the lowest level',
      by: (at) => change(at, 'tile/0/005.p/220', flip(32 * 9 + 5)),
      found: [['tile/0/005.p/220', 'other-hash', 1_289, 1_289]],
      inHashes: true,
    },
    {
      name: 'a bit in the tile of the upper level',
      by: (at) => change(at, 'tile/1/000.p/5', flip(70)),
      found: [['tile/1/000.p/5', 'other-hash', 512, 767]],
      inHashes: true,
    },
    {
      name: 'a bit in the text of the checkpoint',
      by: (at) => change(at, 'checkpoint', flip(box.name.length + 8)),
      found: [['checkpoint', 'forged']],
      inHashes: true,
    },
    {
      name: 'a removed bundle',
      by: (at) => rmSync(join(at, 'tile/entries/003')),
      found: [['tile/entries/003', 'missing', 768, 1_023]],
      inHashes: true,
    },
    {
      name: 'a removed tile of the lowest level',
      by: (at) => rmSync(join(at, 'tile/0/003')),
      found: [['tile/0/003', 'missing', 768, 1_023]],
      inHashes: true,
    },
    {
      name: 'a removed tile of the upper level',
      by: (at) => rmSync(join(at, 'tile/1/000.p/5')),
      found: [['tile/1/000.p/5', 'missing', 0, 1_279]],
      inHashes: true,
    },
    {
      name: 'a removed checkpoint',
      by: (at) => rmSync(join(at, 'checkpoint')),
      found: [['checkpoint', 'missing']],
      inHashes: true,
    },
    {
      name: 'two entries in each other’s place',
      by: (at) =>
        change(at, 'tile/entries/001', (bytes) => {
          const all = entriesOf(bytes, 256) ?? [];
          const [one = Buffer.alloc(0), other = Buffer.alloc(0)] = [all[10], all[20]];
          return bundleOf(all.with(10, other).with(20, one));
        }),
      found: [['tile/entries/001', 'moved', 266, 276]],
      inHashes: true,
    },
    {
      name: 'two entries in each other’s place, their hashes as well',
      by: (at) => {
        let all: Buffer[] = [];
        change(at, 'tile/entries/001', (bytes) => {
          all = entriesOf(bytes, 256) ?? [];
          const [one = Buffer.alloc(0), other = Buffer.alloc(0)] = [all[10], all[20]];
          all = all.with(10, other).with(20, one);
          return bundleOf(all);
        });
        change(at, 'tile/0/001', () => Buffer.concat(all.map(leafHash)));
      },
      found: [
        ['tile/0/001', 'other-hash', 256, 511],
        ['tile/entries/001', 'other-hash', 256, 511],
      ],
      inHashes: true,
    },
    {
      name: 'a bundle that ends early',
      by: (at) => change(at, 'tile/entries/002', (bytes) => bytes.subarray(0, -30)),
      found: [['tile/entries/002', 'torn', 512, 767]],
      inHashes: true,
    },
    {
      name: 'a bundle without its last entry',
      by: (at) =>
        change(at, 'tile/entries/002', (bytes) => bundleOf((entriesOf(bytes, 256) ?? []).slice(0, -1))),
      found: [['tile/entries/002', 'torn', 512, 767]],
      inHashes: true,
    },
    {
      name: 'a bundle with bytes behind its end',
      by: (at) => change(at, 'tile/entries/002', (bytes) => Buffer.concat([bytes, Buffer.alloc(9)])),
      found: [['tile/entries/002', 'damaged', 512, 767]],
      inHashes: true,
    },
    {
      name: 'a tile that ends early',
      by: (at) => change(at, 'tile/0/002', (bytes) => bytes.subarray(0, 4_096)),
      found: [['tile/0/002', 'torn', 512, 767]],
      inHashes: true,
    },
    {
      name: 'two tiles in each other’s place',
      by: (at) => swap(at, 'tile/0/001', 'tile/0/003'),
      found: [
        ['tile/0/001', 'moved', 256, 511],
        ['tile/0/003', 'moved', 768, 1_023],
      ],
      inHashes: true,
    },
    {
      name: 'two bundles in each other’s place',
      by: (at) => swap(at, 'tile/entries/001', 'tile/entries/003'),
      found: [
        ['tile/entries/001', 'moved', 256, 511],
        ['tile/entries/003', 'moved', 768, 1_023],
      ],
      inHashes: true,
    },
    {
      name: 'an older log in the place of the true one',
      by: rewritten(() => entries.slice(0, 1_100)),
      found: [['checkpoint', 'older-than-kept']],
      inHashes: true,
    },
    {
      name: 'a log with another history, of the same size',
      by: rewritten(() => entries.with(700, entryOf(decisionOf(900_001)))),
      found: [['checkpoint', 'other-than-kept']],
      inHashes: true,
    },
    {
      name: 'an older log that has grown in another way',
      by: rewritten(() => [
        ...entries.slice(0, 1_000),
        ...Array.from({ length: 700 }, (_, at) => entryOf(decisionOf(910_000 + at))),
      ]),
      found: [['checkpoint', 'other-than-kept']],
      inHashes: true,
    },
    {
      name: 'another entry, with all hashes made anew under the true checkpoint',
      by: (at) => {
        rewritten(() => entries.with(700, entryOf(decisionOf(900_001))))(at);
        writeFileSync(join(at, 'checkpoint'), checkpoint);
      },
      found: [['checkpoint', 'other-root']],
      inHashes: true,
    },
    {
      name: 'a shorter checkpoint over the true files',
      by: (at) => cpSync(join(room, 'kept-older'), join(at, 'checkpoint')),
      found: [
        ['checkpoint', 'older-than-kept'],
        // The other files of the true log stand in for those of the older one.
        ['tile/1/000.p/4', 'missing', 0, 1_023],
      ],
      inHashes: true,
    },
    {
      name: 'a checkpoint of another log',
      by: (at) => {
        const other = signerOf('kedge.example/box-8', generateKeyPairSync('ed25519').privateKey);
        const root = Buffer.alloc(32, 7);
        writeFileSync(
          join(at, 'checkpoint'),
          signCheckpoint({ origin: other.name, size: SIZE, root }, other),
        );
      },
      found: [['checkpoint', 'other-key']],
      inHashes: true,
    },
    {
      name: 'a note of this log that is no checkpoint of it',
      by: (at) => {
        const [, size = '', root = ''] = checkpoint.split('\n');
        writeFileSync(join(at, 'checkpoint'), signNote(`kedge.example/box-8\n${size}\n${root}\n`, box));
      },
      found: [['checkpoint', 'other-origin']],
      inHashes: true,
    },
    {
      name: 'a checkpoint signed with another key of the same name',
      by: (at) => {
        const other = signerOf(box.name, generateKeyPairSync('ed25519').privateKey);
        writeLedger(at, entries, other);
      },
      found: [['checkpoint', 'other-key']],
      inHashes: true,
    },
    {
      name: 'a checkpoint that is no note',
      by: (at) => writeFileSync(join(at, 'checkpoint'), 'nothing\n'),
      found: [['checkpoint', 'malformed']],
      inHashes: true,
    },
    {
      name: 'a cosignature that was removed',
      by: (at) =>
        change(at, 'checkpoint', (note) => Buffer.from(note.toString().replace(/\u2014 witness.*\n/, ''))),
      found: [['checkpoint', 'not-cosigned']],
      inHashes: false,
    },
    {
      name: 'a cosignature of another key',
      by: (at) =>
        change(at, 'checkpoint', (note) =>
          Buffer.from(
            note
              .toString()
              .replace(
                /(\u2014 witness[^ ]* .{20})(.)/,
                (_, line: string, each: string) => `${line}${each === 'A' ? 'B' : 'A'}`,
              ),
          ),
        ),
      found: [['checkpoint', 'forged']],
      inHashes: false,
    },
    {
      name: 'several files at once',
      by: (at) => {
        change(at, 'tile/entries/000', flip(500));
        change(at, 'tile/0/004', flip(70));
        change(at, 'tile/entries/005.p/220', (bytes) => bytes.subarray(0, -1));
      },
      found: [
        ['tile/entries/000', 'other-hash'],
        ['tile/0/004', 'other-hash', 1_026, 1_026],
        ['tile/entries/005.p/220', 'torn', 1_280, 1_499],
      ],
      inHashes: true,
    },
    // What a box with its key could sign: whole logs with records that no right box would write.
    {
      name: 'a record with spaces',
      by: rewritten(() => entries.with(3, Buffer.from(entries[3]?.toString().replace(':', ': ') ?? ''))),
      found: [['tile/entries/000', 'not-canonical', 3, 3]],
      inHashes: false,
    },
    {
      name: 'a record with a level that there is not',
      by: rewritten(() =>
        entries.with(
          4,
          Buffer.from(entryOf(decisionOf(900_002)).toString().replace('"level":3', '"level":6')),
        ),
      ),
      found: [['tile/entries/000', 'not-its-schema', 4, 4]],
      inHashes: false,
    },
    {
      name: 'a record that comes twice',
      by: rewritten(() => [...entries, entries[0] ?? Buffer.alloc(0)]),
      found: [['tile/entries/005.p/221', 'id-twice', 1_500, 1_500]],
      inHashes: false,
    },
    {
      name: 'a session that was not to be recorded',
      by: rewritten(() => [...entries, entryOf(transitOf(900_003, { sampledPercent: 0 }))]),
      found: [['tile/entries/005.p/221', 'wrongly-sampled', 1_500, 1_500]],
      inHashes: false,
    },
    {
      name: 'a mutation of which a part is missing',
      by: rewritten(() => [
        ...mutationOf(900_004, 3).slice(0, 2).map(entryOf),
        ...recordsOf(5_000).map(entryOf),
      ]),
      found: [['tile/entries/000', 'parts-missing', 0, 0]],
      inHashes: false,
    },
    {
      name: 'a mutation with another step than was hashed',
      by: rewritten(() => {
        const [part] = mutationOf(900_005, 1);
        const steps = part?.steps.map((step) => ({ ...step, done: false }));
        return [...entries, entryOf({ ...part, steps })];
      }),
      found: [['tile/entries/005.p/221', 'part-hash', 1_500, 1_500]],
      inHashes: false,
    },
    {
      name: 'a mutation whose parts disagree',
      by: rewritten(() => {
        const [first, second, third] = mutationOf(900_006, 3);
        return [
          ...entries,
          ...[first, { ...second, result: 'failed' }, third].map((each) => entryOf(each ?? {})),
        ];
      }),
      found: [['tile/entries/005.p/223', 'parts-differ', 1_501, 1_501]],
      inHashes: false,
    },
    {
      name: 'a forensic snapshot with another section than was hashed',
      by: rewritten(() => {
        const records = snapshotOf(900_007) as Record<string, unknown>[];
        const routes = { ...records[2], items: [{ name: 'forged', state: 'up', facts: {} }] };
        return [...entries, ...records.with(2, routes).map(entryOf)];
      }),
      found: [['tile/entries/005.p/229', 'part-hash', 1_504, 1_504]],
      inHashes: false,
    },
    {
      name: 'a forensic snapshot with a part of a service in the place of another',
      by: rewritten(() => {
        const records = snapshotOf(900_008) as Record<string, unknown>[];
        const routes = { ...records[3], part: 1, parts: 1, source: 'overlay-2' };
        return [...entries, ...records.with(3, routes).map(entryOf)];
      }),
      found: [['tile/entries/005.p/229', 'parts-differ', 1_504, 1_504]],
      inHashes: false,
    },
    {
      name: 'a part that a whole forensic snapshot has not counted',
      by: rewritten(() => {
        const more = snapshotPartOf(900_009, 'mesh', 'overlay');
        return [...entries, ...[...snapshotOf(900_009), more].map(entryOf)];
      }),
      found: [['tile/entries/005.p/230', 'parts-differ', 1_509, 1_509]],
      inHashes: false,
    },
  ];

  it('LE-2 finds nothing in one that is whole', () => {
    const report = verified(
      join(room, 'whole'),
      ...['--kept', join(room, 'kept'), '--kept', join(room, 'kept-older'), '--witness', witness.text],
    );
    expect(report).toMatchObject({ status: 0, sound: true, faults: [], entries: SIZE, records: SIZE });
    expect(report.notices).toEqual([]);
    const { status, out } = run(join(room, 'whole'), '--witness', witness.text);
    expect(status).toBe(0);
    expect(out).toContain(`ledger       ${box.name}\ncheckpoint   1500 entries, root `);
    expect(out).toContain('cosigned     witness.example/w at 2026-09-21T14:13:20.000Z');
    expect(out.endsWith('\nsound\n')).toBe(true);
  });

  it('LE-2, LE-4 names every tampering of the catalogue by file, entries and what it is, as a second verifier sees it', async () => {
    let visited = 0;
    let byProgram = 0;
    const seen = new Set<What>();
    const named = new Map<What, string>();
    for (const { name, by, found, inHashes } of CATALOGUE) {
      const directory = join(room, 'tampered');
      rmSync(directory, { recursive: true, force: true });
      cpSync(join(room, 'whole'), directory, { recursive: true });
      by(directory);
      // Other records are signed by the box itself: there is no checkpoint of them elsewhere.
      const kept = inHashes ? [join(room, 'kept')] : [];
      const report = await verifiedHere(directory, kept);
      const told = report.faults.map(({ path, what }) => `${path} ${what}`);
      expect([...new Set(told)].sort(), `${name}: ${JSON.stringify(report.faults)}`).toEqual(
        found.map(([path, what]) => `${path} ${what}`).sort(),
      );
      for (const [path, what, first, last] of found) {
        seen.add(what);
        if (first === undefined) continue;
        const one = report.faults.find((each) => each.path === path && each.what === what);
        expect(one?.entries, name).toEqual([first, last]);
      }
      expect(report.sound).toBe(false);
      // The first of each kind through the program as it is started.
      if (found.some(([, what]) => !named.has(what))) {
        for (const [, what] of found) named.set(what, name);
        const args = kept.flatMap((each) => ['--kept', each]);
        const { status, ...same } = verified(directory, ...args, '--witness', witness.text);
        expect(status, name).toBe(1);
        expect(same, name).toEqual(report);
        byProgram += 1;
      }
      const { status } = spawnSync('python3', [VERIFIER, 'log', directory, box.text, ...kept]);
      expect(status, name).toBe(inHashes ? 7 : 0);
      visited += 1;
    }
    expect(visited).toBe(40);
    expect(byProgram).toBe(PROGRAM_RUNS);
    const notices: What[] = ['epoch-falls', 'parts-outstanding'];
    const untouched = (Object.keys(WHAT) as What[]).filter(
      (what) => !seen.has(what) && !notices.includes(what),
    );
    expect(untouched).toEqual([]);
  }, 120_000);

  it('LE-2 in threads finds the same, in the order of the log, ids that come again far apart as well', () => {
    const directory = join(room, 'large');
    const many = Array.from({ length: 21_000 }, (_, at) => decisionOf(at));
    const sealed = many.map(entryOf);
    const wrong = Buffer.from(sealed[15_000]?.toString().replace('"level":3', '"level":6') ?? '');
    writeLedger(directory, sealed.with(12_000, sealed[7] ?? wrong).with(15_000, wrong));
    expect(verified(directory)).toMatchObject({
      ...{ status: 1, entries: 21_000, records: 20_999 },
      faults: [
        { what: 'id-twice', entries: [12_000, 12_000] },
        {
          what: 'not-its-schema',
          entries: [15_000, 15_000],
          detail: expect.stringMatching(/^level/) as string,
        },
      ],
    });
  }, 60_000);

  it('LE-8 takes parts of a forensic snapshot that came after it, where it says that they were missing', () => {
    const directory = join(room, 'late');
    const records = snapshotOf(900_014) as Record<string, unknown>[];
    const whole = records.at(-1) as { sections: { section: string; sha256: string }[] };
    // Without the routes of one service, which came later.
    const late = records.find(({ source }) => source === 'underlay') ?? {};
    const routes = ['overlay', 'overlay'].map((source, at) =>
      snapshotPartOf(900_014, 'routes', source, at + 1, 2),
    );
    const sections = whole.sections.map((each) =>
      each.section === 'routes'
        ? {
            ...{ ...each, complete: false, reason: 'no part of underlay came in time', items: 2, parts: 2 },
            sha256: sha256(routes.flatMap(({ items }) => items)),
          }
        : each,
    );
    const others = records.slice(0, -1).filter((each) => each !== late);
    writeLedger(directory, [...others, { ...whole, complete: false, sections }, late].map(entryOf));
    expect(verified(directory)).toMatchObject({ status: 0, faults: [], notices: [], records: 9 });
  });

  it('tells what is odd, and is no proof of anything, apart', () => {
    const directory = join(room, 'odd');
    const odd = [
      ...[transitionOf(900_010, 5_000), transitionOf(900_011, 4_000), transitionOf(900_012, 4_001)],
      ...mutationOf(900_013, 3).slice(0, 1),
    ];
    writeLedger(directory, odd.map(entryOf));
    const report = verified(directory);
    expect(report).toMatchObject({ status: 0, sound: true });
    expect(report.notices.map(({ what, entries: at }) => [what, at?.[0]])).toEqual([
      ['epoch-falls', 1],
      ['parts-outstanding', 3],
    ]);
    expect(run(directory).out).toContain('worth knowing, and no fault:\nFILE ');
  });

  it('LE-6 checks the hashes of entries that retention took', () => {
    const directory = join(room, 'pruned');
    cpSync(join(room, 'whole'), directory, { recursive: true });
    rmSync(join(directory, 'tile/entries/000'));
    rmSync(join(directory, 'tile/entries/001'));
    expect(verified(directory, '--kept-from', '512')).toMatchObject({ status: 0, pruned: 512, records: 988 });
    expect(verified(directory, '--kept-from', '511')).toMatchObject({ status: 1 });
    change(directory, 'tile/0/000', flip(40));
    expect(verified(directory, '--kept-from', '512').faults).toMatchObject([
      { path: 'tile/0/000', what: 'other-hash', entries: [0, 255] },
    ]);
  });

  it('ends with 2 where it is used wrongly and with 4 where it cannot read, which is not a finding', () => {
    const whole = join(room, 'whole');
    const with2 = [
      [],
      [whole],
      [whole, whole, '--key', box.text],
      [whole, '--key', 'nonsense'],
      [whole, '--key', witness.text],
      [whole, '--key', box.text, '--witness', box.text],
      [whole, '--key', box.text, '--kept-from', '-1'],
      [whole, '--key', box.text, '--kept', join(whole, 'tile/0/000')],
      [whole, '--key', box.text, '--unknown'],
    ];
    const statusOf = (args: readonly string[]): number | null =>
      spawnSync(process.execPath, [PROGRAM, ...args]).status;
    for (const args of with2) expect(statusOf(args), args.join(' ')).toBe(2);
    expect(with2).toHaveLength(9);
    const with4 = [
      [join(room, 'nowhere'), '--key', box.text],
      [join(whole, 'checkpoint'), '--key', box.text],
      [whole, '--key', box.text, '--kept', join(room, 'nowhere')],
    ];
    for (const args of with4) expect(statusOf(args), args.join(' ')).toBe(4);
    mkdirSync(join(room, 'loop/tile'), { recursive: true });
    writeFileSync(join(room, 'loop/checkpoint'), checkpoint);
    spawnSync('ln', ['-s', 'entries', join(room, 'loop/tile/entries')]);
    expect(statusOf([join(room, 'loop'), '--key', box.text])).toBe(4);
    expect(run(whole, '--help')).toMatchObject({ status: 0, err: '' });
    expect(readFileSync(join(whole, 'checkpoint'), 'utf8')).toBe(checkpoint);
  });
});
