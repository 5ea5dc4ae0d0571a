/**
 * Verifies a copy of a ledger with its files and keys alone: hashes, signatures, checkpoints kept elsewhere, records.
 * It must not ask a box or a network, nor change a file.
 */
import {
  CHECKPOINT_PATH,
  checkLog,
  type LogVerdict,
  type NoteVerifier,
  openCheckpoint,
  type OpenedCheckpoint,
  placeAt,
  pseudonymised,
  readEntries,
  TILE_WIDTH,
  tileIn,
  tilePath,
} from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { randomBytes } from 'node:crypto';

import { faultPlaces } from './fault-places.js';
import { type Finding, NOTICES, TOGETHER, type What } from './finding.js';
import type { EntryFault } from './record-check.js';
import { RecordRow } from './record-row.js';
import { RecordThreads } from './record-threads.js';

/** A thread takes longer to start than to check so many records. */
const ENTRIES_OF_A_THREAD = 10_000;

/** What is verified, and against what. */
export interface VerificationOptions {
  readonly read: (path: string) => Buffer | undefined;
  readonly log: NoteVerifier;
  /** Checkpoints of the log that were kept elsewhere. */
  readonly kept: readonly OpenedCheckpoint[];
  /** Witnesses each of which has to have cosigned. */
  readonly witnesses: readonly NoteVerifier[];
  readonly keptFrom: number;
  readonly threads: number;
  readonly findingsMax: number;
  /** Told now and then how many entries were read, of how many. */
  readonly onProgress?: (entries: number, size: number) => void;
}

/** What a ledger was found to be. */
export interface Verification {
  readonly checkpoint: OpenedCheckpoint | undefined;
  /** Entries that were read, and those whose bundles are gone by retention. */
  readonly entries: number;
  readonly pruned: number;
  /** Records that are right by themselves. */
  readonly records: number;
  /** Proofs that something was changed, or was never right. */
  readonly faults: readonly Finding[];
  readonly notices: readonly Finding[];
  /** True where there is more than is told. */
  readonly more: boolean;
}

/** Verifies. @throws KedgeError `VERIFY_UNREADABLE`, `VERIFY_FAILED` */
export async function verification(options: VerificationOptions): Promise<Verification> {
  const findings: Finding[] = [];
  const checkpoint = checkpointIn(options, findings);
  if (checkpoint === undefined) return told(undefined, { entries: 0, pruned: 0 }, 0, findings, options);
  const { size } = checkpoint;
  const bundleOf = (entry: number): string => {
    const place = tileIn(0, Math.floor(entry / TILE_WIDTH), size);
    return place === undefined ? '' : tilePath({ ...place, level: 'entries' });
  };
  const records: Finding[] = [];
  const onFault = ({ entry, what, detail }: EntryFault): void => {
    if (records.length <= options.findingsMax)
      records.push({ path: bundleOf(entry), what, entries: [entry, entry], detail });
  };
  const row = new RecordRow((entry) => idAt(entry, size, options.read), onFault);
  const count = Math.min(options.threads, Math.floor(size / ENTRIES_OF_A_THREAD));
  const key = randomBytes(8);
  const threads = new RecordThreads(count, [key.readInt32LE(0), key.readInt32LE(4)], (summary) => {
    row.take(summary);
  });
  try {
    const verdict = checkLog({
      ...options,
      size,
      root: checkpoint.root,
      read: reading(options, size, threads),
      faultsMax: options.findingsMax + 1,
    });
    threads.finish();
    row.finish(size, verdict.pruned > 0);
    const inHashes = hashFindings(verdict, checkpoint, options);
    const all = [...findings, ...inHashes, ...independent(records, inHashes)];
    return told(checkpoint, verdict, row.records, all, options);
  } finally {
    await threads.close();
  }
}

/** The checkpoint of the directory, where it can be trusted; what is wrong with it otherwise. */
function checkpointIn(
  { read, log, witnesses }: VerificationOptions,
  findings: Finding[],
): OpenedCheckpoint | undefined {
  const tell = (what: What, detail = ''): undefined => {
    findings.push({ path: CHECKPOINT_PATH, what, entries: undefined, detail });
  };
  const note = read(CHECKPOINT_PATH);
  if (note === undefined) return tell('missing');
  const whats: Readonly<Record<string, What>> = {
    LEDGER_NOTE_MALFORMED: 'malformed',
    LEDGER_NOTE_FORGED: 'forged',
    LEDGER_NOTE_UNKNOWN: 'other-key',
    LEDGER_CHECKPOINT: 'other-origin',
  };
  const opened = (by: readonly NoteVerifier[]): OpenedCheckpoint | undefined => {
    try {
      return openCheckpoint(note, log, by);
    } catch (error) {
      const what = error instanceof KedgeError ? whats[error.code] : undefined;
      if (what === undefined) throw error;
      return tell(what, by[0]?.name ?? firstLine(note));
    }
  };
  const checkpoint = opened([]);
  if (checkpoint === undefined) return undefined;
  const signatures = witnesses.flatMap((witness) => {
    const found = opened([witness])?.witnesses;
    if (found?.length === 0) tell('not-cosigned', witness.name);
    return found ?? [];
  });
  return { ...checkpoint, witnesses: signatures };
}

