/**
 * Files that are replaced and directories that are made. What a power cut leaves of them, whoever uses them shows.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  fullDisk,
  isDiskFull,
  isMissing,
  makeDirectory,
  replaceFile,
  SyncFailure,
  syncDirectory,
  UNFINISHED,
} from './durable-files.js';

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kedge-durable-'));
});
afterEach(() => {
  rmSync(work, { recursive: true });
});

describe('a file that is replaced', () => {
  it('has the new content, for its owner alone, and nothing stays beside it', async () => {
    const path = join(work, 'file');
    writeFileSync(`${path}${UNFINISHED}`, 'what a crash left, longer than what comes');
    for (const content of ['one', Buffer.from([0, 255]), '']) {
      await replaceFile(path, content);
      expect(readFileSync(path)).toEqual(Buffer.from(content));
    }
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(work)).toEqual(['file']);
  });

  it('says when the name stands for it, before the name is durable', async () => {
    const path = join(work, 'file');
    writeFileSync(path, 'old');
    let seen = '';
    await replaceFile(path, 'new', () => {
      seen = readFileSync(path, 'utf8');
    });
    expect(seen).toBe('new');
  });

  it('keeps the old one where the new one cannot be written or named, and leaves nothing half written', async () => {
    const path = join(work, 'file');
    writeFileSync(path, 'old');
    const elsewhere = join(work, 'elsewhere');
    symlinkSync(elsewhere, `${path}${UNFINISHED}`);
    // Nobody writes through a link that somebody put there.
    await expect(replaceFile(path, 'new')).rejects.toMatchObject({ code: 'ELOOP' });
    expect([readFileSync(path, 'utf8'), existsSync(elsewhere)]).toEqual(['old', false]);
    mkdirSync(join(work, 'full', 'of'), { recursive: true });
    let isNamed = false;
    const named = replaceFile(join(work, 'full'), 'new', () => (isNamed = true));
    await expect(named).rejects.toMatchObject({ code: 'EISDIR' });
    expect([isNamed, readdirSync(work)]).toEqual([false, ['file', `file${UNFINISHED}`, 'full']]);
  });

  it('tells a full disk, and what is not there, from other failures, also behind a failed flush', async () => {
    const [full, quota, broken] = ['ENOSPC', 'EDQUOT', 'EIO'].map((code) =>
      Object.assign(new Error(code), { code }),
    );
    const flushed = (cause: unknown): SyncFailure => new SyncFailure('not on the disk', { cause });
    expect([full, quota, flushed(full)].map(fullDisk)).toEqual([full, quota, full]);
    expect([full, broken, flushed(broken), 'ENOSPC'].map(isDiskFull)).toEqual([true, false, false, false]);
    const missing = await syncDirectory(join(work, 'nowhere')).catch((error: unknown) => error);
    expect([missing, full, undefined].map(isMissing)).toEqual([true, false, false]);
  });
});

describe('a directory that is made', () => {
  it('comes with all that leads to it, for its owner alone, once and again', async () => {
    const path = join(work, 'a', 'b', 'c');
    await makeDirectory(path);
    await makeDirectory(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
  });
});
