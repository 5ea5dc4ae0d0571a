import { type Mutation, type Permit, type Refusal, type Tier, TIERS } from '@kedge/contracts';
import { type Epoch, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DEFAULT_GATE_RULES, GATE_MODES, type GateView, PostureGate } from './mutation-gate.js';

const mutation = (id: string, more: Partial<Mutation> = {}): Mutation => ({
  id: `mutation-${id}`,
  planId: 'plan-1',
  target: 'routes/main',
  principal: 'user:ada',
  tier: 'site_owner',
  channel: 'local',
  kind: 'ordinary',
  ...more,
});

function gateAt(level: Level, more: { mostProposals?: number; approved?: (each: Mutation) => boolean } = {}) {
  let view: GateView | undefined = { epoch: 1n as Epoch, level };
  let epoch = 1n;
  const gate = new PostureGate({
    view: () => view,
    ruleOf: (at) => DEFAULT_GATE_RULES[at],
    nowNs: () => 7n,
    ...more,
  });
  return {
    gate,
    move: (to: Level | undefined) => {
      epoch += 1n;
      view = to === undefined ? undefined : { epoch: epoch as Epoch, level: to };
      return epoch as Epoch;
    },
  };
}
const granted = (answer: Permit | Refusal): Permit => {
  if (!answer.granted) throw new Error(answer.code);
  return answer;
};
const codeOf = (answer: Permit | Refusal) => (answer.granted ? 'granted' : answer.code);

describe('what the gate lets through', () => {
  it('UN-14 who and what may write at which level', () => {
    const told: string[] = [];
    for (const level of LEVELS) {
      for (const kind of ['ordinary', 'emergency'] as const) {
        const answers = TIERS.map((tier: Tier) => {
          const { gate } = gateAt(level, { approved: () => true });
          return `${tier}: ${codeOf(gate.enter(mutation('0001', { tier, kind })))}`;
        });
        told.push(`${level} ${kind}: ${answers.join(', ')}`);
      }
    }
    expect(told).toEqual([
      '5 ordinary: site_owner: granted, master: granted, journeyman: granted, apprentice: granted',
      '5 emergency: site_owner: granted, master: granted, journeyman: granted, apprentice: granted',
      '4 ordinary: site_owner: granted, master: granted, journeyman: granted, apprentice: granted',
      '4 emergency: site_owner: granted, master: granted, journeyman: granted, apprentice: granted',
      '3 ordinary: site_owner: granted, master: granted, journeyman: GATE_PROPOSED, apprentice: GATE_PROPOSED',
      '3 emergency: site_owner: granted, master: granted, journeyman: GATE_PROPOSED, apprentice: GATE_PROPOSED',
      '2 ordinary: site_owner: GATE_EMERGENCY_ONLY, master: GATE_EMERGENCY_ONLY, journeyman: GATE_EMERGENCY_ONLY, apprentice: GATE_EMERGENCY_ONLY',
      '2 emergency: site_owner: granted, master: GATE_TIER, journeyman: GATE_TIER, apprentice: GATE_TIER',
      '1 ordinary: site_owner: GATE_FROZEN, master: GATE_FROZEN, journeyman: GATE_FROZEN, apprentice: GATE_FROZEN',
      '1 emergency: site_owner: GATE_FROZEN, master: GATE_FROZEN, journeyman: GATE_FROZEN, apprentice: GATE_FROZEN',
    ]);
  });

  it('UN-14 at 2 an emergency change that nobody approved beforehand does not run', () => {
    expect(codeOf(gateAt(2).gate.enter(mutation('0001', { kind: 'emergency' })))).toBe('GATE_NOT_APPROVED');
  });

  it('PO-2 what a mode lets through, every mode before it lets through as well', () => {
    const lets = (mode: (typeof GATE_MODES)[number], tier: Tier, kind: 'ordinary' | 'emergency') =>
      new PostureGate({
        view: () => ({ epoch: 1n as Epoch, level: 3 }),
        ruleOf: () => ({ mode, tiers: ['site_owner'] }),
        nowNs: () => 0n,
        approved: () => true,
      }).enter(mutation('0001', { tier, kind })).granted;
    let visited = 0;
    for (const tier of TIERS) {
      for (const kind of ['ordinary', 'emergency'] as const) {
        const row = GATE_MODES.map((mode) => lets(mode, tier, kind));
        expect(row).toEqual([...row].sort((a, b) => Number(b) - Number(a)));
        visited += 1;
      }
    }
    expect(visited).toBe(8);
  });

  it('PO-15 is shut while the board cannot be read, and every permit ends', () => {
    const { gate, move } = gateAt(5);
    const permit = granted(gate.enter(mutation('0001')));
    move(undefined);
    expect(permit.check()).toBe(false);
    expect(gate.enter(mutation('0002'))).toMatchObject({ granted: false, code: 'GATE_UNREADABLE', level: 1 });
    expect(codeOf(gate.propose(mutation('0002')))).toBe('GATE_UNREADABLE');
  });
});

