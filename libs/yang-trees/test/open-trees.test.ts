/**
 * Holds the trees open: where modules are found, one context a tree, and what the fingerprint tells apart.
 * Must not write into the tree of the project.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

import { openTrees, PROJECT_MODULES, treesOf } from '../src/index.js';

const scratch = mkdtempSync(join(tmpdir(), 'kedge-trees-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

/** The project's modules, one text of one of them changed. */
function changed(name: string, file: string, from: string, to: string): string {
  const directory = join(scratch, name);
  cpSync(PROJECT_MODULES, directory, { recursive: true, filter: (path) => !path.includes('/examples') });
  const text = readFileSync(join(directory, file), 'utf8');
  expect(text.split(from).length, from).toBeGreaterThan(1);
  writeFileSync(join(directory, file), text.replace(from, to));
  return directory;
}

describe('trees', () => {
  it('UN-5 are opened with all their modules, each once, and know what stands at their top', () => {
    using trees = openTrees(['device']);
    const device = trees.context('device');
    expect(trees.context('device')).toBe(device);
    expect(trees.context('site')).not.toBe(device);
    const implemented = device.modules().filter((module) => module.implemented);
    for (const { name } of treesOf().get('device')?.modules ?? [])
      expect(implemented.map((module) => module.name)).toContain(name);
    expect(trees.top('device').map(({ module, name }) => `${module}:${name}`)).toEqual([
      'ietf-interfaces:interfaces',
      'ietf-routing:routing',
      'kedge-acl:acls',
    ]);
    let opened = 0;
    for (const name of treesOf().keys()) {
      expect(trees.top(name).length, name).toBeGreaterThan(0);
      opened += 1;
    }
    expect(opened).toBe(6);
  });

  it('UN-4 have a fingerprint that follows revisions, texts and features of every module, and nothing else', () => {
    const names = ['site', 'device'];
    const of = (directory?: string): string => {
      using trees = openTrees(names, directory);
      return trees.fingerprint(names);
    };
    const project = of();
    expect(of()).toBe(project);
    expect(of(changed('same', 'trees.json', 'kedge-mesh', 'kedge-mesh'))).toBe(project);
    expect(of(changed('of-another-tree', 'kedge-plan.yang', 'revision 2026', 'revision 2027'))).toBe(project);
    const others = [
      of(changed('text', 'kedge-site.yang', 'What the fleet calls it.', 'What the fleet says.')),
      of(changed('imported', 'kedge-accords.yang', 'lockdown', 'lock-down')),
      of(changed('fewer', 'trees.json', '      "kedge-tunnels",\n', '')),
      of(changed('feature', 'kedge-mesh.yang', '\n  typedef', '\n  feature more {\n  }\n\n  typedef')),
    ];
    expect(new Set([project, ...others]).size).toBe(5);
    using trees = openTrees();
    expect(trees.fingerprint(['device', 'site'])).not.toBe(project);
  });

  it('UN-5 that are none, or do not load, are refused by name', () => {
    using trees = openTrees();
    expect(() => trees.context('garden')).toThrow(
      expect.objectContaining({ code: 'SCHEMA_TREES', expected: expect.stringContaining('device') }),
    );
    const broken = changed('broken', 'kedge-acl.yang', 'yang-version 1.1;', 'yang-version 1.1; nonsense;');
    expect(() => openTrees(['device'], broken)).toThrow(
      expect.objectContaining({ code: 'YANG_MODULE', message: expect.stringContaining('kedge-acl') }),
    );
    expect(() => openTrees([], join(scratch, 'nowhere'))).toThrow(
      expect.objectContaining({ code: 'SCHEMA_TREES' }),
    );
  });
});
