/**
 * What each record of a bundle is by itself, and what of it has to be compared with others.
 * It must not open a sealed field, nor keep anything from one bundle to the next.
 */
import type { LedgerRecord, TRANSIT_KINDS } from '@kedge/contracts';
import { canonicalJson, isRecorded, isRightlyRecorded, pseudonymised } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { createHash, hash } from 'node:crypto';

import type { What } from './finding.js';
import { hashId, type IdKey } from './id-hash.js';
import { FormReader, numberAt, type RecordForm } from './record-form.js';

/** Something about one entry. */
export interface EntryFault {
  readonly entry: number;
  readonly what: What;
  readonly detail: string;
}

/** A record that is one of several. */
export type Piece =
  | {
      readonly kind: 'mutation-part';
      readonly entry: number;
      readonly group: string;
      readonly part: number;
      readonly parts: number;
      /** What has to be the same in each part. */
      readonly same: string;
      readonly sha256: string;
      readonly items: string;
    }
  | {
      readonly kind: 'snapshot';
      readonly entry: number;
      readonly group: string;
      readonly sections: readonly {
        readonly section: string;
        readonly complete: boolean;
        readonly parts: number;
        readonly sha256: string;
      }[];
    }
  | {
      readonly kind: 'snapshot-part';
      readonly entry: number;
      readonly group: string;
      readonly section: string;
      readonly source: string;
      /** Of so many that its source has. */
      readonly part: number;
      readonly parts: number;
      readonly items: string;
    };

/** A bundle of records as far as others have to know of it. */
export interface BundleSummary {
  readonly first: number;
  readonly count: number;
  /**
   * Three numbers for each record: its place in the bundle, and two halves of a hash over its id. Nothing for what is
   * no record.
   */
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly faults: readonly EntryFault[];
  /** Epochs of transitions. */
  readonly epochs: readonly { readonly entry: number; readonly epoch: bigint }[];
  readonly pieces: readonly Piece[];
}

/** Numbers of {@link BundleSummary.ids} for each record. */
export const ID_NUMBERS = 3;

type Collected = Pick<BundleSummary, 'faults' | 'epochs' | 'pieces'> & {
  readonly faults: EntryFault[];
  readonly epochs: { entry: number; epoch: bigint }[];
  readonly pieces: Piece[];
};

/** Checks bundles one after the other. */
export class RecordChecks {
  readonly #key: IdKey;
  readonly #reader = new FormReader();
  /** What has to be looked at besides the form. */
  readonly #more = new Map(
    this.#reader.forms.map((form) => [form, { id: form.place('id'), look: this.#lookOf(form) }]),
  );

  /** @param key the same for all bundles whose ids are compared. */
  constructor(key: IdKey) {
    this.#key = key;
  }

  /** Checks the entries of a bundle, the first of which has an index in the log. */
  summaryOf(first: number, bundle: Buffer, count: number): BundleSummary {
    const collected: Collected = { faults: [], epochs: [], pieces: [] };
    const ids = new Uint32Array(ID_NUMBERS * count);
    let known = 0;
    let end = 0;
    for (let at = 0; at < count; at++) {
      const from = end + 2;
      end = from + bundle.readUInt16BE(end);
      const id = this.#check(bundle, from, end, first + at, collected);
      if (id === undefined) continue;
      ids[known] = at;
      hashId(id.bytes, id.from, id.to, this.#key, ids, known + 1);
      known += ID_NUMBERS;
    }
    return { first, count, ids: known === ids.length ? ids : ids.slice(0, known), ...collected };
  }

  /** Where the id of a record stands; undefined for what is none. */
  #check(bundle: Buffer, from: number, to: number, entry: number, collected: Collected): IdPlace | undefined {
    const { places } = this.#reader;
    const form = this.#reader.recognised(bundle, from, to);
    const more = form === undefined ? undefined : this.#more.get(form);
    if (more?.look(bundle, entry, collected) === true) {
      idPlace.bytes = bundle;
      idPlace.from = (places[more.id] ?? 0) + 1;
      idPlace.to = (places[more.id + 1] ?? 0) - 1;
      return idPlace;
    }
    try {
      const record = pseudonymised(bundle.subarray(from, to));
      collect(record, entry, collected);
      idPlace.bytes = Buffer.from(record.id, 'latin1');
      idPlace.from = 0;
      idPlace.to = idPlace.bytes.length;
      return idPlace;
    } catch (error) {
      collected.faults.push(faultOf(entry, error));
      return undefined;
    }
  }

  /** Looks at a record of this form; false where it has to be read as a whole. */
  #lookOf(form: RecordForm): (bundle: Buffer, entry: number, collected: Collected) => boolean {
    const { places } = this.#reader;
    const text = (bytes: Buffer, place: number): string =>
      bytes.toString('latin1', (places[place] ?? 0) + 1, (places[place + 1] ?? 0) - 1);
    const number = (bytes: Buffer, place: number): number =>
      numberAt(bytes, places[place] ?? 0, places[place + 1] ?? 0);
    switch (form.schema) {
      case 'kedge.posture-transition/1': {
        const epoch = form.place('epoch');
        return (bytes, entry, { epochs }) => epochs.push({ entry, epoch: BigInt(text(bytes, epoch)) }) > 0;
      }
      case 'kedge.session-transit/1': {
        const [kind, session, percent] = [
          form.place('kind'),
          form.place('session'),
          form.place('sampledPercent'),
        ];
        return (bytes, entry, { faults }) => {
          const share = number(bytes, percent);
          if (share === 100) return true;
          const named = { kind: text(bytes, kind) as TransitKind, session: text(bytes, session) };
          if (!isRecorded(named, share)) faults.push(wronglySampled(entry, named.session, share));
          return true;
        };
      }
      case 'kedge.network-mutation/1': {
        const [part, parts] = [form.place('part'), form.place('parts')];
        const [steps, sha256, mutation] = [
          form.place('steps'),
          form.place('stepsSha256'),
          form.place('mutation'),
        ];
        return (bytes, entry, { faults }) => {
          if (number(bytes, part) !== 1 || number(bytes, parts) !== 1) return false;
          const items = bytes.subarray(places[steps] ?? 0, places[steps + 1] ?? 0);
          if (hash('sha256', items, 'hex') !== text(bytes, sha256))
            faults.push(otherSteps(entry, text(bytes, mutation)));
          return true;
        };
      }
      case 'kedge.posture-forensic-snapshot/1':
      case 'kedge.posture-forensic-part/1':
        return () => false;
      case 'kedge.budget-violation/1':
      case 'kedge.authorisation-decision/1':
      case 'kedge.dataplane-event/1':
      case 'kedge.drift-event/1':
      case 'kedge.intent-change/1':
        return () => true;
    }
  }
}

