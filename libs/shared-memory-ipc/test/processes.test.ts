/**
 * What crosses processes, users and threads. It uses the native test program as the other process, copied
 * to where any user may run it.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  listen,
  openSegment,
  type SegmentReader,
} from '../src/index.js';

const home = fileURLToPath(new URL('..', import.meta.url));
const { refusal, segmentKind } = enums;
const owner = process.getuid?.() ?? 0;
/** Two users of no importance: a service and somebody else. */
const [SERVICE, OTHER] = [64791, 64792];

let base = '';
let directory = '';
let program = '';
const children: ChildProcess[] = [];
const open: SegmentReader[] = [];

beforeAll(() => {
  execFileSync('make', ['-s', '-C', home, 'build/segment_test'], { stdio: 'pipe' });
});

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'kedge-processes-'));
  chmodSync(base, 0o755);
  directory = join(base, 'board');
  mkdirSync(directory);
  chownSync(directory, 0, 64790);
  chmodSync(directory, 0o1775);
  program = join(base, 'other');
  copyFileSync(join(home, 'build/segment_test'), program);
  chmodSync(program, 0o755);
});

afterEach(async () => {
  for (const segment of open.splice(0)) segment.close();
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  rmSync(base, { recursive: true, force: true });
});

function kept<S extends SegmentReader>(segment: S): S {
  open.push(segment);
  return segment;
}

