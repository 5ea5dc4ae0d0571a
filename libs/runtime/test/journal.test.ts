/**
 * What a service writes where its output leads to the journal of systemd.
 * It must not depend on a journal being there: the environment says which stream leads to it, as systemd does.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const SAYS = `
import { createLogger } from '@kedge/runtime';
const log = createLogger({ name: 'x', level: 'debug' });
log.debug('one');
log.info({ who: 'a\\n<0>forged\\r\\u2028' }, 'two\\n<0>forged');
log.warn('three');
log.error({ err: new Error('why\\n<0>forged') }, 'four');
log.child({ component: 'c' }).info({ level: 'error', long: '<0>'.repeat(40_000) }, 'five');
`;

/** Every line that a process says whose output, fd 1, is called JOURNAL_STREAM by `stream`. */
async function said(stream: string): Promise<readonly string[]> {
  const script = `exec 3>&1; JOURNAL_STREAM=${stream} exec "$0" --input-type=module -e "$1"`;
  const { stdout } = await run('/bin/sh', ['-c', script, process.execPath, SAYS], {
    cwd: import.meta.dirname,
    maxBuffer: 1_048_576,
  });
  return stdout.split('\n').slice(0, -1);
}

describe('a log that leads to the journal', () => {
  it('FW-7 has the priority of its level before each line, and no line that a field made', async () => {
    const lines = await said('$(stat -L -c %d:%i /dev/fd/3)');
    expect(lines.map((line) => line.slice(0, 4))).toEqual(['<7>{', '<6>{', '<4>{', '<3>{', '<6>{']);
    const objects = lines.map((line) => JSON.parse(line.slice(3)) as Record<string, unknown>);
    expect(objects.map(({ msg }) => msg)).toEqual(['one', 'two\n<0>forged', 'three', 'four', 'five']);
    // A journal breaks what is longer than 48 KiB, and takes what follows for a line.
    expect(Math.max(...lines.map((line) => Buffer.byteLength(line)))).toBeLessThan(48 * 1024);
    expect(objects[4]).toMatchObject({ level: 'info', name: 'x', component: 'c' });
    expect(objects[4]?.['cutBytes']).toBeGreaterThan(120_000);
  });

  it('FW-7 is as everywhere else where another stream leads there', async () => {
    for (const stream of ['1:1', "''", '$(stat -L -c %d:%i /dev/null)']) {
      const lines = await said(stream);
      expect(lines).toHaveLength(5);
      for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
    }
  });
});
