import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { contentHashOf } from '../src/index.js';
import { Bench, PROGRAMS, until } from './plugins.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const ASK = `await context.tighten({ level: 3, reason: 'seen', key: 'key-00001' });`;
const IDLE = 'for (;;) await context.sleep(1000);';

describe('loading a plugin', () => {
  it('PO-3 runs what the manifest names, and takes its requests with the name that the manifest gives', async () => {
    bench.answer = ({ level }) => ({ outcome: 'applied', epoch: '42', level });
    const folder = bench.write(`
      const answer = await context.tighten({ level: 2, reason: context.settings.word, key: 'key-00001' });
      context.problem(JSON.stringify(answer)); ${IDLE}`);
    const plugin = await bench.load(folder, ['posture.tighten'], { settings: { word: 'as configured' } });
    await until('its answer came back', () => bench.status?.state === 'running' && bench.status.problem);
    expect(bench.requests).toEqual([
      { plugin: 'made-for-a-test', level: 2, reason: 'as configured', key: 'key-00001' },
    ]);
    expect(bench.status).toMatchObject({
      restarts: 0,
      problem: '{"outcome":"applied","epoch":"42","level":2}',
    });
    expect(plugin).toMatchObject({ manifest: { version: '1.2.3' }, granted: ['posture.tighten'] });
    const pid = bench.status?.state === 'running' ? bench.status.pid : 0;
    await plugin.unload();
    expect(() => process.kill(pid, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect(bench.status).toEqual({ state: 'ended' });
  });

  it('PO-5 a manifest with any field wrong, and whatever it does not hold, is refused by name before anything runs', async () => {
    const folder = bench.write(ASK);
    const wrong = [
      ['PLUGIN_MANIFEST', 'schema', { schema: 'kedge.plugin/2' }],
      ['PLUGIN_MANIFEST', 'name', { name: 'No Name' }],
      ['PLUGIN_MANIFEST', 'version', { version: '1.2' }],
      ['PLUGIN_MANIFEST', 'kind', { kind: 'oracle' }],
      ['PLUGIN_MANIFEST', 'entry', { entry: '../index.js' }],
      ['PLUGIN_MANIFEST', 'capabilities.0', { capabilities: ['posture.loosen'] }],
      ['PLUGIN_MANIFEST', 'api', { api: { min: '2.0.0', max: '1.0.0' } }],
      ['PLUGIN_MANIFEST', 'contentHash', { contentHash: 'abc' }],
      ['PLUGIN_MANIFEST', '', { colour: 'red' }],
      ['PLUGIN_KIND', 'kind', { kind: 'device-driver' }],
      ['PLUGIN_API', 'api', { api: { min: '1.0.1', max: '2.0.0' } }],
      ['PLUGIN_SIGNATURE', 'signature', { signature: `${'A'.repeat(86)}==` }],
      ['PLUGIN_GRANT', 'granted', { capabilities: [] }],
      ['PLUGIN_CONTENT', 'contentHash', { contentHash: '0'.repeat(64) }],
    ] as const;
    for (const [code, field, change] of wrong) {
      bench.write(ASK, change);
      await expect(bench.load(folder), JSON.stringify(change)).rejects.toMatchObject({ code, field });
    }
    bench.write(ASK, { capabilities: ['posture.tighten', 'network.connect'] });
    await expect(bench.load(folder, ['network.connect'])).rejects.toMatchObject({ code: 'PLUGIN_GRANT' });
    expect(bench.statuses).toEqual([]);
    expect(wrong).toHaveLength(14);
  });

  it('PO-5 content that is not what the manifest was sealed over is refused, a link in it too', async () => {
    const folder = bench.write(ASK);
    const sealed = contentHashOf(folder);
    mkdirSync(join(folder, 'more'));
    expect(contentHashOf(folder)).toBe(sealed);
    writeFileSync(join(folder, 'more/part.js'), '');
    await expect(bench.load(folder)).rejects.toMatchObject({ code: 'PLUGIN_CONTENT', field: 'contentHash' });
    symlinkSync('/etc/passwd', join(folder, 'link'));
    expect(() => contentHashOf(folder)).toThrow(expect.objectContaining({ code: 'PLUGIN_CONTENT' }));
  });
});

describe('a plugin that runs', () => {
  it('PO-5 without the grant asks in vain', async () => {
    const folder = bench.write(
      `context.problem((${ASK.slice(6, -1)}.then((a) => a.code)) && 'asked'); ${ASK} ${IDLE}`,
    );
    await bench.load(folder, []);
    await until('refused', () => bench.violations.length === 2);
    expect(bench.violations[0]).toMatchObject({ code: 'PLUGIN_NOT_GRANTED' });
    expect(bench.requests).toEqual([]);
  });

  it('PO-5 without the grant is recorded no oftener than it may ask', async () => {
    const folder = bench.write(`
      const asks = Array.from({ length: 50 }, (_, at) =>
        context.tighten({ level: 4, reason: 'again', key: 'key-' + String(at).padStart(6, '0') }));
      const codes = (await Promise.all(asks)).map(({ code }) => code);
      context.problem(['PLUGIN_NOT_GRANTED', 'PLUGIN_RATE'].map((code) => codes.filter((c) => c === code).length).join());
      ${IDLE}`);
    await bench.load(folder, [], { limits: { requests: 5, requestsPerSecond: 0.001 } });
    await until('answered', () => bench.status?.state === 'running' && bench.status.problem);
    expect(bench.status).toMatchObject({ problem: '5,45' });
    expect(bench.violations).toHaveLength(5);
    expect(bench.requests).toEqual([]);
  });

  it('PO-5 can reach neither files, nor processes, nor the network, nor the environment of the host', async () => {
    const socket = join(bench.directory, 'host.sock');
    const server = createServer().listen(socket);
    process.env['KEDGE_TEST_SECRET'] = 'for nobody';
    try {
      const folder = bench.write(`
        const fs = await import('node:fs'), net = await import('node:net'), child = await import('node:child_process');
        const found = [];
        const attempt = async (name, what) => {
          try { await what(); found.push(name + ' possible'); } catch (error) { found.push(name + ' ' + error.code); }
        };
        await attempt('read', () => fs.readFileSync('/etc/passwd'));
        await attempt('write', () => fs.writeFileSync(${JSON.stringify(join(bench.directory, 'written'))}, ''));
        await attempt('own', () => fs.appendFileSync(new URL(import.meta.url), ''));
        await attempt('chmod', () => fs.chmodSync(${JSON.stringify(socket)}, 0o777));
        await attempt('spawn', () => child.execFileSync('/bin/true'));
        await attempt('signal', () => process.kill(process.ppid, 0));
        await attempt('connect', () => new Promise((resolve, reject) =>
          net.connect(${JSON.stringify(socket)}).on('connect', resolve).on('error', reject)));
        found.push('environment ' + Object.keys(process.env).length);
        context.problem(found.join(', ')); ${IDLE}`);
      await bench.load(folder);
      await until('it has tried', () => bench.status?.state === 'running' && bench.status.problem);
    } finally {
      delete process.env['KEDGE_TEST_SECRET'];
      server.close();
    }
    expect(bench.status).toMatchObject({
      problem:
        'read EACCES, write EACCES, own EACCES, chmod EPERM, spawn EPERM, signal EPERM, connect EPERM, environment 0',
    });
  });

  it('PO-5 cannot have the kernel signal the host over the socket that both share', async () => {
    const program = join(bench.directory, 'signal-owner');
    const source = fileURLToPath(new URL('signal-owner.c', import.meta.url));
    execFileSync('cc', ['-std=c11', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
    const child = spawn(PROGRAMS.confine, ['--execute', '/', '--', program], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    });
    let said = '';
    child.stdout?.on('data', (text: Buffer) => (said += text.toString()));
    await once(child, 'close');
    expect(said.trim().split('\n')).toEqual([
      ...['F_SETOWN', 'F_SETOWN_EX', 'F_SETSIG', 'FIOSETOWN', 'SIOCSPGRP'].map((call) => `${call} refused`),
      ...['F_SETFL', 'FIONREAD'].map((call) => `${call} possible`),
    ]);
  });

  it('PO-3 that crashes is started again, later and later, and is shown with its last words', async () => {
    const folder = bench.write(`throw new RangeError('the sky has fallen');`);
    await bench.load(folder, [], { limits: { backOffMs: 20, backOffMaxMs: 100 } });
    const waits = () => bench.statuses.flatMap((each) => (each.state === 'waiting' ? [each] : []));
    await until('four ends', () => waits().length >= 4);
    expect(
      waits()
        .slice(0, 4)
        .map(({ retryInMs }) => retryInMs),
    ).toEqual([20, 40, 80, 100]);
    expect(waits()[0]?.because).toContain('RangeError: the sky has fallen');
  });

  it('PO-3 that hangs is ended and started again', async () => {
    const folder = bench.write('for (;;);');
    await bench.load(folder, [], { limits: { silenceMs: 1_500, backOffMs: 20 } });
    await until('ended', () => bench.violations.length > 0);
    expect(bench.violations[0]).toMatchObject({ code: 'PLUGIN_HANGS' });
    await until('started again', () => bench.status?.state === 'running' && bench.status.restarts === 1);
  });

  it('PO-3 that floods is ended; requests beyond its share are refused and not handed on', async () => {
    const asks = `Promise.all(Array.from({ length: 50 }, (_, at) =>
      context.tighten({ level: 4, reason: 'again', key: 'key-' + String(at).padStart(6, '0') })))`;
    const folder = bench.write(`
      const answers = await ${asks};
      context.problem(answers.filter(({ code }) => code === 'PLUGIN_RATE').length + ' refused');
      await context.sleep(200);
      for (let at = 0; at < 5000; at += 1) context.problem('flood ' + at);
      ${IDLE}`);
    await bench.load(folder, ['posture.tighten'], {
      limits: { requests: 5, requestsPerSecond: 0.001, words: 200, backOffMs: 60_000, backOffMaxMs: 60_000 },
    });
    await until('ended', () => bench.status?.state === 'waiting');
    expect(bench.requests).toHaveLength(5);
    expect(bench.statuses).toContainEqual(expect.objectContaining({ problem: '45 refused' }));
    expect(bench.violations).toEqual([expect.objectContaining({ code: 'PLUGIN_FLOODS' })]);
  });

  it('PO-5 that says what is no message, or without end, is ended and told of, and nothing of it is carried out', async () => {
    const say = (what: string): string =>
      `const { writeSync } = await import('node:fs'); writeSync(3, ${what}); ${IDLE}`;
    const wrong = [
      say(`'no json\\n'`),
      say(`'{"say":"loosen"}\\n'`),
      say(`JSON.stringify({ say: 'tighten', id: 1, level: 0, reason: 'r', key: 'key-00001' }) + '\\n'`),
      say(
        `JSON.stringify({ say: 'tighten', id: 1, level: 2, reason: 'two\\nlines', key: 'key-00001' }) + '\\n'`,
      ),
      say(
        `JSON.stringify({ say: 'tighten', id: 1, level: 2, reason: 'r', key: 'key-00001', tier: 'site_owner' }) + '\\n'`,
      ),
      say(`'x'.repeat(20000)`),
    ];
    for (const [at, body] of wrong.entries()) {
      const plugin = await bench.load(bench.write(body), ['posture.tighten'], {
        limits: { backOffMs: 60_000 },
      });
      await until('ended', () => bench.violations.length === at + 1);
      expect(bench.violations[at]).toMatchObject({ code: 'PLUGIN_MESSAGE' });
      await plugin.unload();
    }
    expect(bench.requests).toEqual([]);
    expect(wrong).toHaveLength(6);
  });
});

describe('the file of indicators in its process', () => {
  it('PO-3 reads a file that is larger than its heap, garbage included, and finds the one line that counts', async () => {
    const folder = fileURLToPath(new URL('../../../plugins/sources/indicator-file', import.meta.url));
    mkdirSync(join(bench.directory, 'indicators'));
    const indicators = join(bench.directory, 'indicators/indicators.jsonl');
    const description = 'x'.repeat(190);
    const lines = Array.from({ length: 100_000 }, (_, at) =>
      JSON.stringify({ id: `ioc-${at}`, severity: 'low', description }),
    );
    lines[50_000] = JSON.stringify({ id: 'the-one', severity: 'critical' });
    lines[70_000] = '{"id":';
    lines[70_001] = 'y'.repeat(1_000_000);
    writeFileSync(indicators, lines.join('\n'));
    expect(lines.join('\n').length).toBeGreaterThan(16 * 1024 * 1024);
    await bench.load(folder, ['posture.tighten'], { files: { indicators }, limits: { heapMiB: 16 } });
    await until('it asked', () => bench.requests.length > 0, 25_000);
    expect(bench.requests).toMatchObject([{ level: 2, reason: 'indicator the-one is critical' }]);
    expect(bench.status).toMatchObject({
      restarts: 0,
      problem:
        'INDICATOR_LINE line 70001, line: expected one JSON object; line 70002, line: expected at most 4096 bytes',
    });
  });
});
