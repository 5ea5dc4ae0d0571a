/**
 * The thread that writes frames: in order, nothing after a failure, and no thread left behind.
 */
import { signCheckpoint, signerOf, unsignedCheckpoint } from '@kedge/ledger';
import fc from 'fast-check';
import { generateKeyPairSync } from 'node:crypto';
import { closeSync, constants, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FrameWriter } from './frame-writer.js';
import { signedIn, unsignedFrameOf, walFrameOf } from './wal-frame.js';

const signer = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);
const newWriter = (): FrameWriter => new FrameWriter(signer);

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
    const writer = newWriter();
    const told: number[] = [];
    const frames = Array.from({ length: 200 }, (_, at) => Buffer.alloc(1 + ((at * 37) % 3_000), at));
    let at = 0;
    await Promise.all(
      frames.map((frame, number) => {
        const written = writer.writePlain(fd, frame, at).then(() => told.push(number));
        at += frame.length;
        return written;
      }),
    );
    expect(told).toEqual(frames.map((_, number) => number));
    expect(readFileSync(join(work, 'file'))).toEqual(Buffer.concat(frames));
    writer.stop();
  });

  it('LE-2 signs each frame as the ledger itself does, at once and in line', async () => {
    const writer = newWriter();
    const cursors = new Map([['vpp-bridge\nspool "1"\\', 7n]]);
    const keys = { file: 1, rows: 2 };
    let at = 0;
    const expected: Buffer[] = [];
    const written: Promise<void>[] = [];
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 5 }),
        (size, root, entries) => {
          const checkpoint = { origin: signer.name, size, root: Buffer.from(root) };
          const frameOf = () =>
            unsignedFrameOf(size, entries, {
              checkpoint: unsignedCheckpoint(checkpoint, signer),
              cursors,
              keys,
            });
          const signed = signCheckpoint(checkpoint, signer);
          const whole = walFrameOf(size, entries, { checkpoint: signed, cursors, keys });
          const one = frameOf();
          writer.finish(one);
          expect(one.bytes).toEqual(whole);
          expect(signedIn(one)).toBe(signed);
          written.push(writer.write(fd, frameOf(), at));
          expected.push(whole);
          at += whole.length;
        },
      ),
      { numRuns: 200 },
    );
    await Promise.all(written);
    expect(readFileSync(join(work, 'file'))).toEqual(Buffer.concat(expected));
    writer.stop();
  });

  it('refuses to sign into what has no room for it, and to write it', async () => {
    const writer = newWriter();
    const checkpoint = unsignedCheckpoint({ origin: signer.name, size: 1, root: Buffer.alloc(32) }, signer);
    const frame = unsignedFrameOf(0, [], { checkpoint, cursors: new Map(), keys: { file: 1, rows: 0 } });
    const longer = Buffer.from(frame.bytes);
    longer.writeUInt32LE(0xffff_ffff, 4);
    const wrong = [
      { ...frame, text: '' },
      { ...frame, text: 'x'.repeat(3_000) },
      { ...frame, signatureAt: -1 },
      { ...frame, signatureAt: 19 },
      { ...frame, signatureAt: frame.bytes.length - 91 },
      { ...frame, signatureAt: 2 ** 52 },
      { ...frame, bytes: longer },
      { ...frame, bytes: Buffer.alloc(19) },
    ];
    for (const each of wrong) {
      expect(() => writer.finish(each)).toThrow(expect.objectContaining({ code: 'LEDGER_ADDON' }));
      await expect(writer.write(fd, each, 0)).rejects.toMatchObject({ code: 'LEDGER_ADDON' });
    }
    expect(readFileSync(join(work, 'file'))).toHaveLength(0);
    await writer.write(fd, frame, 0);
    expect(readFileSync(join(work, 'file'))).toEqual(frame.bytes);
    writer.stop();
  });

  it('LE-5 writes nothing behind a write that failed before it is told to go on', async () => {
    const writer = newWriter();
    const full = openSync('/dev/full', 'w');
    const outcomes = await Promise.allSettled([
      writer.writePlain(fd, Buffer.from('one'), 0),
      writer.writePlain(full, Buffer.from('two'), 3),
      writer.writePlain(fd, Buffer.from('three'), 3),
    ]);
    expect(outcomes).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'ENOSPC', syscall: 'pwrite' } },
      { status: 'rejected', reason: { code: 'ECANCELED' } },
    ]);
    expect(writer.isHalted).toBe(true);
    await expect(writer.writePlain(fd, Buffer.from('four'), 3)).rejects.toMatchObject({ code: 'ECANCELED' });
    expect(readFileSync(join(work, 'file'), 'utf8')).toBe('one');
    writer.resume();
    expect(writer.isHalted).toBe(false);
    await writer.writePlain(fd, Buffer.from('five'), 3);
    expect(readFileSync(join(work, 'file'), 'utf8')).toBe('onefive');
    closeSync(full);
    writer.stop();
  });

  it('leaves no thread behind, and takes nothing after its end', async () => {
    const before = threads();
    const writers = Array.from({ length: 8 }, () => newWriter());
    expect(threads()).toBe(before + 16);
    await Promise.all(writers.map((writer, at) => writer.writePlain(fd, Buffer.from('x'), at)));
    for (const writer of writers) writer.stop();
    expect(threads()).toBe(before);
    await expect(writers[0]?.writePlain(fd, Buffer.from('x'), 0)).rejects.toMatchObject({
      code: 'LEDGER_ADDON',
    });
  });

  it('ends with the thread of Node that started it, also in the middle of its work', async () => {
    for (let round = 0; round < 10; round += 1) {
      const worker = new Worker(
        `const { workerData, parentPort } = require('node:worker_threads');
         const addon = require(workerData.addon);
         const writer = addon.startWriter(() => {}, new Uint8Array(32), new Uint8Array(4));
         for (let at = 0; at < 400; at += 1) addon.write(writer, workerData.fd, Buffer.alloc(100), at * 100);
         parentPort.postMessage('given');
         setInterval(() => {}, 1000);`,
        { eval: true, workerData: { addon: ADDON, fd } },
      );
      await new Promise((resolve) => worker.once('message', resolve));
      expect(await worker.terminate()).toBe(1);
    }
    const worker = new Worker(
      `require(require('node:worker_threads').workerData)
         .startWriter(() => {}, new Uint8Array(32), new Uint8Array(4))`,
      {
        eval: true,
        workerData: ADDON,
      },
    );
    // One that has nothing to do keeps nobody from ending.
    expect(await new Promise((resolve) => worker.once('exit', resolve))).toBe(0);
  });
});
