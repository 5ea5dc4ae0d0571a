/**
 * The rules that these tests judge by: a small literal policy per level, as an accord would compile to.
 * It must not be computed from anything.
 */
import type { EntrySpec, LevelSpec, Verdict } from '../src/index.js';

/** All pairs with one verdict. */
export function pairs(verdict: Verdict): Verdict[][] {
  return Array.from({ length: 16 }, () => Array<Verdict>(16).fill(verdict));
}

export const NO_FLAGS = { classify: false, arp: false, neighbourDiscovery: false, icmpErrors: false };
export const ALL_FLAGS = { classify: false, arp: true, neighbourDiscovery: true, icmpErrors: true };

function both(entry: Omit<EntrySpec, 'family'>): EntrySpec[] {
  return [
    { ...entry, family: 4 },
    { ...entry, family: 6 },
  ];
}

const management = both({
  id: 1,
  protocol: 17,
  destinationPort: 161,
  sourceZone: 1,
  verdict: 'pass',
  rank: 100,
});
const answers = both({
  id: 2,
  protocol: 17,
  sourcePort: 161,
  destinationZone: 1,
  verdict: 'pass',
  rank: 100,
});
const critical = both({
  ...{ id: 3, protocol: 17, destinationPort: 5060, sourceZone: 2, destinationZone: 3 },
  ...({ verdict: 'pass', rank: 50 } as const),
});
const ordinary = both({
  ...{ id: 4, protocol: 17, destinationPort: 443, sourceZone: 2, destinationZone: 4 },
  ...({ verdict: 'pass', rank: 10 } as const),
});

/** What each level allows; the table in the forwarder's test says what follows from it. */
export function levelSpec(level: number, generation: bigint): LevelSpec {
  const base = { level, generation, flags: ALL_FLAGS };
  switch (level) {
    case 5:
      return { ...base, pairs: pairs('pass'), entries: [...management, ...answers] };
    case 4:
      return {
        ...{ ...base, flags: { ...ALL_FLAGS, classify: true } },
        ...{ pairs: pairs('pass'), entries: [...management, ...answers] },
      };
    case 3:
      return {
        ...{ ...base, pairs: pairs('deprioritise') },
        entries: [...management, ...answers, ...critical, ...ordinary],
      };
    case 2:
      return { ...base, pairs: pairs('drop'), entries: [...management, ...answers, ...critical] };
    default:
      return { ...base, pairs: pairs('drop'), entries: [...management, ...answers] };
  }
}
