/**
 * What has to be remembered of a device: which intent was carried out on it, what may be on it beyond that, what was
 * being done, and which differences were told. As data, and as text with its own hash.
 * It must not touch storage, nor guess what damaged text meant.
 */
import { DRIFT_SEVERITIES } from '@kedge/contracts';
import { type DeviceEvent, type Drift } from '@kedge/drift';
import { objectsOf, staticInstances, treeOf } from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import type { Sha256 } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';
import { z } from 'zod';

const sha = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hexadecimal');
const wallMs = z.number().min(0);
const path = z.string().min(1);
/** A tree that objects can be made of. */
const tree = z.custom<deviceTree.DeviceTree>((value) => {
  try {
    return typeof value === 'object' && value !== null && objectsOf(value).size >= 0;
  } catch {
    return false;
  }
}, 'expected the tree of a device');

const driftSchema = z.strictObject({
  device: z.string(),
  path,
  intended: z.json(),
  actual: z.json(),
  sinceMs: wallMs,
  seenMs: wallMs,
  severity: z.enum(DRIFT_SEVERITIES),
  cause: z.enum(['unmanaged-change', 'failed-commit', 'device-replaced', 'unknown']),
  remediation: z.enum(['none', 'proposed', 'automatic']),
  exception: z.string().optional(),
}) as unknown as z.ZodType<Drift>;

const historySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('accorded'), atMs: wallMs }),
  z.strictObject({ kind: z.literal('failed'), atMs: wallMs, paths: z.array(path) }),
]) satisfies z.ZodType<DeviceEvent>;

const carriedSchema = z.strictObject({
  revision: z.int().min(1),
  /** {@link Intended.key} of it. */
  key: sha,
  tree,
});

const memorySchema = z.strictObject({
  schema: z.literal('kedge.device-memory/1'),
  device: z.string().min(1),
  /** The highest time by the wall clock that was seen when this was kept, milliseconds since 1970. */
  wallMs,
  /** The intent that was carried out last, wholly; null = none. */
  carried: carriedSchema.nullable(),
  /** What plans that did not come to a known end may have brought beyond it; null = nothing. */
  uncertain: tree.nullable(),
  /** The plan that is being carried out; written before it begins. A remedy stays within what was carried out. */
  attempt: z
    .strictObject({
      id: z.string().min(8),
      planId: z.string(),
      /** The intent that it brings; null for a remedy. */
      intent: carriedSchema.nullable(),
      /** The places of its steps. */
      paths: z.array(path),
      /** Automatic remedies that it is, by the places of the differences. */
      remedies: z.array(path),
    })
    .nullable(),
  /** Differences as they were told to the ledger. */
  drifts: z.array(driftSchema),
  /** Differences that were being told when this was kept: the ledger may have them, or not. */
  perhaps: z.array(driftSchema),
  /** What explains differences; nothing older than when it was as intended last. */
  history: z.array(historySchema),
  /** Places of the automatic remedies of the last hour. */
  remedies: z.array(path),
});

/** See {@link memorySchema}. */
export type DeviceMemory = Readonly<z.output<typeof memorySchema>>;
/** An intent that was, or is being, carried out. */
export type CarriedIntent = Readonly<z.output<typeof carriedSchema>>;
/** A plan that is being carried out. */
export type Attempt = NonNullable<DeviceMemory['attempt']>;

/** Of a device of which nothing is known. */
export function emptyMemory(device: string): DeviceMemory {
  return {
    schema: 'kedge.device-memory/1',
    device,
    wallMs: 0,
    carried: null,
    uncertain: null,
    attempt: null,
    drifts: [],
    perhaps: [],
    history: [],
    remedies: [],
  };
}

/** Memory as it is kept: its text behind its own hash. */
export function memoryText(memory: DeviceMemory, sha256: Sha256): string {
  const text = JSON.stringify(memory);
  return `${sha256(text)} ${text}`;
}

/**
 * Memory out of its text.
 *
 * @throws KedgeError `ROLLOUT_MEMORY_DAMAGED` where it is not what its hash proves, of another form, or of another device.
 */
export function parsedMemory(text: string, device: string, sha256: Sha256): DeviceMemory {
  const body = text.slice(65);
  try {
    if (text[64] !== ' ' || sha256(body) !== text.slice(0, 64)) throw new TypeError('its hash is another');
    const memory = memorySchema.parse(JSON.parse(body));
    if (memory.device !== device) throw new TypeError('it is of another device');
    return memory;
  } catch (cause) {
    throw new KedgeError({
      code: 'ROLLOUT_MEMORY_DAMAGED',
      message: `cannot use what was remembered of ${device}`,
      expected: 'what was written, whole',
      help: 'look at the disk; the device goes on as one of which nothing is known',
      cause,
    });
  }
}

/** All that two trees speak of; where both speak of a place, what the second says. */
export function spokenOf(
  first: deviceTree.DeviceTree | null | undefined,
  second: deviceTree.DeviceTree | null | undefined,
): deviceTree.DeviceTree | undefined {
  if (first === null || first === undefined) return second ?? undefined;
  if (second === null || second === undefined || first === second) return first;
  // Routes stand under one name of their instance.
  const instance = staticInstances(second)[0] ?? staticInstances(first)[0];
  return treeOf(new Map([...objectsOf(first, instance), ...objectsOf(second, instance)]).values());
}

/** The most events that are remembered, and places of one of them. */
const HISTORY_MOST = 16;
const PATHS_MOST = 2_000;

/** History with another event. Who was as intended needs to know nothing older. */
export function historyAfter(history: readonly DeviceEvent[], event: DeviceEvent): DeviceMemory['history'] {
  if (event.kind === 'accorded') {
    const isKnown = history.length > 0 && history.every(({ kind }) => kind === 'accorded');
    return isKnown ? [...history.slice(0, 1)].map(copied) : [event];
  }
  const [first, ...others] = [...history, { ...event, paths: event.paths.slice(0, PATHS_MOST) }];
  const kept = others.slice(-HISTORY_MOST);
  return (first === undefined ? kept : [first, ...kept]).map(copied);
}

function copied(event: DeviceEvent): DeviceMemory['history'][number] {
  return event.kind === 'accorded' ? event : { ...event, paths: [...event.paths] };
}
