import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Bench, until } from './plugins.js';

const guide = readFileSync(new URL('../../../docs/plugins.md', import.meta.url), 'utf8');
const SEAL = fileURLToPath(new URL('../dist/seal.js', import.meta.url));

/** The examples of the guide in one language, in their order. */
const examples = (language: string): string[] =>
  [...guide.matchAll(new RegExp('^```' + language + '\\n([\\s\\S]*?)^```$', 'gm'))].map(
    ([, text = '']) => text,
  );

describe('the guide for plugin authors', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('PO-3 has a whole plugin that can be sealed, loaded and run as it stands', async () => {
    const [module = ''] = examples('js');
    const [manifest = '', configuration = ''] = examples('json');
    expect([examples('js').length, examples('json').length]).toEqual([1, 2]);
    const folder = join(bench.directory, 'raised-flag');
    mkdirSync(folder);
    writeFileSync(join(folder, 'index.js'), module);
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(folder, 'plugin.json'), manifest);
    execFileSync(process.execPath, [SEAL, folder]);
    const { plugins } = JSON.parse(configuration) as {
      plugins: { sources: [{ granted: 'posture.tighten'[]; settings: { who: string } }] };
    };
    const [{ granted, settings }] = plugins.sources;
    mkdirSync(join(bench.directory, 'flag'));
    const flag = join(bench.directory, 'flag/flag.txt');
    await bench.load(folder, granted, { settings, files: { flag } });
    writeFileSync(`${flag}.new`, 'fire\n');
    renameSync(`${flag}.new`, flag);
    await until('it asked', () => bench.requests.length > 0);
    expect(bench.requests).toEqual([
      {
        plugin: 'raised-flag',
        level: 3,
        reason: 'the night watch has raised the flag in line 1',
        key: expect.stringMatching(/^flag-raised-\d{4}-\d{2}-\d{2}$/) as string,
      },
    ]);
  });

  it('names every limit as it is', () => {
    const host = readFileSync(new URL('../src/host.ts', import.meta.url), 'utf8');
    for (const [text, code] of [
      ['50 messages a second', 'wordsPerSecond: 50'],
      ['3 s of silence', 'silenceMs: 3_000'],
      ['20\nrequests at once and 2 a second', 'requestsPerSecond: 2'],
      ['limited to 64 MiB', 'heapMiB: 64'],
      ['at most 30 s', 'backOffMaxMs: 30_000'],
    ] as const) {
      expect(guide).toContain(text);
      expect(host).toContain(code);
    }
  });
});
