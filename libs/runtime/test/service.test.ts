import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { PostureBoard, postureClient, type PostureClient } from '@kedge/bus';
import { createPostureSegment, monotonicNs, type PostureWriter } from '@kedge/shared-memory-ipc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let directory: string;
let config: string;
let writer: PostureWriter;
let running: { child: ChildProcess; said: unknown[]; log: Record<string, unknown>[]; stderr: string }[];
let open: { close(): void }[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-service-'));
  await mkdir(join(directory, 'board'));
  await chmod(join(directory, 'board'), 0o1775);
  for (const door of [
    'console',
    'local/site_owner',
    'local/master',
    'local/journeyman',
    'local/apprentice',
  ]) {
    await mkdir(join(directory, 'sock', door), { recursive: true });
  }
  config = join(directory, 'example.json');
  await configure();
  writer = createPostureSegment({ directory: join(directory, 'board') });
  writer.tighten({ epoch: 1n, from: 5, to: 4, receivedAtNs: monotonicNs() });
  running = [];
  open = [writer];
});
afterEach(async () => {
  for (const { child } of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  for (const each of open) each.close();
  await rm(directory, { recursive: true, force: true });
});

async function configure(more: Record<string, unknown> = {}): Promise<void> {
  await writeFile(
    config,
    JSON.stringify({ directory: join(directory, 'board'), sockets: join(directory, 'sock'), ...more }),
  );
}

function run(...argv: string[]) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'service.mjs'), ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const it = { child, said: [] as unknown[], log: [] as Record<string, unknown>[], stderr: '' };
  running.push(it);
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('SAID ')) it.said.push(JSON.parse(line.slice(5)));
    else it.log.push(JSON.parse(line) as Record<string, unknown>);
  });
  child.stderr.on('data', (chunk: Buffer) => (it.stderr += chunk.toString()));
  return it;
}
const ended = async ({ child }: { child: ChildProcess }) =>
  child.exitCode ?? ((await once(child, 'exit')) as [number])[0];
const serving = ({ log }: { log: Record<string, unknown>[] }) =>
  expect.poll(() => log.map(({ msg }) => msg), { timeout: 10_000 }).toContain('serving');
function dial(door: string): PostureClient {
  const client = postureClient(join(directory, 'sock', door, 'posture.sock'));
  open.push(client);
  return client;
}
const ask = { level: 3, reason: 'why', principal: 'user:ada', idempotencyKey: '12345678' };

