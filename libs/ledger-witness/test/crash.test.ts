/**
 * A witness that is killed at every write: two histories of one log are never both cosigned.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signerOf } from '@kedge/ledger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type AnchorVerdict, createWitnessKey, openAnchor } from '../src/index.js';
import { grow, putBack, requestOf } from './log-directory.js';

const SCRIPT = join(import.meta.dirname, 'witness.mjs');
const log = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);

describe('a witness that is killed', () => {
  let room: string;
  let child: ChildProcess | undefined;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'kedge-witness-'));
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    rmSync(room, { recursive: true, force: true });
  });

  /** Starts the witness; its address, or undefined when it was killed before it had one. */
  async function start(directory: string, environment: NodeJS.ProcessEnv): Promise<string | undefined> {
    const started = spawn(process.execPath, [SCRIPT, directory, join(room, 'key'), log.text], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...environment },
    });
    child = started;
    const ended = once(started, 'close').then(() => undefined);
    const address = once(started.stdout, 'data').then(([chunk]) => String(chunk).trim());
    return await Promise.race([address, ended]);
  }
  /** Whether it was killed already; ends it otherwise. */
  async function ended(): Promise<boolean> {
    const running = child;
    if (running === undefined) return false;
    // A kill that is under way has been sent before the answer, or the broken connection, was seen.
    await new Promise((resolve) => setTimeout(resolve, 30));
    const wasKilled = running.exitCode !== null || running.signalCode !== null;
    running.kill('SIGKILL');
    if (!wasKilled) await once(running, 'close');
    return wasKilled;
  }

  it('LE-4 never cosigns two histories of a log, wherever kill -9 meets it', async () => {
    const signer = createWitnessKey(join(room, 'key'), 'witness.example/w');
    const shim = join(room, 'killed-at.so');
    execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', shim, join(import.meta.dirname, 'killed-at.c')]);
    const [one, other] = [join(room, 'one'), join(room, 'other')];
    grow(one, log, 10);
    putBack(one, other);
    const first = requestOf(one, log);
    grow(one, log, 20, 'one');
    grow(other, log, 20, 'other');
    const offer = async (url: string, request: ReturnType<typeof requestOf>): Promise<AnchorVerdict> => {
      const anchor = openAnchor({ url, witness: signer, log, answerMs: 3_000 });
      try {
        return await anchor.anchor(request);
      } finally {
        anchor.close();
      }
    };

    const held = join(room, 'held');
    const clean = (await start(held, {})) ?? '';
    expect((await offer(clean, first)).verdict).toBe('cosigned');
    expect(await ended()).toBe(false);

    const seen = new Map<string, number>();
    let killed = 0;
    for (let point = 0; ; point++) {
      const directory = join(room, `held-${point}`);
      putBack(held, directory);
      const url = await start(directory, { LD_PRELOAD: shim, KILL_AT: String(point) });
      const before = url === undefined ? undefined : await offer(url, requestOf(one, log));
      const wasKilled = await ended();
      const again = (await start(directory, {})) ?? '';
      const after = await offer(again, requestOf(other, log));
      const back = await offer(again, requestOf(one, log));
      await ended();

      const given = [before, back].some((each) => each?.verdict === 'cosigned');
      const where = `killed at ${point}: ${before?.verdict ?? 'no start'}, ${after.verdict}, ${back.verdict}`;
      expect(given && after.verdict === 'cosigned', where).toBe(false);
      // Nothing is lost either: one of the two goes on.
      expect(given || after.verdict === 'cosigned', where).toBe(true);
      if (before?.verdict === 'cosigned') expect(after.verdict, where).toBe('fork');
      if (!wasKilled) {
        expect(before?.verdict).toBe('cosigned');
        break;
      }
      killed += 1;
      const kind = `${before?.verdict ?? 'no start'}, ${after.verdict}`;
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
    }
    // At the start: one file and three directories flushed. For a checkpoint: a write, a flush, a rename, a flush.
    expect(killed).toBe(16);
    expect(seen.get('no start, cosigned')).toBe(8);
    expect(seen.get('unreachable, cosigned')).toBeGreaterThanOrEqual(4);
    expect(seen.get('unreachable, fork')).toBeGreaterThanOrEqual(2);
  }, 120_000);
});