type TransitKind = (typeof TRANSIT_KINDS)[number];

interface IdPlace {
  bytes: Buffer;
  from: number;
  to: number;
}

/** The one that was found last: there is one for each record, and nothing is kept of it. */
const idPlace: IdPlace = { bytes: Buffer.alloc(0), from: 0, to: 0 };

/** What of a record has to be compared with others, and what is wrong with it besides its form. */
function collect(record: LedgerRecord, entry: number, { faults, epochs, pieces }: Collected): void {
  switch (record.schema) {
    case 'kedge.posture-transition/1':
      epochs.push({ entry, epoch: BigInt(record.epoch) });
      return;
    case 'kedge.session-transit/1':
      if (!isRightlyRecorded(record))
        faults.push(wronglySampled(entry, record.session, record.sampledPercent));
      return;
    case 'kedge.network-mutation/1': {
      const { mutation, part, parts, stepsSha256, steps } = record;
      const items = itemsOf(steps);
      if (part > parts)
        faults.push({ entry, what: 'parts-differ', detail: `part ${part} of ${parts} of ${mutation}` });
      else if (parts > 1) {
        const same = canonicalJson({ ...record, id: '', at: '', part: 0, steps: [] });
        const own = { entry, group: mutation, part, parts, same, sha256: stepsSha256, items };
        pieces.push({ kind: 'mutation-part', ...own });
      } else if (hashOf([items]) !== stepsSha256) faults.push(otherSteps(entry, mutation));
      return;
    }
    case 'kedge.posture-forensic-snapshot/1': {
      const sections = record.sections.map(({ section, complete, parts, sha256 }) => ({
        ...{ section, complete, parts, sha256 },
      }));
      pieces.push({ kind: 'snapshot', entry, group: record.id, sections });
      return;
    }
    case 'kedge.posture-forensic-part/1': {
      const { snapshot, section, source, part, parts, items } = record;
      if (part > parts) {
        const detail = `part ${part} of ${parts} of ${section} of ${snapshot}`;
        faults.push({ entry, what: 'parts-differ', detail });
      } else {
        const own = { entry, group: snapshot, section, source, part, parts, items: itemsOf(items) };
        pieces.push({ kind: 'snapshot-part', ...own });
      }
      return;
    }
    case 'kedge.budget-violation/1':
    case 'kedge.authorisation-decision/1':
    case 'kedge.dataplane-event/1':
    case 'kedge.drift-event/1':
    case 'kedge.intent-change/1':
      return;
  }
}

function wronglySampled(entry: number, session: string, percent: number): EntryFault {
  return { entry, what: 'wrongly-sampled', detail: `session ${session} at ${percent} %` };
}

function otherSteps(entry: number, mutation: string): EntryFault {
  return { entry, what: 'part-hash', detail: `steps of ${mutation}` };
}

/** The hash over the items of all parts as one list. */
export function hashOf(parts: readonly string[]): string {
  return createHash('sha256')
    .update(`[${parts.filter((items) => items !== '').join(',')}]`)
    .digest('hex');
}

/** Items as they stand in a list. */
function itemsOf(items: readonly unknown[]): string {
  return canonicalJson(items).slice(1, -1);
}

function faultOf(entry: number, error: unknown): EntryFault {
  if (!(error instanceof KedgeError)) throw error;
  const isText = error.cause instanceof KedgeError && error.cause.code === 'LEDGER_JSON_BYTES';
  const detail = isText ? '' : [error.field, error.expected].filter(Boolean).join(': ');
  return { entry, what: isText ? 'not-canonical' : 'not-its-schema', detail: detail.slice(0, 200) };
}
