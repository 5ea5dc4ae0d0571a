/**
 * Holds what set-up decides by looking; what it installs is proven on a bare Debian (test/bare).
 * Must not install anything.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { modulesFollowLock, told } from './setup.mjs';

describe('set-up', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kedge-setup-'));
    mkdirSync(join(root, 'node_modules/@kedge/units'), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const write = (installed: object): void => {
    const locked = {
      '': { name: 'house' },
      'libs/units': { version: '1.0.0' },
      'node_modules/@kedge/units': { link: true, resolved: 'libs/units' },
      'node_modules/a': { version: '1.2.3', integrity: 'sha512-a' },
      'node_modules/other-platform': { version: '1.0.0', optional: true },
    };
    writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages: locked }));
    writeFileSync(join(root, 'node_modules/.package-lock.json'), JSON.stringify({ packages: installed }));
  };
  const whole = {
    'node_modules/@kedge/units': { link: true },
    'node_modules/a': { version: '1.2.3', integrity: 'sha512-a' },
  };

  it('leaves packages alone that are as the lock file says, also without those of other platforms', () => {
    write(whole);
    expect(modulesFollowLock(root)).toBe(true);
  });

  it('installs anew when a package is missing, of another version, of another content, or no link', () => {
    const { 'node_modules/a': a, ...without } = whole;
    const wrong = [
      without,
      { ...whole, 'node_modules/a': { ...a, version: '1.2.4' } },
      { ...whole, 'node_modules/a': { ...a, integrity: 'sha512-b' } },
      { ...whole, 'node_modules/@kedge/units': { version: '1.0.0' } },
    ];
    for (const installed of wrong) {
      write(installed);
      expect(modulesFollowLock(root), JSON.stringify(installed)).toBe(false);
    }
    expect(wrong.length).toBe(4);
  });

  it('installs when nothing was installed', () => {
    writeFileSync(join(root, 'package-lock.json'), '{"packages":{}}');
    expect(modulesFollowLock(root)).toBe(false);
  });

  it('shows the end of what a failed command said, without addresses', () => {
    const output = `${'noise\n'.repeat(100)}GET https://packages.example/a?b=c failed\n`;
    const shown = told(output).split('\n');
    expect(shown.length).toBe(40);
    expect(shown.at(-1)).toBe('    GET <address> failed');
  });

  it('refuses an option that it does not know with status 2', () => {
    const script = join(import.meta.dirname, 'setup.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--for', 'fun'], { encoding: 'utf8' });
    expect({ status, stderr: stderr.trim() }).toEqual({
      status: 2,
      stderr: 'set-up: usage: setup.mjs [--for start|test]',
    });
  });
});
