/**
 * What people see: golden text.
 * Must not need an appliance.
 */
import { describe, expect, it } from 'vitest';

import { failureOf, failureText, refusalError } from './failure.js';
import { transitionText } from './posture-text.js';
import { durationText, jsonText, levelText, table } from './render.js';

describe('text for people', () => {
  it('durations keep three digits in the unit that suits them', () => {
    expect([0n, 840n, 12_340n, 999_999n, 4_560_000n, 41_200_000n, 2_000_000_000n].map(durationText)).toEqual([
      '0 ns',
      '840 ns',
      '12.3 µs',
      '1000 µs',
      '4.56 ms',
      '41.2 ms',
      '2.00 s',
    ]);
  });

  it('levels carry their names', () => {
    expect([5, 1, 0].map(levelText)).toEqual(['5 normal', '1 lockdown', '0 (fail-closed)']);
  });

  it('tables line up and no line ends with blanks', () => {
    const text = table(
      [{ title: 'name' }, { title: 'n', right: true }, { title: 'note' }],
      [
        ['a', '1', ''],
        ['longer', '22', 'x'],
      ],
    );
    expect(text).toBe(['name     n  note', 'a        1', 'longer  22  x'].join('\n'));
  });

  it('JSON has 64-bit numbers as strings and bytes as hexadecimal', () => {
    const value = { epoch: 2n ** 60n, hash: new Uint8Array([1, 255]), buffer: Buffer.from([16]) };
    expect(JSON.parse(jsonText(value))).toEqual({ epoch: '1152921504606846976', hash: '01ff', buffer: '10' });
  });

  it('PO-8 a transition stands on a line of time against its budgets, and a late one says so', () => {
    const decided = 1_000_000_000n;
    const report = {
      epoch: 17n,
      from: 5,
      to: 2,
      outcome: 'late',
      source: { channel: 'local', tier: 'site_owner', principal: 'user:ada', reason: 'a scan' },
      receivedAtNs: decided - 400_000n,
      decidedAtNs: decided,
      storedAtNs: decided + 900n,
      journaledAtNs: decided + 2_500_000n,
      completedAtNs: decided + 4_000_000n,
      durable: true,
      paths: [
        {
          path: 'dataplane',
          budgetNs: 1_000_000n,
          startNs: decided,
          endNs: decided + 3_000_000n,
          outcome: 'late',
          participants: [
            {
              name: 'reference/0',
              startedAtNs: decided + 20_000n,
              finishedAtNs: decided + 50_000n,
              outcome: 'applied',
              level: 2,
              changes: 0,
            },
            {
              name: 'reference/1',
              startedAtNs: decided + 2_990_000n,
              finishedAtNs: decided + 3_000_000n,
              outcome: 'late',
              level: 2,
              changes: 0,
            },
          ],
        },
      ],
      decidedAtWallMs: 0n,
    };
    expect(transitionText(report).split('\n')).toMatchInlineSnapshot(`
      [
        "epoch 17: 5 normal → 2 emergency, late",
        "by user:ada (local, site_owner): a scan",
        "",
        "                                       1 µs                              4.00 ms",
        "received                      -400 µs  ●········································",
        "decided                         +0 ns  ●········································",
        "stored                        +900 ns  ●········································",
        "seen by reference/0          +20.0 µs  ··············●··························",
        "acknowledged by reference/0  +50.0 µs  ···················●·············|·······  50.0 µs of 1.00 ms  applied",
        "journaled                    +2.50 ms  ······································●··",
        "seen by reference/1          +2.99 ms  ·······································●·",
        "acknowledged by reference/1  +3.00 ms  ·································|·····!·  3.00 ms of 1.00 ms, LATE  late",
        "verified                     +4.00 ms  ········································●",
        "",
        "path       participant     start       end     took   budget  outcome  changes",
        "dataplane                  +0 ns  +3.00 ms  3.00 ms  1.00 ms  late",
        "           reference/0  +20.0 µs  +50.0 µs  50.0 µs           applied        0",
        "           reference/1  +2.99 ms  +3.00 ms  3.00 ms           late           0",
      ]
    `);
  });
});

describe('failures', () => {
  it('PO-5 a refusal keeps its code, names its rule, and leaves out what is empty', () => {
    const error = refusalError({
      code: 'POSTURE_NOT_AUTHORISED',
      message: 'apprentice may not loosen',
      field: '',
      expected: '',
      help: 'ask a master',
      rule: 'loosen-5',
    });
    expect(failureText(failureOf(error), true)).toBe(
      '{"error":{"code":"POSTURE_NOT_AUTHORISED","message":"apprentice may not loosen (rule loosen-5)","help":"ask a master"}}\n',
    );
    expect(failureText(failureOf(error), false)).toBe(
      'kedge: apprentice may not loosen (rule loosen-5) [POSTURE_NOT_AUTHORISED]\n  ask a master\n',
    );
  });

  it('what has no code is told as unexpected', () => {
    expect(failureOf(new Error('boom'))).toMatchObject({ code: 'CLI_UNEXPECTED', message: 'boom' });
    expect(failureOf('x')).toEqual({ code: 'CLI_UNEXPECTED', message: 'x' });
    expect(failureOf(Object.assign(new Error('gone'), { code: 'SEGMENT_MISSING' }))).toEqual({
      code: 'SEGMENT_MISSING',
      message: 'gone',
    });
  });
});