/**
 * What is to be said of records beside what is wrong with their hashes: nothing of an entry that is another one, and
 * nothing of records together where one of them is.
 */
function independent(records: readonly Finding[], inHashes: readonly Finding[]): Finding[] {
  const bundles = inHashes.filter(({ path }) => path.startsWith('tile/entries/'));
  const isOther = (entry: number): boolean =>
    bundles.some(({ entries: [first, last] = [0, Infinity] }) => first <= entry && entry <= last);
  return records.filter(
    ({ what, entries: [entry] = [0] }) => bundles.length === 0 || (!TOGETHER.has(what) && !isOther(entry)),
  );
}

/** Reads, gives the records of each bundle to the threads, and tells how far it is. */
function reading(
  { read, onProgress }: VerificationOptions,
  size: number,
  threads: RecordThreads,
): (path: string) => Buffer | undefined {
  let entries = 0;
  return (path) => {
    const bytes = read(path);
    const place = path.startsWith('tile/entries/') ? placeAt(path) : undefined;
    if (bytes === undefined || place === undefined) return bytes;
    const first = place.index * TILE_WIDTH;
    const count = Math.min(place.width, size - first);
    // Of a full bundle that stands in for a partial one the rest is not under the checkpoint.
    const end = endOf(bytes, place.width, count);
    if (end !== undefined) {
      threads.give(first, count, bytes.subarray(0, end));
      entries += count;
      onProgress?.(entries, size);
    }
    return bytes;
  };
}

/** Where so many entries of a bundle end; undefined for a bundle that has not exactly `width`. */
function endOf(bundle: Buffer, width: number, count: number): number | undefined {
  let [at, end] = [0, 0];
  for (let entries = 0; entries < width; entries++) {
    if (at + 2 > bundle.length) return undefined;
    at += 2 + bundle.readUInt16BE(at);
    if (entries + 1 === count) end = at;
  }
  return at === bundle.length ? end : undefined;
}

function hashFindings(
  { faults }: LogVerdict,
  { size, root }: OpenedCheckpoint,
  { read, kept, keptFrom, findingsMax }: VerificationOptions,
): Finding[] {
  const isKept = (what: What): boolean => what === 'older-than-kept' || what === 'other-than-kept';
  const hashes = faults.filter(({ what }) => !isKept(what));
  const places = hashes.length === 0 ? [] : faultPlaces({ size, root, read, keptFrom, findingsMax });
  // That the log is not whole is never lost, whatever could be told of where.
  const found =
    places.length > 0
      ? places
      : hashes.map(({ path, what, entry }): Finding => {
          return { path, what, entries: entry === undefined ? undefined : [entry, entry], detail: '' };
        });
  const against = faults
    .filter(({ what }) => isKept(what))
    .map(({ path, what }): Finding => ({ path, what, entries: undefined, detail: '' }));
  if (hashes.length > 0) {
    for (const each of kept.filter((one) => one.size > size)) {
      const detail = `kept: ${each.size} entries`;
      against.push({ path: CHECKPOINT_PATH, what: 'older-than-kept', entries: undefined, detail });
    }
  }
  return [...against, ...found];
}

function told(
  checkpoint: OpenedCheckpoint | undefined,
  { entries, pruned }: Pick<LogVerdict, 'entries' | 'pruned'>,
  records: number,
  findings: readonly Finding[],
  { findingsMax }: VerificationOptions,
): Verification {
  const isNotice = ({ what }: Finding): boolean => NOTICES.has(what);
  const faults = findings.filter((each) => !isNotice(each));
  const notices = findings.filter(isNotice);
  const more = findings.length > findingsMax;
  const most = { faults: faults.slice(0, findingsMax), notices: notices.slice(0, findingsMax) };
  return { checkpoint, entries, pruned, records, ...most, more };
}

/** The id of a record that was seen before; empty where it is gone. */
function idAt(entry: number, size: number, read: VerificationOptions['read']): string {
  const place = tileIn(0, Math.floor(entry / TILE_WIDTH), size);
  const entries = place === undefined ? 'missing' : readEntries(place, read);
  const bytes = typeof entries === 'string' ? undefined : entries[entry % TILE_WIDTH];
  return bytes === undefined ? '' : pseudonymised(bytes).id;
}

function firstLine(note: Buffer): string {
  return note.toString('utf8').split('\n')[0]?.slice(0, 255) ?? '';
}
