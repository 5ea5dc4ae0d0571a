import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openSpool } from '../src/index.js';

const script = join(import.meta.dirname, 'append.mjs');
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-spool-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function sequencesOf(path: string): Promise<bigint[]> {
  const spool = await openSpool({ directory: path });
  const found: bigint[] = [];
  for await (const { sequence } of spool.drain()) found.push(sequence);
  await spool.close();
  return found;
}

describe('a spool after a crash', () => {
  it('everything that was acknowledged before kill -9 is there, in one unbroken row', async () => {
    const path = join(directory, 'spool');
    let acknowledged = 0n;
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [script, path, '7'], { stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 20 + 31 * round));
      child.kill('SIGKILL');
      await once(child, 'close');
      const lines = out.split('\n').slice(0, -1).map(BigInt);
      const newest = lines.reduce((most, each) => (each > most ? each : most), acknowledged);
      expect(newest).toBeGreaterThan(acknowledged);
      acknowledged = newest;
      const found = await sequencesOf(path);
      expect(found).toEqual(found.map((_, index) => BigInt(index + 1)));
      expect(found.length).toBeGreaterThanOrEqual(Number(acknowledged));
    }
  });

  /** Lets the script run on a disk of 96 KiB; its lines of output, and the records that were kept. */
  async function onSmallDisk(...args: string[]): Promise<{ lines: string[]; kept: bigint[] }> {
    const out = execFileSync(
      '/usr/bin/unshare',
      [
        '--mount',
        'sh',
        '-c',
        'mount -t tmpfs -o size=96k none "$1"; kept=$2; shift 2; "$@" && cp -r "$3" "$kept"',
        'sh',
        directory,
        `${directory}.kept`,
        process.execPath,
        script,
        `${directory}/spool`,
        ...args,
      ],
      { encoding: 'utf8' },
    );
    try {
      return { lines: out.trimEnd().split('\n'), kept: await sequencesOf(`${directory}.kept`) };
    } finally {
      await rm(`${directory}.kept`, { recursive: true, force: true });
    }
  }

  it('a full disk refuses, loses nothing that was acknowledged, and leaves whole records', async () => {
    const { lines, kept } = await onSmallDisk('5');
    expect(lines.pop()).toBe('refused LEDGER_SPOOL_FULL then LEDGER_SPOOL_FULL');
    expect(lines.length).toBeGreaterThan(50);
    const newest = lines.map(BigInt).reduce((most, each) => (each > most ? each : most));
    expect(kept.length).toBe(Number(newest));
  });

  it('a record given while a full disk is noticed breaks no row: what is acknowledged is there', async () => {
    const { lines, kept } = await onSmallDisk('200', 'again');
    expect(lines.pop()).toMatch(/^refused LEDGER_SPOOL_FULL then /);
    expect(lines.length).toBeGreaterThan(0);
    expect(new Set(lines).size).toBe(lines.length);
    expect(kept).toEqual(kept.map((_, index) => BigInt(index + 1)));
    for (const line of lines) expect(kept).toContain(BigInt(line));
  });

  it.each([
    ['EIO, from then on', {}],
    ['ENOSPC, once', { FSYNC_FAILS_ONCE: '1' }],
  ])('after a failed fsync nothing is appended to the spool again: %s', async (_how, environment) => {
    const shim = join(directory, 'fsync-fails.so');
    execFileSync('gcc', ['-shared', '-fPIC', '-o', shim, join(import.meta.dirname, 'fsync-fails.c')]);
    const path = join(directory, 'spool');
    const out = execFileSync(process.execPath, [script, path, '3'], {
      encoding: 'utf8',
      env: { ...process.env, ...environment, LD_PRELOAD: shim },
    });
    const lines = out.trimEnd().split('\n');
    expect(lines.pop()).toBe('refused LEDGER_SPOOL_FAILED then LEDGER_SPOOL_FAILED');
    const newest = lines.map(BigInt).reduce((most, each) => (each > most ? each : most));
    expect((await sequencesOf(path)).length).toBeGreaterThanOrEqual(Number(newest));
  });
});
