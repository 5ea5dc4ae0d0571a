import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lstat, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { KedgeError } from '@kedge/units';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { CallContext } from './api.js';
import { governanceService } from './governance-api.js';
import { type Batch, intakeClient, intakeService, type Kept, MAX_BATCH_BYTES } from './ledger-api.js';
import { postureService, type PostureState, type SetRequest } from './posture-api.js';
import { socketState, takeLock } from './socket-lock.js';
import { dialUnix, postureClient } from './unix-client.js';
import { type CallFault, provide, serveUnix, type UnixServer } from './unix-server.js';

const state: PostureState = {
  epoch: 1n,
  level: 5,
  target: 5,
  failClosed: [],
  services: [],
  atNs: 1n,
  alarms: [],
  disagreements: [],
  violations: [],
};
const request: SetRequest = { level: 3, reason: 'why', principal: 'user:ada', idempotencyKey: '12345678' };
const never = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error('aborted', { cause: signal.reason }));
    });
  });

let directory: string;
let path: string;
let open: { close(graceMs: number): Promise<void> | void }[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-bus-'));
  path = join(directory, 'posture.sock');
  open = [];
});
afterEach(async () => {
  for (const each of open.reverse()) await each.close(0);
  await rm(directory, { recursive: true, force: true });
});

interface Seen {
  contexts: CallContext[];
  faults: CallFault[];
}

async function serve(
  handlers: Partial<Parameters<typeof provide<import('./posture-api.js').PostureApi>>[1]> = {},
  more: { mode?: number } = {},
): Promise<UnixServer & Seen> {
  const seen: Seen = { contexts: [], faults: [] };
  const server = await serveUnix({
    path,
    ...more,
    onFault: (fault) => seen.faults.push(fault),
    services: [
      provide(postureService, {
        get: () => state,
        set: (_request, call) => {
          seen.contexts.push(call);
          return { outcome: 'waiting', waiting: { behindEpoch: 9n } };
        },
        reloadAccords: () => ({ outcome: 'refusal', refusal: refusal }),
        reloadPolicies: () => ({ outcome: 'refusal', refusal: refusal }),
        watch: async function* (_request, call) {
          seen.contexts.push(call);
          yield state;
          await never(call.signal);
        },
        history: () => ({ transitions: [] }),
        transition: () => ({ outcome: 'refusal', refusal: refusal }),
        ...handlers,
      }),
    ],
  });
  open.push(server);
  return { ...server, ...seen };
}
const refusal = { code: 'POSTURE_NO_EPOCH', message: 'no', field: '', expected: '', help: '', rule: '' };

function client(socket = path) {
  const made = postureClient(socket);
  open.push(made);
  return made;
}

