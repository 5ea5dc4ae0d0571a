/**
 * A service and a ledger as processes that are killed in the middle of everything.
 * Must not leave a process or a file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let directory: string;
let children: ChildProcess[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-link-'));
  chmodSync(directory, 0o700);
  children = [];
});
afterEach(async () => {
  await Promise.all(children.map(kill));
  rmSync(directory, { recursive: true, force: true });
});

interface Started {
  readonly child: ChildProcess;
  readonly out: () => string;
}

async function start(program: string, ...args: string[]): Promise<Started> {
  const child = spawn(process.execPath, [join(import.meta.dirname, program), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await once(child.stdout, 'data');
  return { child, out: () => out };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);

describe('a service and its ledger', () => {
  it('LE-1 nothing acknowledged is lost and nothing comes twice, whichever of both is killed', async () => {
    const socket = join(directory, 'ledger.sock');
    const kept = join(directory, 'kept');
    const spool = join(directory, 'records');
    let ledger = await start('ledger-end.mjs', socket, kept);
    const acknowledged: string[] = [];
    for (let round = 0; round < 6; round++) {
      const service = await start('service-end.mjs', spool, socket);
      await new Promise((resolve) => setTimeout(resolve, 60 + 70 * round));
      if (round % 2 === 0) {
        await kill(ledger.child);
        await new Promise((resolve) => setTimeout(resolve, 60));
        ledger = await start('ledger-end.mjs', socket, kept);
        await new Promise((resolve) => setTimeout(resolve, 120));
      }
      await kill(service.child);
      acknowledged.push(...linesOf(service.out()));
    }
    expect(acknowledged.length).toBeGreaterThan(500);
    const last = await start('service-end.mjs', spool, socket, 'drain');
    if (last.child.exitCode === null) await once(last.child, 'close');
    const durable = Number(linesOf(last.out()).at(-1));
    expect(durable).toBeGreaterThanOrEqual(acknowledged.length);
    const ids = linesOf(readFileSync(kept, 'utf8')).map((line) => line.split(' ')[2]);
    // In one row: each once, and in its order.
    expect(ids).toEqual(Array.from({ length: durable }, (_, index) => `authorisation/box/${index + 1}`));
    const there = new Set(ids);
    expect(acknowledged.filter((id) => !there.has(id))).toEqual([]);
  }, 120_000);
});
