/**
 * What a start decides by while the directory of policies is broken: those that were in force last.
 * Must not leave a directory or a file.
 */
import { requestOf } from '../src/index.js';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { PolicyKeeper } from '../src/index.js';
import { engineVersion } from '../src/cedar.js';
import { readKept, writeKept } from '../src/kept-set.js';
import { trialOf } from '../src/policy-source.js';
import { all, looking, PolicyDirectory, until } from './policies.js';

const BROKEN = '@id("odd")\npermit (principal, action, resource) when { context.trust == "high" };\n';
const tightening = requestOf({
  tier: 'journeyman',
  channel: 'console',
  action: 'posture.set',
  level: 5,
  to: 1,
});

let directory: PolicyDirectory;
let state: string;
let kept: string;
let keepers: PolicyKeeper[];
beforeEach(() => {
  directory = new PolicyDirectory();
  state = mkdtempSync(join(tmpdir(), 'kedge-kept-'));
  kept = join(state, 'policies.kept');
  keepers = [];
});
afterEach(async () => {
  for (const keeper of keepers) await keeper.close();
  directory.remove();
  rmSync(state, { recursive: true });
});

/** A service that has just been started. */
function anew(more: { policies?: string } = {}) {
  const alarms: (string | undefined)[] = [];
  const changes: string[] = [];
  const keeper = new PolicyKeeper({
    policies: directory.path,
    kept,
    onAlarm: (sentence) => alarms.push(sentence),
    onChanged: ({ policies }) => changes.push(policies[0]?.id ?? ''),
    ...more,
  });
  keepers.push(keeper);
  return { keeper, alarms, changes, rule: () => keeper.authoriser.decide(looking).rule };
}

/** Policies were in force, and kept; the service has ended. */
async function inForceBefore(id = 'good'): Promise<void> {
  directory.put('a.cedar', all('permit', id));
  const { keeper, rule } = anew();
  await keeper.start();
  expect(rule()).toBe(id);
  await keeper.close();
}