describe('calls', () => {
  it('PO-15 a call reaches its handler with the socket it came in by and its deadline', async () => {
    const server = await serve();
    expect(await client().set(request, { deadlineMs: 2_000 })).toEqual({
      outcome: 'waiting',
      waiting: { behindEpoch: 9n },
    });
    const [context] = server.contexts;
    expect(context?.socket).toBe(path);
    expect(context?.deadlineMs).toBeGreaterThan(0);
    expect(context?.deadlineMs).toBeLessThanOrEqual(2_000);
  });

  it('PO-15 a slow service: the call ends at its deadline, and the work for it is cancelled', async () => {
    const ended: unknown[] = [];
    await serve({
      get: async (_request, call) => {
        await never(call.signal).catch((error: Error) => ended.push(error.cause));
        return state;
      },
    });
    await expect(client().get({}, { deadlineMs: 50 })).rejects.toMatchObject({ code: 'BUS_DEADLINE' });
    await expect.poll(() => ended).toEqual([expect.objectContaining({ code: 'BUS_DEADLINE' })]);
  });

  it('PO-15 a call that its caller cancels is cancelled at both ends, also when the caller dies', async () => {
    const ended: unknown[] = [];
    await serve({
      get: async (_request, call) => {
        await never(call.signal).catch((error: Error) => ended.push(error.cause));
        return state;
      },
    });
    const controller = new AbortController();
    const call = client().get({}, { deadlineMs: 20_000, signal: controller.signal });
    setTimeout(() => {
      controller.abort(new Error('enough'));
    }, 30);
    await expect(call).rejects.toMatchObject({ code: 'BUS_CANCELLED', cause: new Error('enough') });
    await expect.poll(() => ended).toEqual([expect.objectContaining({ code: 'BUS_CANCELLED' })]);

    const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/kedge.posture.v1.Posture/Get',
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '20S',
    });
    stream.on('error', () => undefined);
    stream.write(Buffer.alloc(5));
    stream.end();
    setTimeout(() => {
      session.destroy();
    }, 50);
    await expect.poll(() => ended.length).toBe(2);
    expect(ended[1]).toMatchObject({ code: 'BUS_CANCELLED' });
  });

  it('PO-15 no call goes out without a deadline', async () => {
    const posture = client();
    for (const deadlineMs of [undefined, 0, -1, Number.NaN, Infinity, '5', 600_001]) {
      await expect(posture.get({}, { deadlineMs: deadlineMs as number })).rejects.toMatchObject({
        code: 'BUS_DEADLINE_MISSING',
        field: 'deadlineMs',
      });
    }
  });

  it('PO-15 a stream gives its first message within the deadline and may be quiet after it', async () => {
    await serve({
      watch: async function* (_request, call) {
        yield state;
        await new Promise((resolve) => setTimeout(resolve, 1_300));
        yield { ...state, epoch: 2n };
        await never(call.signal);
      },
    });
    const epochs: bigint[] = [];
    for await (const { epoch } of client().watch({}, { deadlineMs: 1_000 })) {
      epochs.push(epoch);
      if (epochs.length === 2) break;
    }
    expect(epochs).toEqual([1n, 2n]);
  });

  it('PO-15 a stream that stays silent from the start ends at its deadline', async () => {
    await serve({
      // eslint-disable-next-line require-yield -- a stream without a message is the point
      watch: async function* (_request, call) {
        await never(call.signal);
      },
    });
    const stream = client().watch({}, { deadlineMs: 60 })[Symbol.asyncIterator]();
    await expect(stream.next()).rejects.toMatchObject({ code: 'BUS_DEADLINE' });
  });

  it('leaving the loop over a stream ends it at the service', async () => {
    const server = await serve();
    for await (const _ of client().watch({}, { deadlineMs: 1_000 })) break;
    await expect.poll(() => server.contexts[0]?.signal.aborted).toBe(true);
  });

  it('a service that closes ends its streams and finishes its running calls', async () => {
    let entered = false;
    const server = await serve({
      get: async () => {
        entered = true;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return state;
      },
    });
    const posture = client();
    const stream = posture.watch({}, { deadlineMs: 5_000 })[Symbol.asyncIterator]();
    await stream.next();
    const running = posture.get({}, { deadlineMs: 5_000 });
    await expect.poll(() => entered).toBe(true);
    const closed = server.close(5_000);
    await expect(stream.next()).rejects.toMatchObject({ code: 'BUS_CLOSING' });
    expect(await running).toEqual(state);
    await closed;
    expect(await readdir(directory)).toEqual(['posture.sock.lock']);
    await expect(posture.get({}, { deadlineMs: 500 })).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' });
  });

  it('an error of a handler reaches the caller with its code, any other without its text', async () => {
    const server = await serve({
      get: () => {
        throw new KedgeError({
          code: 'POSTURE_JOURNAL_DAMAGED',
          message: 'cannot read the journal',
          field: 'records[3]',
          expected: 'a whole record — or none',
          help: 'see the box’s alarms',
          cause: new Error('secret of the house'),
        });
      },
      history: () => {
        throw new Error('secret of the house');
      },
      transition: () => ({ outcome: 'report' }) as never,
    });
    const posture = client();
    await expect(posture.get({}, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'POSTURE_JOURNAL_DAMAGED',
      message: 'cannot read the journal',
      field: 'records[3]',
      expected: 'a whole record — or none',
      help: 'see the box’s alarms',
    });
    const failed = await posture
      .history({ limit: 1, beforeEpoch: 0n }, { deadlineMs: 1_000 })
      .catch((e: Error) => e);
    expect(failed).toMatchObject({ code: 'BUS_FAILED' });
    expect(failed instanceof Error && failed.message).not.toContain('secret');
    await expect(posture.transition({ epoch: 0n }, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'BUS_MESSAGE_INVALID',
    });
    expect(server.faults.map(({ kind, method }) => `${kind} ${method.split('/')[2] ?? ''}`)).toEqual([
      'handler Get',
      'handler History',
      'handler Transition',
    ]);
  });

  it('a stream whose handler throws at once, or gives what is no message, ends with the code and is reported', async () => {
    let ended = false;
    const watches = [
      () => {
        throw new KedgeError({ code: 'POSTURE_JOURNAL_DAMAGED', message: 'cannot read the journal' });
      },
      async function* () {
        try {
          yield { ...state, level: 'five' } as never;
          await new Promise(() => undefined);
        } finally {
          ended = true;
        }
      },
    ];
    let calls = 0;
    const server = await serve({ watch: () => (watches[calls++] as (typeof watches)[1])() });
    const first = () => client().watch({}, { deadlineMs: 2_000 })[Symbol.asyncIterator]().next();
    await expect(first()).rejects.toMatchObject({ code: 'POSTURE_JOURNAL_DAMAGED' });
    await expect(first()).rejects.toMatchObject({ code: 'BUS_MESSAGE_INVALID', field: 'level' });
    expect(server.faults.map(({ kind, method }) => `${kind} ${method.split('/')[2] ?? ''}`)).toEqual([
      'handler Watch',
      'handler Watch',
    ]);
    await expect.poll(() => ended).toBe(true);
  });

  it('PO-5 bytes that are no request are answered with a typed error and reported', async () => {
    const server = await serve();
    const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/kedge.posture.v1.Posture/Set',
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '2S',
    });
    stream.end(Buffer.from([0, 0, 0, 0, 2, 0x7f, 0x00]));
    const headers: Record<string, unknown> = {};
    stream.on('response', (first) => Object.assign(headers, first));
    stream.on('trailers', (last) => Object.assign(headers, last));
    stream.resume();
    await once(stream, 'end');
    session.destroy();
    expect(headers).toMatchObject({ 'grpc-status': '3', 'kedge-code': 'BUS_MESSAGE_INVALID' });
    expect(server.faults).toMatchObject([
      { kind: 'malformed', method: '/kedge.posture.v1.Posture/Set', socket: path },
    ]);
    expect(server.contexts).toEqual([]);
  });

  it('messages have a largest size in both directions', async () => {
    await serve({ get: () => ({ ...state, alarms: ['x'.repeat(5 * 1024 * 1024)] }) });
    const posture = client();
    await expect(posture.get({}, { deadlineMs: 5_000 })).rejects.toMatchObject({ code: 'BUS_TOO_LARGE' });
    await expect(
      posture.set({ ...request, reason: 'x'.repeat(70_000) }, { deadlineMs: 5_000 }),
    ).rejects.toMatchObject({ code: 'BUS_TOO_LARGE' });
  });

  it('health says whether the service serves; a service that is not there is said so', async () => {
    const server = await serve();
    const posture = client();
    expect(await posture.health({ deadlineMs: 1_000 })).toBe('NOT_SERVING');
    server.setServing(true);
    expect(await posture.health({ deadlineMs: 1_000 })).toBe('SERVING');
    expect(await posture.health({ deadlineMs: 1_000, service: postureService.name })).toBe('SERVING');
    await expect(posture.health({ deadlineMs: 1_000, service: 'nobody' })).rejects.toMatchObject({
      code: 'BUS_UNIMPLEMENTED',
    });
    const governance = dialUnix(path, governanceService);
    open.push(governance);
    await expect(governance.show({}, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'BUS_UNIMPLEMENTED',
    });
  });

  it('a call to a socket that is not there, and to one that nobody listens on, is unreachable', async () => {
    await expect(client().get({}, { deadlineMs: 1_000 })).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' });
    await leaveSocketBehind();
    await expect(client().get({}, { deadlineMs: 1_000 })).rejects.toMatchObject({ code: 'BUS_UNREACHABLE' });
  });

  it('a client that was connected reaches the next instance by itself', async () => {
    const first = await serve();
    const posture = client();
    await posture.get({}, { deadlineMs: 1_000 });
    await first.close(0);
    await serve({ get: () => ({ ...state, epoch: 2n }) });
    await expect
      .poll(() =>
        posture.get({}, { deadlineMs: 1_000 }).then(
          ({ epoch }) => epoch,
          () => undefined,
        ),
      )
      .toBe(2n);
  });
});

