/**
 * The kept intent: what it takes and gives, torn at any byte, with a disk that is full or fails, and asked for by two.
 */
import { FaultLayer } from '@kedge/faults';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { openIntentStore } from '../src/index.js';
import { StoreFile } from '../src/store-file.js';
import { datastoresOver, documentAt, sha256, wholeCourse } from './material.mjs';
import { type Acknowledged, acknowledgedIn, SCRIPT, stepIn, stepOrDamage } from './store-files.js';

const FAULTS = fileURLToPath(new URL('../../../test/faults', import.meta.url));
let work: string;
let path: string;
beforeAll(() => {
  execFileSync('make', ['-C', FAULTS, 'all'], { stdio: 'ignore' });
});
beforeEach(() => {
  work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kedge-intent-'));
  path = join(work, 'intent.db');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const mapOf = (said: readonly Acknowledged[]): ReadonlyMap<number, string> =>
  new Map(said.map(({ step, digest }) => [step, digest]));

/** Goes the whole course in this process; the digest after each step. The file is left with its journal. */
async function gone(): Promise<{
  readonly digests: ReadonlyMap<number, string>;
  readonly files: readonly [Buffer, Buffer];
}> {
  const digests = new Map<number, string>();
  const store = await openIntentStore({ path });
  const over = await datastoresOver(store, (step, digest) => digests.set(step, digest));
  await wholeCourse(over);
  const files = [readFileSync(path), readFileSync(`${path}-wal`)] as const;
  await over.datastores.close();
  await store.close();
  return { digests, files };
}

describe('a store', () => {
  it('UN-4 gives back what it was given, to whoever opens it next', async () => {
    const { digests } = await gone();
    expect(stepIn(path, digests, 'at the end')).toBe(digests.size);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const store = await openIntentStore({ path });
    const last = store.kept?.revisions.at(-1);
    expect(last).toMatchObject({ cause: 'commit', confirmSeconds: 60, hash: sha256(documentAt(8)) });
    expect(store.kept?.heads.pending).toMatchObject({ revision: last?.number });
    expect(await store.documentOf(last?.hash ?? '')).toBe(documentAt(8));
    await expect(store.documentOf(sha256('nothing'))).rejects.toMatchObject({ code: 'INTENT_STORE_DAMAGED' });
    await store.close();
    await expect(store.documentOf(last?.hash ?? '')).rejects.toMatchObject({ code: 'INTENT_STORE_CLOSED' });
  });

  it('UN-4 takes no step but the next one, and none that does not fit what it has', () => {
    const { file } = StoreFile.open(path);
    const heads = { step: 2 } as never;
    const none = { revisions: [], documents: [], drop: [], forget: [] };
    expect(() => file.keep({ heads, ...none })).toThrow(
      expect.objectContaining({ code: 'INTENT_STORE_FAILED' }),
    );
    // And nothing after it: what it has is told when it is opened again.
    expect(() => file.keep({ heads: { step: 1 } as never, ...none })).toThrow(/step 2|cannot write/);
    file.close();
    expect(stepIn(path, new Map(), 'nothing kept')).toBe(0);
  });

  it('UN-4 is refused to a second process', async () => {
    const child = spawn(process.execPath, [SCRIPT, 'hold', path], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    while (!out.includes('open\n')) await once(child.stdout, 'data');
    await expect(openIntentStore({ path })).rejects.toMatchObject({ code: 'INTENT_STORE_BUSY' });
    child.stdin.end();
    await once(child, 'close');
    expect(stepIn(path, mapOf(acknowledgedIn(out)), 'after the first process')).toBe(1);
  });

  it('UN-4 after kill -9 at any moment has what it said, or one step more', async () => {
    let before = 0;
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [SCRIPT, 'endless', path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      while (!out.includes('kept ')) await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 40 + 67 * round));
      child.kill('SIGKILL');
      await once(child, 'close');
      const said = acknowledgedIn(out);
      const last = said.at(-1)?.step ?? 0;
      expect(last).toBeGreaterThan(before);
      const { file, kept } = StoreFile.open(path);
      file.close();
      before = kept?.heads.step ?? 0;
      expect([last, last + 1]).toContain(before);
      if (before === last) expect(stepIn(path, mapOf(said), `round ${round}`)).toBe(last);
    }
  }, 60_000);
});

describe('a store whose file is torn', () => {
  it('UN-4 at any byte is one of its states whole, or damaged and left as it is: never a mix', async () => {
    const { digests, files } = await gone();
    const last = digests.size;
    const [base, journal] = files;
    let [visited, damaged, whole, older] = [0, 0, 0, 0];
    const look = (database: Buffer, wal: Buffer, where: string): void => {
      writeFileSync(path, database);
      writeFileSync(`${path}-wal`, wal);
      const step = stepOrDamage(path, digests, where);
      // Without a journal there is nothing older to be found.
      if (where.startsWith('the file')) expect([undefined, last], where).toContain(step);
      if (step === undefined) damaged += 1;
      else if (step === last) whole += 1;
      else older += 1;
      if (step === undefined && !where.includes('journal'))
        expect(readFileSync(path).equals(database), where).toBe(true);
      visited += 1;
    };
    const flipped = (bytes: Buffer, at: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 0x55;
      return copy;
    };
    // What stands behind the journal, as after an orderly end: every byte of it is in use.
    writeFileSync(path, base);
    writeFileSync(`${path}-wal`, journal);
    StoreFile.open(path).file.close();
    const closed = readFileSync(path);
    const none = Buffer.alloc(0);
    for (let at = 0; at < closed.length; at += at < 200 ? 3 : 151) {
      look(flipped(closed, at), none, `the file changed at ${at}`);
      look(closed.subarray(0, at), none, `the file ends at ${at}`);
    }
    for (let at = 0; at < journal.length; at += at < 200 ? 3 : 733) {
      look(base, flipped(journal, at), `the journal changed at ${at}`);
      look(base, journal.subarray(0, at), `the journal ends at ${at}`);
    }
    expect(visited).toBeGreaterThan(800);
    // The sweep met each of them: a file that ends early is never taken for a new one.
    expect(damaged).toBeGreaterThan(300);
    expect(whole).toBeGreaterThan(20);
    expect(older).toBeGreaterThan(100);
  }, 120_000);

  it('UN-4 that is of somebody else, or of another release, is not touched', () => {
    StoreFile.open(path).file.close();
    const good = readFileSync(path);
    let visited = 0;
    for (const [at, what] of [
      [68, 'none that keeps an intent'],
      [60, 'another release'],
    ] as const) {
      const other = Buffer.from(good);
      other.writeUInt32BE(7, at);
      writeFileSync(path, other);
      expect(() => StoreFile.open(path)).toThrow(
        expect.objectContaining({
          code: 'INTENT_STORE_DAMAGED',
          message: expect.stringContaining(what) as string,
        }),
      );
      expect(readFileSync(path).equals(other)).toBe(true);
      visited += 1;
    }
    expect(visited).toBe(2);
    writeFileSync(path, '');
    expect(() => StoreFile.open(path)).toThrow(expect.objectContaining({ code: 'INTENT_STORE_DAMAGED' }));
  });

  it('UN-4 in a revision that is not in force is damaged for who asks for that one', async () => {
    const { digests } = await gone();
    const { file, kept } = StoreFile.open(path);
    const revisions = kept?.revisions ?? [];
    const inForce = new Set([kept?.heads.running, kept?.heads.startup, kept?.heads.intended]);
    const old = revisions.find(
      ({ number, hash }) =>
        !inForce.has(number) && revisions.filter((each) => each.hash === hash).length === 1,
    );
    const text = file.documentOf(old?.hash ?? '');
    file.close();
    expect(text).toContain('site:ports');
    // Its packed bytes are found by the bytes that no other document has.
    const copy = join(work, 'copy.db');
    let found = 0;
    for (let at = 0; at < statSync(path).size && found === 0; at += 64) {
      const bytes = readFileSync(path);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      writeFileSync(copy, bytes);
      try {
        const opened = StoreFile.open(copy);
        try {
          opened.file.documentOf(old?.hash ?? '');
        } catch (error) {
          expect(error).toMatchObject({ code: 'INTENT_STORE_DAMAGED' });
          expect(opened.kept?.heads.step).toBe(digests.size);
          found += 1;
        }
        opened.file.close();
      } catch {
        // Something that is in force: not what is looked for here.
      }
    }
    expect(found).toBe(1);
  });
});

describe('a store whose disk', () => {
  it('UN-4 is full refuses loudly, loses nothing, and goes on when there is room', () => {
    const kept = join(work, 'kept');
    const disk = join(work, 'disk');
    mkdirSync(disk);
    const steps = [
      'mount -t tmpfs -o size=1000k,mode=0700 none "$1"',
      'head -c 500k /dev/zero > "$1/ballast"',
      '"$3" "$4" full "$1/intent.db" "$1/ballast"',
      'cp -rp "$1" "$2"',
    ];
    const out = execFileSync(
      '/usr/bin/unshare',
      ['--mount', 'sh', '-c', steps.join(' && '), 'sh', disk, kept, process.execPath, SCRIPT],
      { encoding: 'utf8' },
    );
    expect(out.match(/^(refused|phase|then) .*$/gm)).toEqual([
      'refused INTENT_STORE_FULL',
      'refused INTENT_STORE_FULL',
      'phase settled',
      'then committed',
    ]);
    const said = acknowledgedIn(out);
    expect(said.length).toBeGreaterThan(10);
    expect(stepIn(join(kept, 'intent.db'), mapOf(said), 'after the full disk')).toBe(said.at(-1)?.step);
  }, 60_000);

  it('UN-4 fails under a flush ends the store for good, and the old state or the new one is there afterwards', () => {
    let visited = 0;
    for (const skip of [3, 4, 9]) {
      const directory = join(work, `failing-${skip}`);
      mkdirSync(directory);
      const layer = new FaultLayer({ control: join(work, 'control'), prefix: directory });
      layer.add({ ops: ['sync'], path: 'intent.db-wal', action: 'fail', error: 'EIO', skip });
      const out = execFileSync(process.execPath, [SCRIPT, 'failing', join(directory, 'intent.db')], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], ...layer.environment() },
      });
      layer.close();
      expect(out).toContain('refused INTENT_STORE_FAILED INTENT_STORE_FAILED INTENT_STORE_FAILED failed\n');
      const said = acknowledgedIn(out);
      const last = said.at(-1)?.step ?? 0;
      const { file, kept } = StoreFile.open(join(directory, 'intent.db'));
      file.close();
      expect([last, last + 1]).toContain(kept?.heads.step);
      visited += 1;
    }
    expect(visited).toBe(3);
  });

  it('UN-4 has no place for it is told by its code', async () => {
    await expect(openIntentStore({ path: join(work, 'none', 'intent.db') })).rejects.toMatchObject({
      code: 'INTENT_STORE_FAILED',
    });
    expect(readdirSync(work)).toEqual([]);
    // What an interrupted beginning left is no store, and in nobody's way.
    writeFileSync(`${path}.new`, 'half');
    writeFileSync(`${path}.new-wal`, 'half');
    const store = await openIntentStore({ path });
    expect(store.kept).toBeUndefined();
    await store.close();
    expect(readdirSync(work)).toEqual(['intent.db']);
    copyFileSync(path, join(work, 'copy.db'));
  });
});
