/**
 * Who keeps what alive, who may touch it when, and that everything is freed once: also in other threads, also when
 * nobody tidies up.
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';

import { type DataTree, YangError } from '../src/index.js';
import { everything, EVERYTHING, interfaces, interfacesDocument } from './material.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const ADDON = join(import.meta.dirname, '../build/yang.node');

/** The code that a promise is rejected with. */
async function code(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => 'nothing',
    (reason: unknown) => reason,
  );
  return error instanceof YangError ? error.code : String(error);
}

/** The code that a call throws. */
function thrown(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof YangError ? error.code : String(error);
  }
  return 'nothing';
}

const ETH0 = "/ietf-interfaces:interfaces/interface[name='eth0']";

describe('lifetimes', () => {
  it('UN-1 a tree keeps its context: it is as good after the context was disposed of', async () => {
    const context = interfaces();
    const tree = await context.parseConfiguration(interfacesDocument(10));
    context.dispose();
    context[Symbol.dispose]();
    collect();
    expect(tree.get(`${ETH0}/enabled`)?.value).toBe(true);
    await tree.validate();
    const copy = await tree.duplicate();
    tree.dispose();
    expect(await copy.find('//ietf-interfaces:interface')).toHaveLength(10);
    copy.dispose();
    expect(thrown(() => context.modules())).toBe('YANG_DISPOSED');
    expect(thrown(() => context.load('ietf-hardware'))).toBe('YANG_DISPOSED');
    expect(await code(context.parseConfiguration('{}'))).toBe('YANG_DISPOSED');
  });

  it('UN-1 what was disposed of is refused by every call, and disposing once more does nothing', async () => {
    const context = everything();
    const [tree, other] = [context.emptyTree('configuration'), context.emptyTree('configuration')];
    const diff = await context.diff(tree, other);
    for (const each of [tree, diff]) {
      each.dispose();
      each[Symbol.dispose]();
    }
    const path = '/everything:all/i8';
    const now = [
      () => tree.get(path),
      () => tree.set(path, 1),
      () => tree.remove(path),
      () => tree.move(path, { before: path }),
    ];
    const later = [
      tree.find(path),
      tree.print(),
      tree.validate(),
      tree.duplicate(),
      tree.merge(other),
      other.merge(tree),
      context.diff(tree, other),
      diff.applyTo(other),
      diff.reverted(),
      diff.print(),
      diff.changes().next(),
      context.parseRequest('{"everything:ping":{"host":"a"}}', { against: tree }),
    ];
    for (const call of now) expect(thrown(call)).toBe('YANG_DISPOSED');
    expect(await Promise.all(later.map(code))).toEqual(later.map(() => 'YANG_DISPOSED'));
    expect([now.length, later.length]).toEqual([4, 12]);
    other.dispose();
    context.dispose();
  });

  it('UN-1 disposing while a job works lets the job end, and frees the tree then', async () => {
    const context = interfaces();
    const tree = await context.parseConfiguration(interfacesDocument(300));
    const printing = tree.print();
    const waiting = tree.duplicate();
    tree.dispose();
    expect(JSON.parse(await printing)['ietf-interfaces:interfaces'].interface).toHaveLength(300);
    // Its turn came after the tree was gone.
    expect(await code(waiting)).toBe('YANG_DISPOSED');
    context.load('ietf-hardware');
    context.dispose();
  });

  it('UN-1 a tree that a job was begun with is nobody else’s until the job is over', async () => {
    const context = interfaces();
    const tree = await context.parseConfiguration(interfacesDocument(100));
    // One job runs; that with the tree waits behind it.
    const other = context.parseConfiguration(interfacesDocument(500));
    const working = tree.validate();
    for (const call of [
      () => tree.get(ETH0),
      () => tree.set(`${ETH0}/description`, 'x'),
      () => tree.remove(ETH0),
    ])
      expect(thrown(call)).toBe('YANG_BUSY');
    (await other).dispose();
    await working;
    expect(tree.set(`${ETH0}/description`, 'x')).toBe(true);
    tree.dispose();
    context.dispose();
  });

  it('UN-1 the addon holds by itself what memory safety hangs on', async () => {
    const addon = createRequire(import.meta.url)(ADDON) as Record<string, (...given: unknown[]) => unknown>;
    const call = (name: string, ...given: unknown[]): unknown => addon[name]?.(...given);
    const context = call('newContext', [], 0);
    call('parseModule', context, EVERYTHING, false, undefined);
    const tree = await (call('parse', context, '{}', 0, 0, 0, 128) as Promise<object>);
    const job = call('print', tree, 0, false, 0, false) as Promise<string>;
    const refused = (name: string, ...given: unknown[]): string => {
      try {
        call(name, ...given);
      } catch (error) {
        return (error as { code: string }).code;
      }
      return 'nothing';
    };
    expect(refused('get', tree, '/everything:all')).toBe('YANG_BUSY');
    expect(refused('print', tree, 0, false, 0, false)).toBe('YANG_BUSY');
    expect(refused('loadModule', context, 'x', undefined, undefined)).toBe('YANG_CONTEXT_IN_USE');
    call('closeTree', tree);
    expect(await job).toBe('{}');
    for (const wrong of [undefined, {}, 7, context, Object.create(tree), new Proxy(tree, {})])
      expect(refused('get', wrong, '/everything:all')).toBe('YANG_ARGUMENT');
    expect(refused('modules', tree)).toBe('YANG_ARGUMENT');
    expect(refused('get', tree, '/everything:all')).toBe('YANG_DISPOSED');
    const data = call('emptyTree', context, 0);
    expect(refused('apply', data, data)).toBe('YANG_ARGUMENT');
    expect(refused('takeChanges', data, 0, 1)).toBe('YANG_ARGUMENT');
    const diff = await (call('diff', data, data) as Promise<object>);
    expect(refused('diff', diff, data)).toBe('YANG_ARGUMENT');
    expect(refused('parse', context, '{}', 0, 7, 0, 128)).toBe('YANG_ARGUMENT');
    expect(refused('parse', context, '{}', 0, 0, 0, -1)).toBe('YANG_ARGUMENT');
    const foreign = call('newContext', [], 0);
    expect(refused('merge', data, call('emptyTree', foreign, 0))).toBe('YANG_OTHER_CONTEXT');
    for (const each of [data, diff]) call('closeTree', each);
    expect(refused('loadModule', context, 'x', undefined, undefined)).toBe('YANG_MODULE');
  });

  it('UN-1 a tree of another context is refused everywhere', async () => {
    const [mine, yours] = [everything(), everything()];
    const [here, there] = [mine.emptyTree('configuration'), yours.emptyTree('configuration')];
    const diff = await yours.diff(there, there);
    const refused = [
      here.merge(there),
      mine.diff(here, there),
      mine.diff(there, there),
      diff.applyTo(here),
      here.validate({ against: there }),
      mine.parseRequest('{"everything:ping":{"host":"a"}}', { against: there }),
    ];
    expect(await Promise.all(refused.map(code))).toEqual(refused.map(() => 'YANG_OTHER_CONTEXT'));
    expect(await code(here.merge({} as DataTree))).toBe('YANG_ARGUMENT');
    for (const each of [diff, here, there, mine, yours]) each.dispose();
  });

  it('UN-1 what nobody disposes of is freed by the collector, in any order', async () => {
    const context = interfaces();
    for (let round = 0; round < 20; round += 1) {
      const own = everything();
      const [a, b] = [
        await own.parseConfiguration('{"everything:all":{"i8":1}}'),
        own.emptyTree('configuration'),
      ];
      await own.diff(a, b);
      await context.parseConfiguration(interfacesDocument(20));
    }
    // As long as one is not collected, its context takes no module.
    for (let tries = 0; thrown(() => context.load('ietf-hardware')) === 'YANG_CONTEXT_IN_USE'; tries += 1) {
      expect(tries).toBeLessThan(100);
      collect();
      await turn();
    }
    context.dispose();
  });
});

