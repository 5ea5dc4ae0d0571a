/**
 * A ledger of records of many kinds in a real directory, whole and signed, for tests to tamper with.
 * Must not tamper with anything itself.
 */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  canonicalJson,
  cosigned,
  isInSample,
  sealEntry,
  signCheckpoint,
  signerOf,
  subjectKeyOf,
  TiledLog,
} from '@kedge/ledger';

export const box = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);
export const witness = signerOf('witness.example/w', generateKeyPairSync('ed25519').privateKey, 'witness');

const key = subjectKeyOf(createHash('sha256').update('sample subject').digest());
/** The hash over a value in its canonical form. */
export const sha256 = (value: unknown): string =>
  createHash('sha256').update(canonicalJson(value)).digest('hex');

/** What all records begin with. */
export const head = (kind: string, number: number) => ({
  id: `${kind}/box-7/${String(number).padStart(8, '0')}`,
  appliance: 'box-7',
  at: '2026-11-22T18:00:00.000Z',
  epoch: String(7 + number),
});

const step = (number: number) => ({
  step: `step ${number}`,
  kind: 'route.add',
  path: `/kedge-underlay:routes/route[prefix='10.0.${number % 256}.0/24']`,
  before: null,
  after: { metric: number },
  done: true,
});

/** A mutation as so many records. */
export function mutationOf(number: number, parts: number) {
  const steps = Array.from({ length: parts }, (_, at) => step(number + at));
  return steps.map((each, at) => ({
    schema: 'kedge.network-mutation/1',
    ...head(`mutation-${at + 1}`, number),
    mutation: `m-${number}`,
    part: at + 1,
    parts,
    principal: 'user:ada',
    tier: 'master',
    channel: 'console',
    kind: 'ordinary',
    level: 3,
    target: 'routes/underlay',
    planId: `p-${number}`,
    base: 'ab'.repeat(32),
    stepsSha256: sha256(steps),
    steps: [each],
    result: 'applied',
    failure: null,
    startedAtNs: '5',
    finishedAtNs: '9',
  }));
}

/** A part of a section of a forensic snapshot, as a service has it. */
export function snapshotPartOf(number: number, section: string, source: string, part = 1, parts = 1) {
  return {
    schema: 'kedge.posture-forensic-part/1',
    ...head(`part-${section}-${source}-${part}`, number),
    ...{ snapshot: head('snapshot', number).id, section, source, part, parts },
    ...{ takenAtNs: '7', reason: '' },
    items: [{ name: `${section}-${source}-${part}`, state: 'up', facts: { number } }],
  };
}

/** A forensic snapshot and the parts of it: routes of two services, one of them with two parts. */
export function snapshotOf(number: number) {
  const sections = ['mesh', 'tunnels', 'routes', 'sessions', 'devices', 'processes'];
  const partsOf = (section: string) =>
    section === 'routes'
      ? [
          ...[1, 2].map((part) => snapshotPartOf(number, section, 'overlay', part, 2)),
          snapshotPartOf(number, section, 'underlay'),
        ]
      : [snapshotPartOf(number, section, 'quartermaster')];
  return [
    // As they came in; the record of all of them is made last.
    ...sections.flatMap((section) => partsOf(section).toReversed()),
    {
      schema: 'kedge.posture-forensic-snapshot/1',
      ...head('snapshot', number),
      startedAtNs: '5',
      finishedAtNs: '9',
      complete: true,
      sections: sections.map((section) => {
        const items = partsOf(section).flatMap((part) => part.items);
        const [parts, count] = [partsOf(section).length, items.length];
        return { section, complete: true, reason: '', items: count, parts, sha256: sha256(items) };
      }),
    },
  ];
}

/** A session's transit; a routine one is of a session that belongs to the share. */
export function transitOf(number: number, more: object = {}) {
  let session = number * 1_000;
  while (!isInSample(`s-${session}`, 10)) session += 1;
  return {
    schema: 'kedge.session-transit/1',
    ...head('transit', number),
    session: `s-${session}`,
    kind: 'admitted',
    peer: 'user:bob',
    tier: 'apprentice',
    sessionType: 'shell',
    critical: false,
    posture_level_at_transit: 5,
    sampledPercent: 10,
    reason: '',
    seenAtNs: String(number),
    frames: null,
    ...more,
  };
}

/** A transition with an epoch. */
export function transitionOf(number: number, epoch: number) {
  return {
    schema: 'kedge.posture-transition/1',
    ...head('transition', number),
    epoch: String(epoch),
    from: 5,
    to: 2,
    outcome: 'completed',
    source: { channel: 'console', tier: 'site_owner', principal: 'user:ada', reason: 'drill' },
    receivedAtNs: '1',
    decidedAtNs: '2',
    storedAtNs: '3',
    journaledAtNs: '4',
    completedAtNs: '5',
    durable: true,
    paths: [],
  };
}

/** An answer to somebody. */
export function decisionOf(number: number) {
  return {
    schema: 'kedge.authorisation-decision/1',
    ...head('authorisation', number),
    allow: true,
    rule: 'console-may-tighten',
    reason: '',
    principal: 'user:ada',
    tier: 'master',
    channel: 'console',
    action: 'posture.set',
    resource: 'posture/2',
    level: 3,
    askedAtNs: String(number),
  };
}

/** So many records of all these kinds, in a row. */
export function recordsOf(count: number): object[] {
  const records: object[] = [];
  for (let number = 1; records.length < count; number++) {
    if (number % 50 === 0) records.push(...mutationOf(number, 3));
    else if (number % 170 === 0) records.push(...snapshotOf(number));
    else if (number % 40 === 0) records.push(transitionOf(number, number));
    else records.push(number % 2 === 0 ? transitOf(number) : decisionOf(number));
  }
  return records.slice(0, count);
}

/** A record as its entry. */
export const entryOf = (record: object): Buffer => sealEntry(record, () => key);

/** Writes a ledger of entries under a cosigned checkpoint; the checkpoint. */
export function writeLedger(directory: string, entries: readonly Buffer[], by = box): string {
  const log = TiledLog.open();
  for (const entry of entries) log.append(entry);
  const own = signCheckpoint({ origin: by.name, size: log.size, root: log.root() }, by);
  const checkpoint = cosigned(own, witness, 1_790_000_000);
  for (const { path, bytes } of [
    ...log.takeFiles(),
    { path: 'checkpoint', bytes: Buffer.from(checkpoint) },
  ]) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), bytes);
  }
  return checkpoint;
}

/** Changes a file. */
export function change(directory: string, path: string, by: (bytes: Buffer) => Uint8Array): void {
  writeFileSync(join(directory, path), by(readFileSync(join(directory, path))));
}
