import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { bundleAll, services } from './bundle.mjs';

const ROOT = join(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'kedge-bundle-test-'));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});
const directoryOf = (service: string): string => join(ROOT, 'apps', service, 'bundle');

describe('bundles', () => {
  it('are there for every service, one text and one cache each, and not made again when nothing changed', async () => {
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b'], { cwd: ROOT });
    await bundleAll();
    expect(await bundleAll()).toBe(0);
    expect(services().length).toBeGreaterThanOrEqual(4);
    for (const service of services()) {
      const files = readdirSync(directoryOf(service)).map((name) => name.replace(/[0-9a-f]{16}/, 'HASH'));
      expect(files.sort(), service).toEqual([
        'made-of.json',
        'main.js',
        'package.json',
        'service-HASH.cache',
        'service-HASH.js',
      ]);
    }
  });

  it('say what is wrong as the service itself does, and take the code cache', () => {
    const preload = join(scratch, 'preload.cjs');
    writeFileSync(
      preload,
      `process.on('exit', () => console.log(globalThis[Symbol.for('kedge.bundle')].cachedDataRejected));`,
    );
    for (const service of services()) {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ['--require', preload, join(directoryOf(service), 'main.js'), '--config', join(scratch, 'none.json')],
        { encoding: 'utf8' },
      );
      expect(stderr, service).toContain(`${service}: CONFIG_MISSING: `);
      expect({ status, stdout }, service).toEqual({ status: 2, stdout: 'false\n' });
    }
  });

  it('hold no source map and no place of the machine that made them', () => {
    for (const service of services()) {
      const directory = directoryOf(service);
      const text = readdirSync(directory)
        .filter((name) => name.endsWith('.js'))
        .map((name) => readFileSync(join(directory, name), 'latin1'))
        .join('\n');
      expect(text.length, service).toBeGreaterThan(100_000);
      expect(text).not.toMatch(/^\/\/# sourceMappingURL=/m);
      expect(text.includes(`${ROOT}/`), service).toBe(false);
    }
  });
});