describe('the policies that were in force last', { timeout: 120_000 }, () => {
  it('SE-2 decide after a start with a directory that is broken, or gone, and an alarm says so until it is right', async () => {
    const breaks: readonly (() => void)[] = [
      () => {
        directory.put('a.cedar', BROKEN);
      },
      () => {
        directory.put('a.cedar', 'permit (');
      },
      () => {
        rmSync(directory.path, { recursive: true });
      },
    ];
    let visited = 0;
    for (const breakIt of breaks) {
      await inForceBefore();
      breakIt();
      const { keeper, alarms, rule } = anew();
      await keeper.startInTime();
      expect(rule()).toBe('good');
      expect(keeper.trouble?.code).toMatch(/^AUTHZ_SET_(INVALID|UNREADABLE)$/);
      expect(alarms.at(-1)).toMatch(
        /^the newest policies are not in force, those from before the start are: .+/,
      );
      mkdirSync(directory.path, { recursive: true });
      directory.put('a.cedar', all('permit', 'corrected'));
      await keeper.reload();
      expect(rule()).toBe('corrected');
      expect(alarms.at(-1)).toBeUndefined();
      await keeper.close();
      visited += 1;
    }
    expect(visited).toBe(3);
  });

  it('SE-2 never decide where the directory has others that are good', async () => {
    await inForceBefore('older');
    directory.put('a.cedar', all('forbid', 'newer'));
    const { keeper, changes, alarms, rule } = anew();
    const started = keeper.startInTime();
    // Until they are tried nothing but tightening is allowed: the older ones may allow too much.
    expect(rule()).toBe('policies-not-loaded');
    expect(keeper.authoriser.decide(tightening).allow).toBe(true);
    await started;
    expect(rule()).toBe('newer');
    expect([changes, alarms]).toEqual([['newer'], []]);
  });

  it('SE-2 answer the first question at once where the directory is as it was, without a trial', async () => {
    await inForceBefore();
    const before = statSync(kept).mtimeMs;
    const { keeper, rule } = anew();
    expect(rule()).toBe('policies-not-loaded');
    await keeper.startInTime();
    expect(keeper.inForce).toBeUndefined();
    expect(rule()).toBe('good');
    // And are in force by and by without a question, and watched.
    const { keeper: silent, rule: ruleThere } = anew();
    await silent.startInTime();
    await until('the policies', () => silent.inForce !== undefined);
    directory.put('a.cedar', all('permit', 'next'));
    await until('the next ones', () => ruleThere() === 'next');
    await silent.close();
    expect(statSync(kept).mtimeMs).toBeGreaterThan(before);
  });

  it('SE-2 are tried again where another engine or schema tried them, and only then decide', async () => {
    for (const [id, policy, decides] of [
      ['fine', all('permit', 'fine'), true],
      ['odd', BROKEN, false],
    ] as const) {
      directory.put('a.cedar', BROKEN);
      const set = {
        name: directory.path,
        generation: '0123456789abcdef',
        policies: [{ id, effect: 'permit' as const, reason: '', file: 'a.cedar', text: policy }],
      };
      await writeKept(kept, { triedBy: '0.0.1 another', appearance: 'as ever', set });
      const { keeper, alarms, rule } = anew();
      await keeper.start();
      expect(rule()).toBe(decides ? id : 'policies-not-loaded');
      expect(alarms.at(-1)).toMatch(
        decides
          ? /^the newest policies are not in force, those from before/
          : /^no policies are in force, only tightening is allowed: /,
      );
      await keeper.close();
    }
  });

  it('SE-2 decide nothing where the file is damaged, of another directory, or cannot be read; tightening goes on', async () => {
    const damages: readonly ((whole: Buffer) => void)[] = [
      (whole) => {
        writeFileSync(kept, whole.subarray(0, whole.length - 1));
      },
      (whole) => {
        const bytes = Buffer.from(whole);
        bytes[whole.indexOf('permit')] = 0x50;
        writeFileSync(kept, bytes);
      },
      () => {
        appendFileSync(kept, Buffer.alloc(3 * 1024 * 1024));
      },
      () => {
        writeFileSync(kept, '');
      },
      () => {
        rmSync(kept);
        mkdirSync(kept);
      },
    ];
    let visited = 0;
    for (const damage of damages) {
      rmSync(kept, { recursive: true, force: true });
      await inForceBefore();
      damage(readFileSync(kept));
      await expect(readKept(kept)).rejects.toMatchObject({ code: 'AUTHZ_KEPT' });
      directory.put('a.cedar', BROKEN);
      const { keeper, alarms, rule } = anew();
      await keeper.startInTime();
      expect(rule()).toBe('policies-not-loaded');
      expect(keeper.authoriser.decide(tightening)).toEqual({ allow: true, rule: 'built-in-tightening' });
      expect(alarms.at(-1)).toMatch(/^no policies are in force/);
      await keeper.close();
      visited += 1;
    }
    expect(visited).toBe(5);
    rmSync(kept, { recursive: true });
    await inForceBefore();
    const other = new PolicyDirectory();
    const { keeper, rule } = anew({ policies: other.path });
    await keeper.start();
    expect(rule()).toBe('policies-not-loaded');
    other.remove();
  });

  it('SE-2 that cannot be kept decide all the same, and an alarm says that a start would lack them', async () => {
    mkdirSync(`${kept}.new`);
    directory.put('a.cedar', all('permit', 'good'));
    const { keeper, alarms, rule } = anew();
    await keeper.start();
    expect(rule()).toBe('good');
    await until('the alarm', () => alarms.length > 0);
    expect(alarms.at(-1)).toMatch(/^the policies in force are not kept for the next start: cannot keep/);
    rmSync(`${kept}.new`, { recursive: true });
    directory.put('a.cedar', all('permit', 'better'));
    await keeper.reload();
    await until('no alarm', () => alarms.at(-1) === undefined);
    await keeper.close();
    expect(await readKept(kept)).toMatchObject({
      triedBy: trialOf(engineVersion()),
      set: { name: directory.path, policies: [{ id: 'better' }] },
    });
  });
});
