/**
 * Which headers are those of a Node.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

import { holdsHeaders } from '../native/node-headers.mjs';

it('headers are those of the very version, and whole', () => {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-headers-'));
  try {
    const parts = { MAJOR: 20, MINOR: 19, PATCH: 5 };
    const lines = Object.entries(parts).map(([name, value]) => `#define NODE_${name}_VERSION ${value}\n`);
    expect(holdsHeaders(directory, '20.19.5')).toBe(false);
    writeFileSync(join(directory, 'node_version.h'), lines.join(''));
    expect(holdsHeaders(directory, '20.19.5')).toBe(false);
    writeFileSync(join(directory, 'node.h'), '');
    expect(holdsHeaders(directory, '20.19.5')).toBe(true);
    for (const other of ['20.19.4', '20.18.5', '22.19.5']) expect(holdsHeaders(directory, other)).toBe(false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
