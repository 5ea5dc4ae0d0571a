/**
 * Policies that change under traffic, and policies that are wrong.
 * Must not leave a directory or a watch.
 */
import type { AuthorisationRequest } from '@kedge/contracts';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { PolicyKeeper, requestOf, SHIPPED_SETS } from '../src/index.js';
import { candidateOf } from '../src/candidate.js';
import { loadEngine } from '../src/cedar.js';
import { policySourceOf, readPolicies, schemaText, SET_MAX_BYTES } from '../src/policy-source.js';
import { shippedSet } from '../src/shipped-set.js';
import { all, looking, PolicyDirectory, until } from './policies.js';

let directory: PolicyDirectory;
let keeper: PolicyKeeper;
let troubles: (string | undefined)[];
let generations: string[];

beforeEach(() => {
  directory = new PolicyDirectory();
  troubles = [];
  generations = [];
  keeper = new PolicyKeeper({
    policies: directory.path,
    onTrouble: (error) => troubles.push(error?.message),
    onChanged: ({ generation }) => generations.push(generation),
  });
});
afterEach(async () => {
  await keeper.close();
  directory.remove();
});

const ruleNow = (request: AuthorisationRequest = looking): string => keeper.authoriser.decide(request).rule;

// Each trial is a thread of its own, which takes its time where the machine has none.
describe('a directory of policies', { timeout: 120_000 }, () => {
  it('SE-2 is in force within seconds of every change of it, without a restart', async () => {
    directory.put('a.cedar', all('permit', 'first'));
    await keeper.start();
    expect(ruleNow()).toBe('first');
    directory.put('a.cedar', all('permit', 'second'));
    await until('another file in its place', () => ruleNow() === 'second');
    writeFileSync(join(directory.path, 'a.cedar'), all('permit', 'third'));
    await until('the file written over', () => ruleNow() === 'third');
    directory.put('b.cedar', all('forbid', 'nobody'));
    await until('one more file', () => ruleNow() === 'nobody');
    unlinkSync(join(directory.path, 'b.cedar'));
    await until('one file less', () => ruleNow() === 'third');
    expect(new Set(generations).size).toBe(4);
    expect(troubles).toEqual([]);
  });

  it('SE-2 is followed where another one takes its place', async () => {
    const link = join(directory.path, 'in-force');
    for (const name of ['one', 'two']) {
      mkdirSync(join(directory.path, name));
      writeFileSync(join(directory.path, name, 'a.cedar'), all('permit', name));
    }
    symlinkSync('one', link);
    const linked = new PolicyKeeper({ policies: link });
    try {
      await linked.start();
      expect(linked.authoriser.decide(looking).rule).toBe('one');
      symlinkSync('two', `${link}.new`);
      renameSync(`${link}.new`, link);
      await until('the other directory', () => linked.authoriser.decide(looking).rule === 'two');
    } finally {
      await linked.close();
    }
  });

  /** What is wrong, and what is said of it. */
  const WRONG: readonly [string, () => string | Uint8Array, RegExp][] = [
    ['a syntax error', () => `${all('permit', 'fine')}\npermit (principal`, /a\.cedar: .*unexpected/],
    [
      'a type error',
      () => '@id("odd")\npermit (principal, action, resource) when { context.trust == "high" };',
      /odd/,
    ],
    [
      'an attribute that may be absent and is not asked for',
      () => '@id("rash")\npermit (principal, action, resource) when { context.secondFactorAge < 9 };',
      /rash/,
    ],
    [
      'an action that there is none of',
      () => '@id("sing")\npermit (principal, action == Kedge::Action::"sing", resource);',
      /sing/,
    ],
    [
      'an attribute that there is none of',
      () => '@id("name")\npermit (principal, action, resource) when { context.name == "ada" };',
      /name/,
    ],
    ['a policy without a name', () => 'permit (principal, action, resource);', /no usable name/],
    ['a name with spaces', () => '@id("my policy")\npermit (principal, action, resource);', /no usable name/],
    [
      'two policies of one name',
      () => all('permit', 'twin').repeat(2),
      /twin: another policy of the set has this name/,
    ],
    ['a template', () => '@id("mould")\npermit (principal == ?principal, action, resource);', /template/],
    ['no UTF-8', () => Buffer.from([0x2f, 0x2f, 0xff, 0xfe]), /cannot read the policies/],
    ['10 MB', () => `// ${'x'.repeat(10_485_760)}\n${all('permit', 'huge')}`, /too many/],
    [
      'one that is nested too deep for the engine',
      () =>
        `@id("deep")\npermit (principal, action, resource) when { ${'!('.repeat(30_000)}true${')'.repeat(30_000)} };`,
      /./,
    ],
  ];

  it.each(WRONG)('SE-2 is refused with %s, and what was in force stays', async (_what, text, said) => {
    directory.put('a.cedar', all('permit', 'good'));
    await keeper.start();
    expect(ruleNow()).toBe('good');
    directory.put('a.cedar', text());
    await expect(keeper.reload()).rejects.toThrow(said);
    expect(troubles.at(-1)).toMatch(said);
    expect(keeper.trouble?.code).toMatch(/^AUTHZ_SET_(INVALID|TOO_LARGE|UNREADABLE|BREAKS)$/);
    expect(ruleNow()).toBe('good');
    // The thread that decides is as good as before.
    directory.put('a.cedar', all('permit', 'better'));
    await keeper.reload();
    expect(ruleNow()).toBe('better');
    expect(troubles.at(-1)).toBeUndefined();
  });

  it('SE-2 is refused where there is nothing to read: no directory, no file, a pipe in its place', async () => {
    await expect(keeper.reload()).rejects.toMatchObject({ code: 'AUTHZ_SET_UNREADABLE' });
    execFileSync('mkfifo', [join(directory.path, 'a.cedar')]);
    await expect(keeper.reload()).rejects.toMatchObject({ code: 'AUTHZ_SET_UNREADABLE' });
    rmSync(directory.path, { recursive: true });
    await expect(keeper.reload()).rejects.toMatchObject({ code: 'AUTHZ_SET_UNREADABLE' });
    expect(keeper.inForce).toBeUndefined();
    expect(ruleNow()).toBe('policies-not-loaded');
  });

  it('PO-22 that forbids everything is taken, and stops no tightening', async () => {
    directory.put('a.cedar', all('forbid', 'nothing-at-all'));
    await keeper.start();
    let denied = 0;
    for (const channel of ['console', 'local', 'bpf', 'plugin', 'fleet', 'oob'] as const) {
      const set = (level: 4 | 5, to: 1 | 4 | 5): AuthorisationRequest =>
        requestOf({ tier: 'site_owner', channel, action: 'posture.set', level, to });
      expect(ruleNow(set(5, 1))).toBe('built-in-tightening');
      expect(ruleNow(set(4, 4))).toBe('built-in-tightening');
      expect(ruleNow(set(4, 5))).toBe('nothing-at-all');
      denied += 1;
    }
    expect(denied).toBe(6);
    expect(ruleNow()).toBe('nothing-at-all');
  });

  it('SE-2 that is reloaded a thousand times at once is read a few times, and the last is in force', async () => {
    directory.put('a.cedar', all('permit', 'storm-0'));
    await keeper.start();
    const asked: Promise<unknown>[] = [];
    for (let i = 1; i <= 1_000; i += 1) {
      directory.put('a.cedar', all('permit', `storm-${i}`));
      asked.push(keeper.reload());
    }
    await Promise.all(asked);
    expect(ruleNow()).toBe('storm-1000');
    expect(generations.length).toBeLessThanOrEqual(4);
  });

  it('SE-2 that is exchanged under traffic loses no answer and gives none of another set', async () => {
    const [yes, no] = [all('permit', 'all-may'), all('forbid', 'none-may')];
    directory.put('a.cedar', yes);
    await keeper.start();
    let [asked, wrong, exchanged] = [0, 0, 0];
    let done = false;
    const traffic = (async () => {
      while (!done) {
        for (let i = 0; i < 50; i += 1) {
          const expected = keeper.inForce?.policies[0]?.id;
          const request = { ...looking, address: `10.0.${asked % 7}.${i}` };
          const answer = keeper.authoriser.decide(request);
          if (answer.rule !== expected || answer.allow !== (expected === 'all-may')) wrong += 1;
          asked += 1;
        }
        await turn();
      }
    })();
    for (let i = 0; i < 8; i += 1) {
      directory.put('a.cedar', i % 2 === 0 ? no : yes);
      const { policies } = await keeper.reload();
      expect(policies[0]?.id).toBe(i % 2 === 0 ? 'none-may' : 'all-may');
      exchanged += 1;
    }
    done = true;
    await traffic;
    expect({ wrong, exchanged }).toEqual({ wrong: 0, exchanged: 8 });
    expect(asked).toBeGreaterThan(1_000);
    expect(generations.length).toBe(9);
  });
});

describe('the shipped sets', () => {
  it('SE-2 pass the trial of anybody else, and are what the engine reads', () => {
    loadEngine();
    const names = Object.keys(SHIPPED_SETS);
    expect(names).toEqual(['default', 'production', 'development', 'admin']);
    for (const name of names) {
      const candidate = candidateOf(name, readPolicies(policySourceOf(name)), schemaText());
      if (!candidate.valid) throw new Error(JSON.stringify(candidate.faults));
      const essence = (set: typeof candidate.set) =>
        set.policies.map(({ id, effect, reason, file }) => ({ id, effect, reason, file }));
      expect(essence(shippedSet(name))).toEqual(essence(candidate.set));
      expect(shippedSet(name).generation).toBe(candidate.set.generation);
    }
  });

  it('are taken as a site of its own would take them, out of a copy', async () => {
    for (const file of SHIPPED_SETS.production)
      cpSync(
        join(import.meta.dirname, '../policies', `${file}.cedar`),
        join(directory.path, `${file}.cedar`),
      );
    await keeper.start();
    expect(ruleNow()).toBe('everybody-looks');
    expect(SET_MAX_BYTES).toBe(262_144);
  });
});
