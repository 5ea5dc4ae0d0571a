/**
 * The quartermaster and a witness, both as the processes that are shipped (LE-4).
 * Must not leave a process or a file.
 */
import { openCheckpoint, verifierOf } from '@kedge/ledger';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { batchOf, CALL, recordOf, spoolOf, Stage, until } from './stage.js';

const COMMAND = join(import.meta.dirname, '../../cli/bin/kedge.js');

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(async () => {
  await stage.remove();
});

const status = () => stage.ledger().status({}, CALL);
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, place) => from + place);
const deliver = async (from: number, to: number, spool = 1): Promise<void> => {
  await stage.deliver('overlay', [batchOf(spoolOf(spool), BigInt(from), numbers(from, to).map(recordOf))]);
};

/** Makes the key of a witness; its verifier key. */
function witnessKey(): string {
  const words = ['witness', 'key', join(stage.root, 'witness.key'), '--name', 'witness.example/w'];
  return execFileSync(process.execPath, [COMMAND, ...words], { encoding: 'utf8' }).trim();
}

/** `kedge witness serve`, at a port that is free or at the one given. */
async function witness(
  log: string,
  port = '0',
): Promise<{ child: ChildProcess; url: string; said: () => string }> {
  const words = [
    ...[
      'witness',
      'serve',
      '--directory',
      join(stage.root, 'held'),
      '--key',
      join(stage.root, 'witness.key'),
    ],
    ...['--log', log, '--listen', `127.0.0.1:${port}`, '--json'],
  ];
  const child = spawn(process.execPath, [COMMAND, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  stage.atEnd(() => stage.end(child, 'SIGKILL'));
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, url: (JSON.parse(line.toString()) as { url: string }).url, said: () => said };
}

/** The verifier key of a ledger whose quartermaster ran once. */
async function ledgerKey(): Promise<string> {
  const { child } = await stage.serve();
  const { verifier } = await stage.ledger().getCheckpoint({}, CALL);
  child.kill('SIGTERM');
  await once(child, 'exit');
  return verifier;
}

describe('the quartermaster and kedge witness', { timeout: 180_000 }, () => {
  it('LE-4 its checkpoints are cosigned; without its witness it says so and goes on, and is cosigned again later', async () => {
    const key = witnessKey();
    const log = await ledgerKey();
    const first = await witness(log);
    const config = { url: first.url, key, everyMs: 100, timeoutMs: 1_000 };
    await stage.serve({ witness: config });
    await deliver(1, 101);
    const cosigned = async (size: number): Promise<void> => {
      await until(
        `${size} entries are cosigned`,
        async () => (await status()).witness?.size === BigInt(size),
      );
      const { checkpoint } = await stage.ledger().getCheckpoint({}, CALL);
      const opened = openCheckpoint(checkpoint, verifierOf(log), [verifierOf(key)]);
      expect([opened.size, opened.witnesses.length]).toEqual([size, 1]);
      expect((await status()).alarms).toEqual([]);
      expect(await stage.metric('kedge_ledger_witnessed_size')).toBe(size);
    };
    await cosigned(100);
    await stage.end(first.child, 'SIGKILL');
    await deliver(101, 201);
    await until('the alarm', async () =>
      (await status()).alarms.join('\n').includes('the witness does not cosign: '),
    );
    expect(await status()).toMatchObject({
      size: 200n,
      refusing: false,
      witness: { state: 'unreachable', size: 100n },
    });
    expect(await stage.metric('kedge_ledger_alarms')).toBe(1);
    expect(await stage.metric('kedge_ledger_witnessed_size')).toBe(100);
    await deliver(201, 301);
    await witness(log, new URL(first.url).port);
    await cosigned(300);
  });

  it('LE-4 a state directory that was put back is refused by the witness, and that is told', async () => {
    const key = witnessKey();
    const log = await ledgerKey();
    const { url, said } = await witness(log);
    const over = { witness: { url, key, everyMs: 100, timeoutMs: 1_000 } };
    const serve = async () => (await stage.serve(over)).child;
    const cosignedSize = async (size: bigint): Promise<void> => {
      await until(`${size} entries are cosigned`, async () => (await status()).witness?.size === size);
    };
    const stop = async (child: ChildProcess): Promise<void> => {
      child.kill('SIGTERM');
      await once(child, 'exit');
    };
    let child = await serve();
    await deliver(1, 51);
    await cosignedSize(50n);
    await stop(child);
    const copy = join(stage.root, 'copy');
    cpSync(stage.directory, copy, { recursive: true });
    child = await serve();
    await deliver(51, 101);
    await cosignedSize(100n);
    await stop(child);
    for (const [more, state, told] of [
      [0, 'older', 'the ledger was put back: its witness holds 100 entries of it'],
      [200, 'fork', 'the ledger has forked: its witness holds another history of 100 entries'],
    ] as const) {
      rmSync(stage.directory, { recursive: true });
      cpSync(copy, stage.directory, { recursive: true });
      if (more > 0) {
        // Grown on, before its witness is asked, with what the true one never had.
        const alone = await stage.serve();
        await deliver(1_001, 1_001 + more, 2);
        await stop(alone.child);
      }
      child = await serve();
      await until('the alarm', async () => (await status()).alarms.includes(told));
      const now = await status();
      expect(now.witness).toMatchObject({ state, size: 0n });
      expect(await stage.metric('kedge_ledger_witnessed_size')).toBe(0);
      // It stays found out, whatever comes; records are taken all the same.
      await deliver(9_001, 9_011, 3);
      expect(await status()).toMatchObject({ size: now.size + 10n, refusing: false, alarms: [told] });
      await stop(child);
    }
    expect(said()).toContain('"kind":"older"');
    const evidence = join(stage.root, 'held/evidence');
    expect(existsSync(evidence) && readdirSync(evidence).length).toBeGreaterThanOrEqual(1);
  });
});
