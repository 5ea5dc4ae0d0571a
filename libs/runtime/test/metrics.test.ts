/**
 * Metrics of a real service over its real socket.
 * It must not know what the services of an appliance count; their own tests do.
 */
import { createPostureSegment, monotonicNs, type PostureWriter } from '@kedge/shared-memory-ipc';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let directory: string;
let socket: string;
let writer: PostureWriter;
let children: ChildProcess[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-metrics-'));
  socket = join(directory, 'metrics', 'example.sock');
  const doors = ['console', 'local/site_owner', 'local/master', 'local/journeyman', 'local/apprentice'];
  for (const door of doors) await mkdir(join(directory, 'sock', door), { recursive: true });
  await mkdir(join(directory, 'metrics'));
  await mkdir(join(directory, 'board'));
  await chmod(join(directory, 'board'), 0o1775);
  writer = createPostureSegment({ directory: join(directory, 'board') });
  writer.tighten({ epoch: 1n, from: 5, to: 4, receivedAtNs: monotonicNs() });
  children = [];
});
afterEach(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  writer.close();
  await rm(directory, { recursive: true, force: true });
});

/** Starts the service of these tests; resolves once it serves. */
async function serving(metrics: object): Promise<{ child: ChildProcess; log: () => string }> {
  const config = join(directory, 'example.json');
  const board = join(directory, 'board');
  await writeFile(config, JSON.stringify({ directory: board, sockets: join(directory, 'sock'), metrics }));
  const child = spawn(process.execPath, [join(import.meta.dirname, 'service.mjs'), '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await expect.poll(() => log, { timeout: 10_000 }).toContain('"msg":"serving"');
  return { child, log: () => log };
}

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly text: string;
}

function ask(options: {
  socketPath?: string;
  port?: number;
  path?: string;
  method?: string;
  host?: string;
}): Promise<Answer> {
  const { path = '/metrics', method = 'GET', host = 'localhost', ...where } = options;
  return new Promise((resolve, reject) => {
    const call = request({ ...where, host: '127.0.0.1', path, method, headers: { host } }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], text });
      });
    });
    call.on('error', reject);
    call.end();
  });
}
const scraped = (path = socket) =>
  expect.poll(() => ask({ socketPath: path }).catch(() => undefined), { timeout: 10_000 });

describe('metrics of a service', () => {
  it('FW-7 are told on a Unix socket in the format of Prometheus, with those of the process', async () => {
    await serving({ socket });
    await scraped().toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    const { text } = await ask({ socketPath: socket });
    const lines = text.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE kedge_example_total counter',
        'kedge_example_total{kind="a\\"b\\n"} 2',
        'kedge_example_seconds_bucket{le="0.001"} 0',
        'kedge_example_seconds_bucket{le="1"} 1',
        'kedge_example_seconds_bucket{le="+Inf"} 1',
        'kedge_example_level{of="1023"} 2',
      ]),
    );
    for (const name of [
      'process_cpu_seconds_total',
      'nodejs_eventloop_lag_p99_seconds',
      'nodejs_heap_size_used_bytes',
    ])
      expect(lines.some((line) => line.startsWith(`${name} `))).toBe(true);
    // No answer grows without bound: what is beyond it is left out, and the next answer says how much.
    expect(lines).not.toContain('kedge_example_level{of="1024"} 2');
    expect((await ask({ socketPath: socket })).text).toMatch(
      /^kedge_metrics_samples_left_out_total [1-9]\d*$/m,
    );
  });

  it('FW-7 are read and nothing else, by whoever may open the socket', async () => {
    await serving({ socket });
    await scraped().toBeDefined();
    expect((await stat(socket)).mode & 0o777).toBe(0o660);
    expect((await ask({ socketPath: socket, path: '/' })).status).toBe(404);
    expect((await ask({ socketPath: socket, path: '/metrics?x' })).status).toBe(404);
    expect((await ask({ socketPath: socket, method: 'POST' })).status).toBe(405);
  });

  it('FW-7 take the place of a socket that a killed service left, and go with the service', async () => {
    const first = await serving({ socket });
    await scraped().toBeDefined();
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    expect((await stat(socket)).isSocket()).toBe(true);
    const second = await serving({ socket });
    await scraped().toBeDefined();
    second.child.kill('SIGTERM');
    expect(await once(second.child, 'exit')).toEqual([0, null]);
    await expect(stat(socket)).rejects.toThrow('ENOENT');
  });

  it('FW-7 stop no service: where they cannot be served it says so and serves', async () => {
    await chmod(join(directory, 'metrics'), 0o777);
    const { child, log } = await serving({ socket });
    await expect.poll(log, { timeout: 10_000 }).toContain('metrics are not served');
    expect(log()).toContain('BUS_DIRECTORY');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('FW-7 are on loopback only where asked for, and not for a name that somebody else made lead there', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    taken.close();
    await once(taken, 'close');
    await serving({ socket, port });
    await scraped().toBeDefined();
    await expect
      .poll(() => ask({ port }).catch(() => undefined), { timeout: 10_000 })
      .toMatchObject({ status: 200 });
    expect(await ask({ port, host: `127.0.0.1:${String(port)}` })).toMatchObject({ status: 200 });
    const stranger = await ask({ port, host: 'evil.example' });
    expect(stranger.status).toBe(421);
    expect(stranger.text).not.toContain('kedge_');
  });
});
