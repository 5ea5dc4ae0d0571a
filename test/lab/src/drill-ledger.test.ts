/**
 * What a drill saw beside what the ledger holds: equal, one missing, one too many, one of another epoch.
 * Must not need a lab.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { describe, expect, it } from 'vitest';

import { differences, heldAt, seenAt, type Witnessed } from './drill-ledger.js';

const STEPS: readonly Witnessed[] = [
  {
    epoch: '7',
    from: 4,
    to: 3,
    gate: [
      { tier: 'master', allow: true },
      { tier: 'apprentice', allow: false },
    ],
  },
  { epoch: '8', from: 3, to: 2, gate: [{ tier: 'master', allow: false }] },
];
const transition = (epoch: string, from: number, to: number): LedgerRecord =>
  ({ schema: 'kedge.posture-transition/1', epoch, from, to }) as LedgerRecord;
const answer = (epoch: string, tier: string, allow: boolean, principal = 'ask'): LedgerRecord =>
  ({ schema: 'kedge.authorisation-decision/1', epoch, tier, allow, principal }) as LedgerRecord;
const HELD = [transition('7', 4, 3), answer('7', 'master', true), answer('7', 'apprentice', false)];
const EPOCHS = new Set(['7', '8']);

const found = (held: readonly LedgerRecord[]) => differences(seenAt(3, STEPS), heldAt(held, EPOCHS));

describe('a drill and the ledger', () => {
  it('PO-21 agree when the ledger holds what was seen, each as often, whatever else it holds', () => {
    const others = [
      answer('6', 'master', false),
      answer('7', 'master', true, 'user:ada'),
      transition('2', 5, 3),
    ];
    expect(found([...others, ...HELD].reverse())).toEqual([]);
  });

  it('PO-21 differ by what is missing, by what is there too often, and by what was answered otherwise', () => {
    expect(found(HELD.slice(1))).toEqual(['transition 7: 4 → 3: 1 more seen than held']);
    expect(found([...HELD, answer('7', 'master', true)])).toEqual([
      'gate at 7: master allowed: 1 more held than seen',
    ]);
    expect(
      found([transition('7', 4, 3), answer('7', 'master', false), answer('7', 'apprentice', false)]),
    ).toEqual([
      'gate at 7: master allowed: 1 more seen than held',
      'gate at 7: master denied: 1 more held than seen',
    ]);
  });
});
