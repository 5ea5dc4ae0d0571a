import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { processList } from './process-list.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kedge-proc-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

function processOf(pid: number, name: string, state: string, command: string): void {
  const directory = join(root, String(pid));
  mkdirSync(directory);
  const fields = [state, '1', ...Array.from({ length: 17 }, () => '0'), '4711'];
  writeFileSync(join(directory, 'stat'), `${pid} (${name}) ${fields.join(' ')} 0 0\n`);
  writeFileSync(join(directory, 'status'), `Name:\t${name}\nUid:\t1001\t0\t0\t0\nVmRSS:\t    2048 kB\n`);
  writeFileSync(join(directory, 'cmdline'), command);
}

describe('the list of processes', () => {
  it('has this process, as the kernel tells of it', async () => {
    const { items, reason } = await processList();
    expect(reason).toBe('');
    const own = items.find(({ name }) => name.startsWith(`${process.pid} `));
    expect(own?.facts).toMatchObject({
      parent: process.ppid,
      uid: process.getuid?.(),
      command: expect.stringContaining('node') as string,
    });
    expect((own?.facts as { residentKb: number }).residentKb).toBeGreaterThan(10_000);
  });

  it('takes any name, leaves out what has ended, and is in the order of the numbers', async () => {
    processOf(30, 'a) R 7 (b', 'Z', '');
    processOf(4, 'box', 'S', 'box\0--name\0two\nlines\0');
    mkdirSync(join(root, '12'));
    mkdirSync(join(root, 'self'));
    expect(await processList(root)).toEqual({
      items: [
        {
          name: '4 box',
          state: 'sleeping',
          facts: {
            parent: 1,
            uid: 1001,
            residentKb: 2048,
            startedTicks: '4711',
            command: 'box --name two lines',
          },
        },
        {
          name: '30 a) R 7 (b',
          state: 'zombie',
          facts: { parent: 1, uid: 1001, residentKb: 2048, startedTicks: '4711', command: '' },
        },
      ],
      reason: '',
    });
  });

  it('that cannot be had says why', async () => {
    expect(await processList(join(root, 'nowhere'))).toEqual({
      items: [],
      reason: 'the processes cannot be listed: ENOENT',
    });
  });
});