describe('a permit', () => {
  it('UN-14 is good for one epoch: it ends with it, and says so by signal and by check', () => {
    const { gate, move } = gateAt(5);
    const permit = granted(gate.enter(mutation('0001')));
    expect([permit.epoch, permit.check(), permit.signal.aborted]).toEqual([1n, true, false]);
    const epoch = move(5);
    expect(gate.acknowledgeable(epoch)).toBe(false);
    expect(permit.check()).toBe(false);
    expect(permit.signal.reason).toMatchObject({ code: 'GATE_SHUT' });
    permit.release();
    permit.release();
    expect(gate.acknowledgeable(epoch)).toBe(true);
  });

  it('UN-14 that is not released holds up the epoch, until it is or the deadline passes', async () => {
    const { gate, move } = gateAt(5);
    const permit = granted(gate.enter(mutation('0001')));
    const epoch = move(1);
    let quiet = false;
    const waiting = gate.quiet(epoch, new AbortController().signal).then(() => (quiet = true));
    const deadline = new AbortController();
    const late = gate.quiet(epoch, deadline.signal);
    expect(permit.signal.aborted).toBe(true);
    deadline.abort(new Error('too late'));
    await expect(late).rejects.toThrow('too late');
    expect(quiet).toBe(false);
    permit.release();
    await waiting;
    await gate.quiet(epoch, new AbortController().signal);
  });

  it('is the only one of its mutation', () => {
    const { gate } = gateAt(5);
    const permit = granted(gate.enter(mutation('0001')));
    expect(codeOf(gate.enter(mutation('0001')))).toBe('GATE_RUNNING');
    permit.release();
    expect(codeOf(gate.enter(mutation('0001')))).toBe('granted');
  });
});

describe('proposals', () => {
  it('wait once each, in their order, until somebody who may executes them', () => {
    const { gate } = gateAt(3);
    for (const id of ['0001', '0002', '0001']) gate.enter(mutation(id, { tier: 'apprentice' }));
    expect(gate.proposals.map((each) => each.mutation.id)).toEqual(['mutation-0001', 'mutation-0002']);
    expect(codeOf(gate.propose(mutation('0001', { planId: 'another' })))).toBe('GATE_ID_REUSED');
    granted(gate.enter(mutation('0001', { tier: 'master' })));
    expect(gate.proposals.map((each) => each.mutation.id)).toEqual(['mutation-0002']);
    expect(gate.withdraw('mutation-0002')).toMatchObject({ atNs: 7n, epoch: 1n });
    expect(gate.withdraw('mutation-0002')).toBeUndefined();
  });

  it('are bounded, and none is taken where nothing may be proposed', () => {
    const { gate, move } = gateAt(3, { mostProposals: 2 });
    const answers = ['0001', '0002', '0003', '0002'].map((id) => codeOf(gate.propose(mutation(id))));
    expect(answers).toEqual(['GATE_PROPOSED', 'GATE_PROPOSED', 'GATE_PROPOSALS_FULL', 'GATE_PROPOSED']);
    move(2);
    expect(codeOf(gate.propose(mutation('0009')))).toBe('GATE_EMERGENCY_ONLY');
    expect(gate.proposals).toHaveLength(2);
  });
});

describe('whatever happens at the gate', () => {
  const act = fc.oneof(
    fc.record({
      do: fc.constant('enter' as const),
      id: fc.nat(9),
      tier: fc.constantFrom(...TIERS),
      kind: fc.constantFrom('ordinary' as const, 'emergency' as const),
    }),
    fc.record({ do: fc.constant('release' as const), which: fc.nat(9) }),
    fc.record({
      do: fc.constant('move' as const),
      to: fc.constantFrom<Level | undefined>(...LEVELS, undefined),
    }),
  );

  it('UN-14 no write is allowed at a level that would not allow it, nor under another epoch', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const { gate, move } = gateAt(5, { approved: ({ id }) => id.endsWith('1') });
        const held: { permit: Permit; what: Mutation; released: boolean }[] = [];
        let level: Level | undefined = 5;
        let epoch = 1n as Epoch;
        for (const each of acts) {
          if (each.do === 'enter') {
            const what = mutation(`000${each.id}`, { tier: each.tier, kind: each.kind });
            const answer = gate.enter(what);
            if (answer.granted) held.push({ permit: answer, what, released: false });
          } else if (each.do === 'release') {
            const one = held[each.which];
            one?.permit.release();
            if (one !== undefined) one.released = true;
          } else {
            level = each.to;
            epoch = move(level);
          }
          for (const { permit, what, released } of held) {
            // A model that looks at the tables of the contract and nothing else.
            const may =
              level !== undefined &&
              !released &&
              permit.epoch === epoch &&
              (level >= 4 ||
                (level === 3 && ['site_owner', 'master'].includes(what.tier)) ||
                (level === 2 &&
                  what.kind === 'emergency' &&
                  what.tier === 'site_owner' &&
                  what.id.endsWith('1')));
            expect(permit.check()).toBe(may);
          }
          if (level !== undefined) {
            expect(gate.acknowledgeable(epoch)).toBe(
              held.every(({ permit, released }) => released || permit.epoch >= epoch),
            );
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
