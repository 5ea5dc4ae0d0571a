/**
 * What each record of a bundle is by itself, and what of it has to be compared with others.
 * It must not open a sealed field, nor keep anything from one bundle to the next.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { canonicalJson, isRightlyRecorded, pseudonymised } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { createHash, hash } from 'node:crypto';

import type { What } from './finding.js';

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
        readonly parts: number;
        readonly sha256: string;
      }[];
    }
  | {
      readonly kind: 'snapshot-part';
      readonly entry: number;
      readonly group: string;
      readonly section: string;
      readonly part: number;
      readonly items: string;
    };

/** A bundle of records as far as others have to know of it. */
export interface BundleSummary {
  readonly first: number;
  readonly count: number;
  /** Two numbers for each entry, made from its id; nothing for one that is no record. */
  readonly ids: readonly { readonly entry: number; readonly high: number; readonly low: number }[];
  readonly faults: readonly EntryFault[];
  /** Epochs of transitions. */
  readonly epochs: readonly { readonly entry: number; readonly epoch: bigint }[];
  readonly pieces: readonly Piece[];
}

/** Checks the entries of a bundle, the first of which has an index in the log. */
export function summaryOf(first: number, entries: readonly Uint8Array[]): BundleSummary {
  const ids: { entry: number; high: number; low: number }[] = [];
  const faults: EntryFault[] = [];
  const epochs: { entry: number; epoch: bigint }[] = [];
  const pieces: Piece[] = [];
  entries.forEach((bytes, at) => {
    const entry = first + at;
    let record: LedgerRecord;
    try {
      record = pseudonymised(bytes);
    } catch (error) {
      faults.push(faultOf(entry, error));
      return;
    }
    const id = hash('sha256', record.id, 'buffer');
    ids.push({ entry, high: id.readUInt32LE(0), low: id.readUInt32LE(4) });
    switch (record.schema) {
      case 'kedge.posture-transition/1':
        epochs.push({ entry, epoch: BigInt(record.epoch) });
        return;
      case 'kedge.session-transit/1':
        if (!isRightlyRecorded(record)) {
          const detail = `session ${record.session} at ${record.sampledPercent} %`;
          faults.push({ entry, what: 'wrongly-sampled', detail });
        }
        return;
      case 'kedge.network-mutation/1': {
        const { mutation, part, parts, stepsSha256, steps } = record;
        const items = itemsOf(steps);
        if (part > parts)
          faults.push({ entry, what: 'parts-differ', detail: `part ${part} of ${parts} of ${mutation}` });
        else if (parts > 1) {
          const same = canonicalJson({ ...record, id: '', at: '', part: 0, steps: [] });
          pieces.push({
            kind: 'mutation-part',
            entry,
            group: mutation,
            part,
            parts,
            same,
            sha256: stepsSha256,
            items,
          });
        } else if (hashOf([items]) !== stepsSha256)
          faults.push({ entry, what: 'part-hash', detail: `steps of ${mutation}` });
        return;
      }
      case 'kedge.posture-forensic-snapshot/1': {
        const sections = record.sections.map(({ section, parts, sha256 }) => ({ section, parts, sha256 }));
        pieces.push({ kind: 'snapshot', entry, group: record.id, sections });
        return;
      }
      case 'kedge.posture-forensic-part/1': {
        const { snapshot, section, part, items } = record;
        pieces.push({ kind: 'snapshot-part', entry, group: snapshot, section, part, items: itemsOf(items) });
        return;
      }
      case 'kedge.budget-violation/1':
      case 'kedge.authorisation-decision/1':
      case 'kedge.dataplane-event/1':
      case 'kedge.drift-event/1':
        return;
    }
  });
  return { first, count: entries.length, ids, faults, epochs, pieces };
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