/** Starts the other process as a user of the board's group; resolves with the numbers that it prints. */
async function start(uid: number, ...args: string[]): Promise<{ child: ChildProcess; said: number[] }> {
  const child = spawn(program, args, { uid, gid: 64790, stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, said: line.toString().trim().split(' ').map(Number) };
}

function run(uid: number, ...args: string[]) {
  const done = spawnSync(program, args, { uid, gid: 64790, encoding: 'utf8' });
  return { said: done.stdout.trim().split(' ').map(Number), signal: done.signal };
}

describe('between processes and users', () => {
  it('PO-16 a second process that wants to write is refused while the first lives, and let in after its crash', async () => {
    const { child, said } = await start(SERVICE, '--create', directory, 'warden', String(segmentKind.WARDEN));
    expect(said).toEqual([refusal.NONE, 0, 1]);
    const second = await start(SERVICE, '--create', directory, 'warden', String(segmentKind.WARDEN));
    expect(second.said[0]).toBe(refusal.BUSY);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const third = await start(SERVICE, '--create', directory, 'warden', String(segmentKind.WARDEN));
    expect(third.said).toEqual([refusal.NONE, 0, 2]);
  });

  it('PO-16 the word and the line survive the crash of their writer, and its successor goes on', async () => {
    const { child, said } = await start(owner, '--store', directory, '41', '2');
    expect(said).toEqual([refusal.NONE]);
    const reader = kept(openSegment({ directory, name: 'posture', kind: 'posture', owner }));
    expect(() => createPostureSegment({ directory })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_BUSY' }) as Error,
    );
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(reader.load64(layout.posture.word)).toBe((41n << 16n) | 2n);
    const successor = kept(createPostureSegment({ directory }));
    expect([successor.word(), successor.replaced]).toEqual([(41n << 16n) | 2n, undefined]);
    expect(successor.transition()).toMatchObject({ epoch: 41n, to: 2, stage: enums.stage.TIGHTEN });
    successor.tighten({ epoch: 42n, from: 2, to: 1, receivedAtNs: 0n });
    expect(reader.transition()).toMatchObject({ epoch: 42n, to: 1 });
    expect(reader.header.incarnation).toBe(2n);
  });

  it('PO-16 a store through a reader’s mapping ends the process that tries, whoever it is', () => {
    const writer = kept(createPostureSegment({ directory }));
    writer.storeWord(5n, 3);
    for (const uid of [owner, SERVICE]) {
      const { said, signal } = run(uid, '--poke', directory, 'posture', '1', String(owner));
      expect([said[0], signal]).toEqual([refusal.NONE, 'SIGSEGV']);
    }
    expect(writer.word()).toBe((5n << 16n) | 3n);
  });

  it('PO-16 nobody else can take over, replace or open for writing what a user owns', async () => {
    const { said } = await start(SERVICE, '--create', directory, 'tables', String(segmentKind.TABLES));
    expect(said[0]).toBe(refusal.NONE);
    const other = await start(OTHER, '--create', directory, 'tables', String(segmentKind.TABLES));
    expect(other.said[0]).toBe(refusal.OWNER);
    expect(() => createSegment({ directory, name: 'tables', kind: 'tables' })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_OWNER' }) as Error,
    );
    const removed = spawnSync('rm', ['-f', join(directory, 'tables')], { uid: OTHER, gid: 64790 });
    expect(removed.status).not.toBe(0);
    expect(run(OTHER, '--open', directory, 'tables', '3', String(SERVICE)).said[0]).toBe(refusal.NONE);
    kept(openSegment({ directory, name: 'tables', kind: 'tables', owner: SERVICE }));
  });

  it('PO-16 a file of the wrong user is refused, and so is one that was given away', async () => {
    await start(OTHER, '--create', directory, 'posture', String(segmentKind.POSTURE));
    const posture = { directory, name: 'posture', kind: 'posture' } as const;
    const foreign = expect.objectContaining({ code: 'SEGMENT_OWNER' }) as Error;
    expect(() => openSegment({ ...posture, owner: SERVICE })).toThrow(foreign);
    chownSync(join(directory, 'posture'), SERVICE, 64790);
    expect(() => openSegment({ ...posture, owner: SERVICE })).toThrow(foreign);
    expect(() => openSegment({ ...posture, owner: 'any' })).toThrow(foreign);
  });

  it('PO-16 a directory of somebody else is refused', () => {
    chownSync(directory, SERVICE, 64790);
    expect(() => createPostureSegment({ directory })).toThrow(
      expect.objectContaining({ code: 'SEGMENT_DIRECTORY' }) as Error,
    );
    expect(run(OTHER, '--open', directory, 'posture', '1', '0').said[0]).toBe(refusal.DIRECTORY);
  });

  it('a full file system is an error when creating, never a crash when storing, and leaves nothing', () => {
    const script =
      'mount -t tmpfs -o size=256k,mode=0755 none "$1" && "$0" --create "$1" tables 3 < /dev/null && ls -A "$1"';
    const done = spawnSync('unshare', ['-m', 'sh', '-c', script, program, directory], { encoding: 'utf8' });
    expect(done.stderr).toBe('');
    expect(done.stdout.split('\n')).toEqual([`${refusal.SYSTEM.toString()} 0 0`, '.tables.lock', '']);
  });

  it('PO-15 a ring of another process reaches the listener', async () => {
    const { child } = await start(owner, '--create', directory, 'posture', String(segmentKind.POSTURE));
    const reader = kept(openSegment({ directory, name: 'posture', kind: 'posture', owner }));
    let heard = 0;
    const listener = listen({ segments: [reader], onRing: () => heard++ });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await start(owner, '--store', directory, '9', '2');
    for (let i = 0; i < 1000 && heard === 0; i++) await sleep(2);
    listener.close();
    expect(heard).toBe(1);
    expect(reader.transition()?.epoch).toBe(9n);
  });
});

describe('in worker threads', () => {
  const worker = (name: string, mode: string) =>
    new Worker(new URL('worker.mjs', import.meta.url), {
      workerData: { directory, name, owner, mode },
      execArgv: [], // not the conditions of the test runner: the thread uses the built package
    });
  const message = async (from: Worker) => ((await once(from, 'message')) as [Record<string, unknown>])[0];

  it('opens, listens and writes in several threads at once, and lets them end', async () => {
    const posture = kept(createPostureSegment({ directory }));
    const threads = [1, 2, 3].map((n) => worker(`participant-${n.toString()}`, 'close'));
    const ready = await Promise.all(threads.map((thread) => message(thread)));
    expect(ready).toEqual([{ ready: true }, { ready: true }, { ready: true }]);
    const answers = threads.map((thread) => message(thread));
    const ends = threads.map((thread) => once(thread, 'exit'));
    posture.tighten({ epoch: 6n, from: 5, to: 2, receivedAtNs: 0n });
    expect(await Promise.all(answers)).toEqual([{ epoch: 6n }, { epoch: 6n }, { epoch: 6n }]);
    expect((await Promise.all(ends)).flat()).toEqual([0, 0, 0]);
    for (const n of [1, 2, 3]) {
      const reader = kept(
        openSegment({ directory, name: `participant-${n.toString()}`, kind: 'participant', owner }),
      );
      expect(reader.ack(layout.participant.ack)).toMatchObject({ epoch: 6n, level: 2 });
    }
  });

  it('gives lock, thread and mappings back when a thread ends or is terminated with everything open', async () => {
    kept(createPostureSegment({ directory }));
    for (const mode of ['abandon', 'spin', 'terminate']) {
      const thread = worker('participant-x', mode);
      expect(await message(thread)).toEqual({ ready: true });
      const end = once(thread, 'exit');
      if (mode !== 'terminate') thread.postMessage('now');
      if (mode === 'spin') await sleep(20);
      if (mode !== 'abandon') await thread.terminate();
      await end;
      const again = createSegment({ directory, name: 'participant-x', kind: 'participant' });
      again.close();
    }
    const threads = readdirSync('/proc/self/task').map((task) =>
      execFileSync('cat', [`/proc/${process.pid.toString()}/task/${task}/comm`], { encoding: 'utf8' }).trim(),
    );
    expect(threads).not.toContain('kedge-listener');
  });

  it('survives threads that are terminated in the middle of deliveries, and callbacks that throw', () => {
    const script = fileURLToPath(new URL('terminate.mjs', import.meta.url));
    const done = spawnSync(process.execPath, [script, directory], { encoding: 'utf8', timeout: 25_000 });
    expect([done.stderr, done.signal, done.status]).toEqual(['', null, 0]);
    expect(JSON.parse(done.stdout)).toEqual({
      terminated: 25,
      thrown: 'thrown by onRing',
      threads: 0,
      mappings: 1,
    });
  });
});