describe('jobs', () => {
  it('UN-1 run one at a time in the order they were asked for, and not more may wait than allowed', async () => {
    const context = interfaces({ limits: { waitingJobs: 3 } });
    const done: number[] = [];
    const jobs = [0, 1, 2, 3].map(async (at) => {
      const tree = await context.parseConfiguration(interfacesDocument(at === 0 ? 500 : 1));
      done.push(at);
      tree.dispose();
    });
    expect(await code(context.parseConfiguration('{}'))).toBe('YANG_QUEUE_FULL');
    await Promise.all(jobs);
    expect(done).toEqual([0, 1, 2, 3]);
    (await context.parseConfiguration('{}')).dispose();
    context.dispose();
  });

  it('UN-1 that wait are dropped by a signal; of those that run the result is thrown away', async () => {
    const context = interfaces();
    const [first, second] = [new AbortController(), new AbortController()];
    const document = interfacesDocument(2000);
    const running = context.parseConfiguration(document, { signal: first.signal });
    const waiting = context.parseConfiguration(document, { signal: second.signal });
    const after = context.parseConfiguration('{}');
    second.abort(new Error('not needed'));
    expect(await code(waiting)).toBe('YANG_ABORTED');
    await expect(waiting).rejects.toMatchObject({
      cause: expect.objectContaining({ message: 'not needed' }) as Error,
    });
    first.abort();
    expect(await code(running)).toBe('YANG_ABORTED');
    // The one that ran is over before the next begins, and left nothing: the context takes modules again.
    (await after).dispose();
    context.load('ietf-hardware');
    const before = AbortSignal.abort();
    expect(await code(context.parseConfiguration('{}', { signal: before }))).toBe('YANG_ABORTED');
    context.dispose();
  });

  it('UN-1 leave the event loop alone: it turns while a large document is read', async () => {
    const context = interfaces();
    let turns = 0;
    let done = false;
    const counting = (async () => {
      while (!done) {
        await wait(1);
        turns += 1;
      }
    })();
    const tree = await context.parseConfiguration(interfacesDocument(3000));
    done = true;
    await counting;
    expect(turns).toBeGreaterThan(20);
    tree.dispose();
    context.dispose();
  });

  it('UN-1 do not disturb calls on other trees of the context', async () => {
    const context = interfaces();
    const document = interfacesDocument(200);
    const other = await context.parseConfiguration(document);
    let running = true;
    const jobs = (async () => {
      for (let i = 0; i < 10; i += 1) {
        const tree = await context.parseConfiguration(document);
        await tree.validate();
        await code(context.parseConfiguration('{"ietf-interfaces:interfaces":{"interface":[{"name":1}]}}'));
        tree.dispose();
      }
      running = false;
    })();
    let calls = 0;
    for (; running; calls += 1) {
      const path = `/ietf-interfaces:interfaces/interface[name='eth${calls % 200}']/description`;
      other.set(path, `call ${calls}`);
      expect(other.get(path)?.value).toBe(`call ${calls}`);
      expect(thrown(() => other.get('/ietf-interfaces:nothing'))).toBe('YANG_PATH');
      await turn();
    }
    await jobs;
    expect(calls).toBeGreaterThan(50);
    other.dispose();
    context.dispose();
  });
});

