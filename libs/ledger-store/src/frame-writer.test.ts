/**
 * The thread that writes frames: in order, nothing after a failure, and no thread left behind.
 */
import { closeSync, constants, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Worker } from 'node:worker_threads';

import { FrameWriter } from './frame-writer.js';

const ADDON = createRequire(import.meta.url).resolve('../build/ledger_store.node');
const threads = (): number => readdirSync('/proc/self/task').length;
let work: string;
let fd: number;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'kedge-writer-'));
  fd = openSync(join(work, 'file'), constants.O_WRONLY | constants.O_CREAT | constants.O_DSYNC);
});
afterEach(() => {
  closeSync(fd);
  rmSync(work, { recursive: true });
});

describe('the thread that writes frames', () => {
  it('writes what it is given in its order, and says so in that order', async () => {
    const writer = new FrameWriter();
    const told: number[] = [];
    const frames = Array.from({ length: 200 }, (_, at) => Buffer.alloc(1 + ((at * 37) % 3_000), at));
    let at = 0;
    await Promise.all(
      frames.map((frame, number) => {
        const written = writer.write(fd, frame, at).then(() => told.push(number));
        at += frame.length;
        return written;
      }),
    );
    expect(told).toEqual(frames.map((_, number) => number));
    expect(readFileSync(join(work, 'file'))).toEqual(Buffer.concat(frames));
    writer.stop();
  });

  it('LE-5 writes nothing behind a write that failed before it is told to go on', async () => {
    const writer = new FrameWriter();
    const full = openSync('/dev/full', 'w');
    const outcomes = await Promise.allSettled([
      writer.write(fd, Buffer.from('one'), 0),
      writer.write(full, Buffer.from('two'), 3),
      writer.write(fd, Buffer.from('three'), 3),
    ]);
    expect(outcomes).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'ENOSPC', syscall: 'pwrite' } },
      { status: 'rejected', reason: { code: 'ECANCELED' } },
    ]);
    expect(writer.isHalted).toBe(true);
    await expect(writer.write(fd, Buffer.from('four'), 3)).rejects.toMatchObject({ code: 'ECANCELED' });
    expect(readFileSync(join(work, 'file'), 'utf8')).toBe('one');
    writer.resume();
    expect(writer.isHalted).toBe(false);
    await writer.write(fd, Buffer.from('five'), 3);
    expect(readFileSync(join(work, 'file'), 'utf8')).toBe('onefive');
    closeSync(full);
    writer.stop();
  });

  it('leaves no thread behind, and takes nothing after its end', async () => {
    const before = threads();
    const writers = Array.from({ length: 8 }, () => new FrameWriter());
    expect(threads()).toBe(before + 8);
    await Promise.all(writers.map((writer, at) => writer.write(fd, Buffer.from('x'), at)));
    for (const writer of writers) writer.stop();
    expect(threads()).toBe(before);
    await expect(writers[0]?.write(fd, Buffer.from('x'), 0)).rejects.toMatchObject({ code: 'LEDGER_ADDON' });
  });

  it('ends with the thread of Node that started it, also in the middle of its work', async () => {
    for (let round = 0; round < 10; round += 1) {
      const worker = new Worker(
        `const { workerData, parentPort } = require('node:worker_threads');
         const addon = require(workerData.addon);
         const writer = addon.startWriter(() => {});
         for (let at = 0; at < 400; at += 1) addon.write(writer, workerData.fd, Buffer.alloc(100), at * 100);
         parentPort.postMessage('given');
         setInterval(() => {}, 1000);`,
        { eval: true, workerData: { addon: ADDON, fd } },
      );
      await new Promise((resolve) => worker.once('message', resolve));
      expect(await worker.terminate()).toBe(1);
    }
    const worker = new Worker(`require(require('node:worker_threads').workerData).startWriter(() => {})`, {
      eval: true,
      workerData: ADDON,
    });
    // One that has nothing to do keeps nobody from ending.
    expect(await new Promise((resolve) => worker.once('exit', resolve))).toBe(0);
  });
});