/** Leaves the socket of a service that was killed. */
async function leaveSocketBehind(): Promise<void> {
  const child = spawn(
    process.execPath,
    ['-e', 'require("net").createServer().listen(process.argv[1], () => console.log("up"))', path],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('sockets', () => {
  it('PO-15 the socket file that a killed service left is replaced, and its lock is free', async () => {
    await leaveSocketBehind();
    expect(await socketState(path)).toBe('leftover');
    const holder = spawn('/usr/bin/flock', ['-x', '-F', `${path}.lock`, 'sleep', '60'], { stdio: 'ignore' });
    await expect
      .poll(() =>
        takeLock(`${path}.lock`).then(
          (lock) => lock.release(),
          (e: Error) => e,
        ),
      )
      .toMatchObject({
        code: 'BUS_BUSY',
      });
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_BUSY' });
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await serve();
    expect(await client().get({}, { deadlineMs: 1_000 })).toEqual(state);
  });

  it('a second server of the same socket is refused and the first goes on serving', async () => {
    await serve();
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_BUSY' });
    expect(await client().get({}, { deadlineMs: 1_000 })).toEqual(state);
  });

  it('a listener that took no lock is not displaced', async () => {
    const other = createServer().listen(path);
    await once(other, 'listening');
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_BUSY' });
    expect((await stat(path)).isSocket()).toBe(true);
    other.close();
  });

  it('what is no socket is left alone', async () => {
    await writeFile(path, 'notes');
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_SOCKET_FAILED' });
    expect((await stat(path)).isFile()).toBe(true);
  });

  it('the socket has the mode asked for, 0660 by default', async () => {
    const server = await serve();
    expect((await stat(path)).mode & 0o777).toBe(0o660);
    await server.close(0);
    await serve({}, { mode: 0o600 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('PO-3 a directory that others can write to, or that is a link, proves nothing and is refused', async () => {
    await chmod(directory, 0o777);
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_DIRECTORY' });
    await chmod(directory, 0o770);
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_DIRECTORY' });
    await chmod(directory, 0o1770);
    await (await serve()).close(0);
    await mkdir(join(directory, 'real'), { mode: 0o755 });
    await symlink('real', join(directory, 'link'));
    path = join(directory, 'link', 'posture.sock');
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_DIRECTORY' });
    path = join(directory, 'nowhere', 'posture.sock');
    await expect(serve()).rejects.toMatchObject({ code: 'BUS_DIRECTORY' });
    expect((await lstat(join(directory, 'link'))).isSymbolicLink()).toBe(true);
  });

  it('a path that is relative, too long or strange is refused before anything is made', async () => {
    for (const bad of [
      'posture.sock',
      `${directory}/${'x'.repeat(90)}`,
      `${directory}/a b`,
      `${directory}/../p`,
    ]) {
      path = bad;
      await expect(serve()).rejects.toMatchObject({ code: 'BUS_SOCKET_PATH' });
    }
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('streams both ways', () => {
  type Handler = Parameters<typeof provide<import('./ledger-api.js').IntakeApi>>[1]['deliver'];

  async function serveIntake(deliver: Handler): Promise<CallFault[]> {
    const faults: CallFault[] = [];
    const services = [provide(intakeService, { deliver })];
    open.push(await serveUnix({ path, onFault: (fault) => faults.push(fault), services }));
    return faults;
  }

  const intake = () => {
    const made = intakeClient(path);
    open.push(made);
    return made;
  };

  const batch = (first: bigint, ...records: Uint8Array[]): Batch => ({
    spool: 'ab'.repeat(16),
    first,
    records,
  });

  const keepAll: Handler = async function* (batches) {
    for await (const { spool, first, records } of batches)
      yield { spool, upTo: first + BigInt(records.length) - 1n };
  };

  async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const item of items) found.push(item);
    return found;
  }

  async function* each(batches: readonly Batch[]): AsyncGenerator<Batch> {
    await Promise.resolve();
    yield* batches;
  }

  it('every request is answered in its order, and the end of the requests ends the stream', async () => {
    await serveIntake(keepAll);
    const sent = Array.from({ length: 300 }, (_, at) =>
      batch(BigInt(at * 2 + 1), Buffer.from('a'), Buffer.from('b')),
    );
    const kept = await all(intake().deliver(each(sent), { deadlineMs: 5_000 }));
    expect(kept.map(({ upTo }) => upTo)).toEqual(sent.map((_, at) => BigInt(at * 2 + 2)));
  });

  it('a request may be as large as its service says, and one that is larger ends the stream', async () => {
    await serveIntake(keepAll);
    const records = Array.from({ length: 16 }, () => Buffer.alloc(MAX_BATCH_BYTES / 16, 7));
    expect(await all(intake().deliver(each([batch(1n, ...records)]), { deadlineMs: 5_000 }))).toHaveLength(1);
    const large = batch(1n, Buffer.alloc(MAX_BATCH_BYTES * 2));
    await expect(all(intake().deliver(each([large]), { deadlineMs: 5_000 }))).rejects.toMatchObject({
      code: 'BUS_TOO_LARGE',
    });
  });

  it('requests that nobody takes wait at the caller, so that both ends stay small', async () => {
    let given = 0;
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    await serveIntake(async function* (batches) {
      let first = true;
      for await (const { spool, first: upTo } of batches) {
        yield { spool, upTo };
        if (first) await held;
        first = false;
      }
    });
    async function* many(): AsyncGenerator<Batch> {
      for (; given < 200; given += 1) {
        await Promise.resolve();
        yield batch(BigInt(given), Buffer.alloc(512 * 1024));
      }
    }
    const replies: Kept[] = [];
    const done = (async () => {
      for await (const kept of intake().deliver(many(), { deadlineMs: 10_000 })) replies.push(kept);
    })();
    await expect.poll(() => replies.length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(given).toBeLessThan(100);
    release();
    await done;
    expect(replies).toHaveLength(200);
  });

  it('a fault of the handler, a closing server and a caller that leaves end both ends with their reason', async () => {
    const ended: unknown[] = [];
    const waitFor = async function* (): AsyncGenerator<Batch> {
      yield batch(1n);
      await new Promise(() => undefined);
    };
    const faults = await serveIntake(async function* (batches, call) {
      call.signal.addEventListener('abort', () => ended.push(call.signal.reason));
      for await (const { spool, first } of batches) {
        if (first === 9n) throw new KedgeError({ code: 'LEDGER_GAP', message: 'a gap' });
        yield { spool, upTo: first };
      }
    });
    await expect(all(intake().deliver(each([batch(9n)]), { deadlineMs: 5_000 }))).rejects.toMatchObject({
      code: 'LEDGER_GAP',
    });
    expect(faults.map(({ kind }) => kind)).toEqual(['handler']);
    for await (const { upTo } of intake().deliver(waitFor(), { deadlineMs: 5_000 })) {
      expect(upTo).toBe(1n);
      break;
    }
    await expect.poll(() => ended).toEqual([expect.objectContaining({ code: 'BUS_CANCELLED' })]);
    const going = all(intake().deliver(waitFor(), { deadlineMs: 5_000 }));
    const refused = expect(going).rejects.toMatchObject({ code: 'BUS_CLOSING' });
    setTimeout(() => void open[0]?.close(0), 50);
    await refused;
  });

  it('what is no request ends the stream and is told, and so is a fault of who gives the requests', async () => {
    const faults = await serveIntake(keepAll);
    const raw = dialUnix(path, {
      ...intakeService,
      methods: intakeService.methods.map((method) => ({
        ...method,
        encodeRequest: () => Buffer.from([0xff, 0xff]),
      })),
    });
    open.push(raw);
    await expect(all(raw.deliver(each([batch(1n)]), { deadlineMs: 5_000 }))).rejects.toMatchObject({
      code: 'BUS_MESSAGE_INVALID',
    });
    await expect.poll(() => faults.map(({ kind }) => kind)).toContain('malformed');
    async function* failing(): AsyncGenerator<Batch> {
      yield batch(1n);
      await Promise.resolve();
      throw new KedgeError({ code: 'LEDGER_SPOOL_DAMAGED', message: 'torn' });
    }
    await expect(all(intake().deliver(failing(), { deadlineMs: 5_000 }))).rejects.toMatchObject({
      code: 'LEDGER_SPOOL_DAMAGED',
    });
  });
});
