/**
 * Where the facts that all kinds of records have in common stand in each of them: level, device, session, outcome.
 * It must not read what is about persons.
 */
import type { Level } from '@kedge/units';

import type { LedgerRecord } from './record.js';

/** What a record says, whatever its kind; null where it says nothing of the kind. */
export interface RecordFacts {
  /** The level at which it happened; of a transition the one that it went to. */
  readonly level: Level | null;
  /** Device, data plane, subject of a violation, or target; "device/sw1" is the device "sw1". */
  readonly device: string | null;
  readonly session: string | null;
  /** What came of it, in a word of its kind. */
  readonly outcome: string | null;
}

type Members = Readonly<Record<string, unknown>>;

interface Places {
  readonly level?: string;
  readonly device?: string;
  readonly session?: string;
  readonly outcome: string | ((record: Members) => string);
}

const PLACES: { readonly [Schema in LedgerRecord['schema']]: Places } = {
  'kedge.posture-transition/1': { level: 'to', outcome: 'outcome' },
  'kedge.budget-violation/1': { level: 'level', device: 'subject', outcome: 'kind' },
  'kedge.authorisation-decision/1': {
    level: 'level',
    outcome: ({ allow }) => (allow === true ? 'allow' : 'deny'),
  },
  'kedge.dataplane-event/1': { level: 'newLevel', device: 'dataplane', outcome: 'kind' },
  'kedge.session-transit/1': { level: 'posture_level_at_transit', session: 'session', outcome: 'kind' },
  'kedge.network-mutation/1': { level: 'level', device: 'target', outcome: 'result' },
  'kedge.drift-event/1': { level: 'level', device: 'device', outcome: 'kind' },
  'kedge.intent-change/1': { level: 'level', outcome: 'kind' },
  'kedge.posture-forensic-snapshot/1': {
    outcome: ({ complete }) => (complete === true ? 'complete' : 'incomplete'),
  },
  'kedge.posture-forensic-part/1': { outcome: 'section' },
};

/** The facts of a record of this kind; its sealed fields may still be sealed. */
export function recordFacts(kind: LedgerRecord['schema'], record: object): RecordFacts {
  const members = record as Members;
  const { level, device, session, outcome } = PLACES[kind];
  const text = (name: string | undefined): string | null => {
    const value = name === undefined ? undefined : members[name];
    return typeof value === 'string' && value !== '' ? value : null;
  };
  return {
    level: levelOf(level === undefined ? undefined : members[level]),
    device: text(device)?.replace(/^device\//, '') ?? null,
    session: text(session),
    outcome: typeof outcome === 'function' ? outcome(members) : text(outcome),
  };
}

function levelOf(value: unknown): Level | null {
  return value === 1 || value === 2 || value === 3 || value === 4 || value === 5 ? value : null;
}
