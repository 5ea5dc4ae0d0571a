import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { loadConfig, Secret, secretSchema } from './config.js';
import { createLogger } from './logging.js';

const schema = z.strictObject({
  board: z.string().startsWith('/'),
  owners: z.record(z.string(), z.int()).default({}),
  listen: z.strictObject({ backlog: z.int().min(1), timeoutMs: z.int().optional() }).optional(),
  peers: z.array(z.strictObject({ name: z.string() })).default([]),
  token: secretSchema.optional(),
});
let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-config-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function load(content: unknown) {
  const path = join(directory, 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return loadConfig(schema, ['--config', path]);
}

describe('configuration', () => {
  it('a good file is read, with defaults, and frozen all the way down', () => {
    const config = load({ board: '/run', listen: { backlog: 1 } });
    expect(config).toEqual({ board: '/run', owners: {}, listen: { backlog: 1 }, peers: [] });
    expect(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(config.peers)).toBe(
      true,
    );
  });

  it('no file, a file that cannot be read, and a file that is not JSON are three different things', () => {
    expect(() => loadConfig(schema, ['--config', join(directory, 'none.json')])).toThrow(
      expect.objectContaining({ code: 'CONFIG_MISSING' }),
    );
    expect(() => loadConfig(schema, ['--config', directory])).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNREADABLE' }),
    );
    expect(() => load('{"board": ')).toThrow(expect.objectContaining({ code: 'CONFIG_SYNTAX' }));
    expect(() => load(`"${'x'.repeat(5_000_000)}"`)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNREADABLE' }),
    );
  });

  it('other arguments than --config FILE are refused', () => {
    for (const argv of [[], ['--config'], ['--conf', 'x'], ['--config', ''], ['--config', 'x', 'y']]) {
      expect(() => loadConfig(schema, argv)).toThrow(expect.objectContaining({ code: 'CONFIG_USAGE' }));
    }
  });

  it('an unknown key is refused with the nearest that there is, at every depth', () => {
    const wrong: [unknown, string, string | undefined][] = [
      [{ board: '/run', baord: 1 }, 'baord', 'did you mean board?'],
      [
        { board: '/run', listen: { backlog: 1, timeoutms: 5 } },
        'listen.timeoutms',
        'did you mean listen.timeoutMs?',
      ],
      [{ board: '/run', peers: [{ name: 'a', nmae: 'b' }] }, 'peers[0].nmae', 'did you mean peers[0].name?'],
      [{ board: '/run', zebra: 1 }, 'zebra', undefined],
    ];
    for (const [content, field, help] of wrong) {
      expect(() => load(content)).toThrow(
        expect.objectContaining({
          code: 'CONFIG_UNKNOWN_KEY',
          field,
          ...(help === undefined ? {} : { help }),
        }),
      );
    }
  });

  it('a wrong value is refused by its path', () => {
    expect(() => load({ board: 'run' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', field: 'board' }),
    );
    expect(() => load({ board: '/run', listen: { backlog: 0 } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', field: 'listen.backlog' }),
    );
    expect(() => load([])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('a secret is [secret] wherever it is printed, and itself only when asked for', () => {
    const { token } = load({ board: '/run', token: 'hunter2' });
    if (!(token instanceof Secret)) throw new Error('no secret');
    expect(token.reveal()).toBe('hunter2');
    const lines: string[] = [];
    createLogger({ name: 'x', destination: { write: (line) => lines.push(line) } }).info(
      { token, deep: { token } },
      'a',
    );
    const shown = `${String(token)} ${JSON.stringify({ token })} ${inspect({ token }, { depth: 9 })} ${lines.join('')}`;
    expect(shown).not.toContain('hunter2');
    expect(shown.match(/\[secret\]/g)).toHaveLength(5);
  });
});

describe('log', () => {
  it('64-bit numbers are strings, errors keep code and cause, levels are words', () => {
    const lines: string[] = [];
    const logger = createLogger({
      name: 'x',
      level: 'info',
      destination: { write: (line) => lines.push(line) },
    });
    const err = Object.assign(new Error('outer', { cause: new Error('inner') }), { code: 'A_B' });
    logger.child({ component: 'board' }).warn({ epoch: 2n ** 60n, list: [1n], err }, 'late');
    logger.debug('unseen');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      name: 'x',
      level: 'warn',
      component: 'board',
      epoch: '1152921504606846976',
      list: ['1'],
      err: { code: 'A_B', message: expect.stringContaining('outer') as string },
      msg: 'late',
    });
  });
});
