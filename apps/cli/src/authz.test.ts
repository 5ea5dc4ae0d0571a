import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  checkPolicies,
  explainRequest,
  explanationText,
  policiesCheckText,
  testedText,
  testPolicies,
} from './authz.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-authz-cli-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

describe('kedge authz', () => {
  it('SE-2 explain names the policy that decided, what it saw, and what the accords ask for', async () => {
    const asking = { tier: 'site_owner', channel: 'fleet', action: 'posture.set', level: 1, to: 2 };
    expect(explanationText(await explainRequest('default', asking, {})).split('\n')).toEqual([
      'denied by leave-lockdown-channel: level 1 is left by console, re-attestation, oob only, not by fleet',
      'also decided: loosening-second-factor',
      expect.stringMatching(/^asked: the set default, generation [0-9a-f]{16}$/),
      'policies saw: tier site_owner, action posture.set, resource posture/2, trust 4, channel fleet, level 1, target 2, breakGlass false',
      'the accords ask for: tier site_owner, a second factor; level 1 is left by console, re-attestation, oob',
    ]);
    const tightening = { ...asking, level: 5, to: 1 };
    expect(explanationText(await explainRequest('default', tightening, {})).split('\n')).toEqual([
      'allowed by built-in-tightening',
      'no policy was asked',
    ]);
    await expect(explainRequest('default', { ...asking, tier: 'king' }, {})).rejects.toMatchObject({
      code: 'CLI_USAGE',
      field: 'tier',
    });
    await expect(explainRequest('default', asking, { accords: '/a' })).rejects.toMatchObject({
      code: 'CLI_USAGE',
      field: 'accords',
    });
    await expect(explainRequest('none', asking, {})).rejects.toMatchObject({ code: 'AUTHZ_SET_UNREADABLE' });
  });

  it('SE-2 explain asks under the accords that it is given', async () => {
    const yang = join(import.meta.dirname, '../../../yang/defaults');
    const files = { accords: join(yang, 'accords.json'), zones: join(yang, 'zones.json') };
    const asking = { tier: 'master', channel: 'local', action: 'posture.set', level: 2, to: 3 };
    expect((await explainRequest('default', asking, files)).answer).toMatchObject({
      allow: false,
      rule: 'loosening-tier',
      reason: 'loosening to level 3 needs the tier site_owner or above',
    });
  });

  it('check names every fault, and test every test that fails', async () => {
    writeFileSync(join(directory, 'a.cedar'), '@id("one")\npermit (principal, action, resource);\n');
    expect(policiesCheckText(await checkPolicies(directory))).toMatch(
      /^valid: 1 policies, generation [0-9a-f]{16}$/,
    );
    const ask = { tier: 'apprentice', channel: 'local', action: 'mutation.execute', level: 5 };
    const tests = [true, false].map((allow) => ({ name: `may it: ${allow}`, ask, expect: { allow } }));
    await expect(testPolicies(directory, [])).rejects.toMatchObject({ code: 'AUTHZ_TESTS' });
    writeFileSync(join(directory, 'a.test.json'), JSON.stringify({ tests }));
    expect(testedText(await testPolicies(directory, [])).split('\n')).toEqual([
      `failed: ${join(directory, 'a.test.json')}: may it: false: allowed by one`,
      '1 passed, 1 failed',
    ]);
    writeFileSync(
      join(directory, 'a.cedar'),
      ['x', 'y']
        .map((id) => `@id("${id}")\npermit (principal, action, resource) when { context.${id} };\n`)
        .join(''),
    );
    const { valid, faults } = await checkPolicies(directory);
    expect(valid).toBe(false);
    expect(faults.map(({ file, policy }) => [file, policy]).sort()).toEqual([
      ['a.cedar', 'x'],
      ['a.cedar', 'y'],
    ]);
  });
});