describe('threads', () => {
  const worker = (mode: 'tidy' | 'abandon'): Worker =>
    new Worker(join(import.meta.dirname, 'raw-worker.mjs'), {
      workerData: {
        addon: ADDON,
        module: EVERYTHING,
        document: JSON.stringify({
          'everything:all': { tags: Array.from({ length: 500 }, (_, i) => `tag${i}`) },
        }),
        mode,
      },
    });

  it('UN-1 each have contexts of their own, at the same time', async () => {
    const workers = [worker('tidy'), worker('tidy'), worker('tidy')];
    const printed = await Promise.all(
      workers.map(
        (each) =>
          new Promise<string>((resolve, reject) => {
            let text = '';
            each.on('message', (message: { printed: string }) => (text = message.printed));
            each.on('error', reject);
            each.on('exit', (status) =>
              status === 0 ? resolve(text) : reject(new Error(`ended with ${status}`)),
            );
          }),
      ),
    );
    expect(printed.every((text) => text.includes('"tag499"'))).toBe(true);
  });

  it('UN-1 may be ended in the middle of jobs, with everything open', async () => {
    for (let round = 0; round < 5; round += 1) {
      const each = worker('abandon');
      await new Promise((resolve) => each.once('message', resolve));
      await wait(5 * round);
      expect(await each.terminate()).toBe(1);
    }
  });

  it('UN-1 print nothing, whatever libyang has to say', () => {
    const script = `
      const addon = require(${JSON.stringify(ADDON)});
      const context = addon.newContext([], 0);
      addon.parseModule(context, ${JSON.stringify(EVERYTHING)}, false, undefined);
      const bad = JSON.stringify({ 'everything:all': { favourite: 'nobody', low: 5, high: 4 } });
      addon.parse(context, bad, 0, 0, 0, 128).catch((error) => process.stdout.write(error.code));
      try { addon.loadModule(context, 'nothing', undefined, undefined); } catch {}
    `;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    expect({ stdout, stderr, status }).toEqual({ stdout: 'YANG_INVALID', stderr: '', status: 0 });
  });
});