describe('a service', () => {
  it('PO-15 hears what stands on the board first, then each decision as a Nest event', async () => {
    const service = run('--config', config);
    await serving(service);
    writer.tighten({ epoch: 2n, from: 4, to: 2, receivedAtNs: monotonicNs() });
    await expect
      .poll(() => service.said)
      .toEqual([
        { event: 'posture.decided', epoch: '1', to: 4, initial: true },
        { event: 'posture.decided', epoch: '2', to: 2, initial: false },
      ]);
  });

  it('PO-3 tells each handler the channel and tier of the socket that a call came in by', async () => {
    await serving(run('--config', config));
    const answers: Record<string, readonly string[]> = {};
    for (const door of [
      'console',
      'local/site_owner',
      'local/master',
      'local/journeyman',
      'local/apprentice',
    ]) {
      const client = dial(door);
      answers[door] = (await client.get({}, { deadlineMs: 2_000 })).alarms;
      expect(await client.health({ deadlineMs: 2_000 })).toBe('SERVING');
    }
    expect(answers).toEqual({
      console: ['console', 'site_owner'],
      'local/site_owner': ['local', 'site_owner'],
      'local/master': ['local', 'master'],
      'local/journeyman': ['local', 'journeyman'],
      'local/apprentice': ['local', 'apprentice'],
    });
    for await (const { alarms } of dial('local/master').watch({}, { deadlineMs: 2_000 })) {
      expect(alarms).toEqual(['master']);
      break;
    }
  });

  it('PO-12 beats from its event loop: a loop that hangs shows as a stale heartbeat', async () => {
    await serving(run('--config', config));
    const board = new PostureBoard({
      directory: join(directory, 'board'),
      owners: { tables: process.getuid?.() ?? 0 },
      realtime: false,
    });
    open.push(board);
    const file = () => board.snapshot().files[0];
    await expect.poll(() => file()?.serving).toBe(true);
    const call = dial('console').set({ ...ask, reason: 'hang' }, { deadlineMs: 300 });
    await expect(call).rejects.toMatchObject({ code: 'BUS_DEADLINE' });
    await expect
      .poll(() => file(), { timeout: 3_000 })
      .toMatchObject({ stale: true, serving: false, alive: true });
  });

  it('stops on SIGTERM: health first, streams ended, sockets gone, status 0', async () => {
    const service = run('--config', config);
    await serving(service);
    const stream = dial('console').watch({}, { deadlineMs: 2_000 })[Symbol.asyncIterator]();
    await stream.next();
    service.child.kill('SIGTERM');
    await expect(stream.next()).rejects.toMatchObject({ code: 'BUS_CLOSING' });
    expect(await ended(service)).toBe(0);
    expect(service.log.map(({ msg }) => msg)).toEqual(['serving', 'stopping', 'closed', 'stopped']);
    await expect(stat(join(directory, 'sock/console/posture.sock'))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('stops with status 0 also when the heart is closed beats before the rest is', async () => {
    await configure({ closeMs: 450 });
    const service = run('--config', config);
    await serving(service);
    service.child.kill('SIGTERM');
    expect(await ended(service)).toBe(0);
    expect(service.log.map(({ msg }) => msg)).toEqual(['serving', 'stopping', 'closed', 'stopped']);
  });

  it('ends with status 1 when a handler of an event fails, and says why', async () => {
    const service = run('--config', config);
    await serving(service);
    writer.tighten({ epoch: 2n, from: 4, to: 1, receivedAtNs: monotonicNs() });
    expect(await ended(service)).toBe(1);
    expect(service.log.at(-1)).toMatchObject({ level: 'error', err: { message: 'cannot handle lockdown' } });
  });

  it('ends with status 1 when nobody handles a rejection', async () => {
    const service = run('--config', config);
    await serving(service);
    await dial('console')
      .set({ ...ask, reason: 'reject' }, { deadlineMs: 2_000 })
      .catch(() => undefined);
    expect(await ended(service)).toBe(1);
    expect(service.log.at(-1)).toMatchObject({ level: 'error', err: { message: 'nobody waits for this' } });
  });

  it('a start that fails says so in one line, and its status says which kind of failure it was', async () => {
    const starts: [string[], number, RegExp][] = [
      [[], 2, /^example: CONFIG_USAGE: .*expected --config FILE$/],
      [['--config', `${config}.none`], 2, /^example: CONFIG_MISSING: there is no configuration /],
    ];
    const wrong = join(directory, 'wrong.json');
    await writeFile(wrong, JSON.stringify({ directory: 'x', socket: 'y' }));
    starts.push([['--config', wrong], 2, /^example: CONFIG_INVALID: .* sockets is wrong; 1 more/]);
    const nowhere = join(directory, 'nowhere.json');
    await writeFile(nowhere, JSON.stringify({ directory: '/nonexistent', sockets: 'y' }));
    starts.push([['--config', nowhere], 1, /^example: SEGMENT_[A-Z]+: /]);
    for (const [argv, status, line] of starts) {
      const service = run(...argv);
      expect([argv, await ended(service)]).toEqual([argv, status]);
      expect(service.stderr.trimEnd()).toMatch(line);
      expect(service.stderr.trimEnd()).not.toContain('\n');
    }
    const first = run('--config', config);
    await serving(first);
    const second = run('--config', config);
    expect(await ended(second)).toBe(4);
    expect(second.stderr).toMatch(/^example: SEGMENT_BUSY: /);
  });

  it('PO-15 a service that was killed starts again on the sockets it left', async () => {
    const first = run('--config', config);
    await serving(first);
    first.child.kill('SIGKILL');
    await ended(first);
    await serving(run('--config', config));
    expect((await dial('console').get({}, { deadlineMs: 2_000 })).level).toBe(5);
  });
});
