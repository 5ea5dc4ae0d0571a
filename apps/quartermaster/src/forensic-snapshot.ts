/**
 * The forensic snapshot of level 1 (LE-8): waits a bounded time for the parts that the services put into their spools,
 * adds what this service sees itself, and records what the parts make up, or what is missing and why.
 * It must not hold up a transition: nobody waits for it.
 */
import {
  type ForensicPart,
  type ForensicSnapshot,
  type LedgerRecord,
  SNAPSHOT_SECTIONS,
} from '@kedge/contracts';
import { canonicalJson, type ForensicItem, forensicRecords } from '@kedge/ledger';
import type { LedgerStore } from '@kedge/ledger-store';
import { type Clock, hasCode } from '@kedge/units';
import { createHash } from 'node:crypto';

import type { QuartermasterLog } from './log.js';

/** Parts of one snapshot that are looked at: more than eight million items. */
const PARTS_MAX = 2_048;
/** Snapshots whose parts are remembered: they may come before it is known what they belong to. */
const SNAPSHOTS_MAX = 4;

/** The source of what this service sees by itself. */
const OWN = 'quartermaster';

type Section = (typeof SNAPSHOT_SECTIONS)[number];

/** Which services have something of a section. A total table; a section of nobody is empty, and whole. */
export const SECTION_SOURCES: Readonly<Record<Section, readonly string[]>> = {
  mesh: ['overlay'],
  tunnels: ['overlay'],
  routes: ['overlay', 'underlay'],
  sessions: [],
  devices: ['underlay'],
  processes: [OWN],
};

/** The snapshot that was taken last. */
export interface TakenSnapshot {
  readonly id: string;
  readonly complete: boolean;
  /** "routes: no part of underlay came in time" */
  readonly missing: readonly string[];
  readonly tookNs: bigint;
}

/** What the snapshots are given; all of it stays its owner's. */
export interface SnapshotParts {
  readonly appliance: string;
  readonly store: Pick<LedgerStore, 'append' | 'onDurable'>;
  readonly clock: Clock;
  /** How long parts are waited for, milliseconds. */
  readonly waitMs: number;
  /** The services that this appliance has; of others no part is expected. */
  readonly services: readonly string[];
  /** What this service sees by itself: the processes of the controller. */
  readonly processes: () => readonly ForensicItem[];
  /** What the ledger holds of the snapshot of an epoch: its parts, and it itself where it was recorded. */
  readonly recorded: (epoch: bigint) => Promise<readonly LedgerRecord[]>;
  readonly log: QuartermasterLog;
}

/** The id of a snapshot: the same for every service, without a word between them. */
export function snapshotId(appliance: string, epoch: bigint): string {
  return `forensic-snapshot/${appliance}/${epoch}`;
}

/** Parts of one snapshot as they came, by section, source and number. */
export class GatheredParts {
  readonly #parts = new Map<string, ForensicPart>();

  add(part: ForensicPart): void {
    if (this.#parts.size >= PARTS_MAX) return;
    this.#parts.set(`${part.section} ${part.source} ${String(part.part).padStart(5, '0')}`, part);
  }

  /** Why a section is not whole; empty where it is. */
  lacks(section: Section, expected: readonly string[]): readonly string[] {
    const sources = new Set([...expected, ...this.#of(section).map(({ source }) => source)]);
    return [...sources].flatMap((source) => {
      const came = this.#of(section).filter((part) => part.source === source);
      const [first] = came;
      if (first === undefined) return [`no part of ${source} came in time`];
      if (came.length < first.parts)
        return [`${came.length} of ${first.parts} parts of ${source} came in time`];
      return came.flatMap(({ reason }) => (reason === '' ? [] : [`${source}: ${reason}`])).slice(0, 1);
    });
  }

  /** A section as it stands in the record. */
  section(section: Section, expected: readonly string[]): ForensicSnapshot['sections'][number] {
    const parts = this.#of(section);
    const items = parts.flatMap((part) => part.items);
    const reason = this.lacks(section, expected).join('; ');
    return {
      section,
      complete: reason === '',
      reason: reason.slice(0, 512),
      items: items.length,
      parts: parts.length,
      sha256: createHash('sha256').update(canonicalJson(items)).digest('hex'),
    };
  }

  /** By source and part. */
  #of(section: Section): readonly ForensicPart[] {
    return [...this.#parts]
      .filter(([, part]) => part.section === section)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, part]) => part);
  }
}

/** What a record says of its snapshot. */
function takenFrom({ id, complete, sections, startedAtNs, finishedAtNs }: ForensicSnapshot): TakenSnapshot {
  return {
    id,
    complete,
    missing: sections.flatMap(({ section, reason }) => (reason === '' ? [] : [`${section}: ${reason}`])),
    tookNs: BigInt(finishedAtNs) - BigInt(startedAtNs),
  };
}

/** Takes a snapshot whenever it is told that the appliance goes to level 1. `close` once. */
export class ForensicSnapshots {
  readonly #parts: SnapshotParts;
  readonly #forget: () => void;
  /** Parts by the id of their snapshot. */
  readonly #gathered = new Map<string, GatheredParts>();
  readonly #waiting = new Map<string, () => void>();
  #last: TakenSnapshot | undefined;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.#forget = parts.store.onDurable((records) => {
      for (const { record } of records)
        if (record.schema === 'kedge.posture-forensic-part/1') this.#add(record);
    });
  }

  get last(): TakenSnapshot | undefined {
    return this.#last;
  }

  /**
   * Takes the snapshot of an epoch; resolves when it is recorded. A second time is the same record.
   *
   * @param startedAtNs when the decision was made.
   * @throws KedgeError as the store does.
   */
  async take(epoch: bigint, startedAtNs: bigint): Promise<TakenSnapshot> {
    const { appliance, store, clock, waitMs, log } = this.#parts;
    const id = snapshotId(appliance, epoch);
    const gathered = this.#of(id);
    await this.#addOwn(id, epoch);
    await this.#complete(id, gathered, waitMs);
    const sections = SNAPSHOT_SECTIONS.map((section) => gathered.section(section, this.#expected(section)));
    const finishedAtNs = clock.monotonicNs();
    const record: ForensicSnapshot = {
      schema: 'kedge.posture-forensic-snapshot/1',
      id,
      appliance,
      at: new Date(clock.wallMs()).toISOString(),
      epoch: String(epoch),
      startedAtNs: String(startedAtNs),
      finishedAtNs: String(finishedAtNs),
      complete: sections.every(({ complete }) => complete),
      sections,
    };
    await store.append(record);
    const taken = takenFrom(record);
    this.#last = taken;
    const { complete, missing } = taken;
    if (complete) log.info({ snapshot: id }, 'the forensic snapshot is complete');
    else log.warn({ snapshot: id, missing }, 'the forensic snapshot is not complete');
    return taken;
  }

  /**
   * Goes on with the snapshot of an epoch that was decided before this service started: with what an earlier life has
   * recorded of it, and where that is the snapshot itself, with nothing more.
   *
   * @throws KedgeError as {@link take}
   */
  async resume(epoch: bigint, startedAtNs: bigint): Promise<TakenSnapshot> {
    const { appliance, recorded, log } = this.#parts;
    const id = snapshotId(appliance, epoch);
    const known = await recorded(epoch).catch((error: unknown) => {
      log.warn({ err: error, snapshot: id }, 'what the ledger holds of the snapshot is not known');
      return [];
    });
    for (const record of known) {
      if (record.schema === 'kedge.posture-forensic-part/1') this.#add(record);
      if (record.schema === 'kedge.posture-forensic-snapshot/1' && record.id === id)
        return (this.#last = takenFrom(record));
    }
    return await this.take(epoch, startedAtNs);
  }

  close(): void {
    this.#forget();
    for (const wake of [...this.#waiting.values()]) wake();
  }

  #expected(section: Section): readonly string[] {
    const { services } = this.#parts;
    return SECTION_SOURCES[section].filter((source) => source === OWN || services.includes(source));
  }

  /** The parts of this service come in like those of all others: when they are durable. */
  async #addOwn(snapshot: string, epoch: bigint): Promise<void> {
    const { appliance, store, clock, processes } = this.#parts;
    const facts = {
      appliance,
      at: new Date(clock.wallMs()).toISOString(),
      epoch: String(epoch),
      snapshot,
      section: 'processes',
      source: OWN,
      takenAtNs: String(clock.monotonicNs()),
      reason: '',
    } as const;
    const records = forensicRecords(
      `forensic-part/${appliance}/${epoch}/${OWN}/processes`,
      facts,
      processes(),
    );
    const kept = [...records].flatMap((record) => (record === undefined ? [] : [store.append(record)]));
    const outcomes = await Promise.allSettled(kept);
    for (const outcome of outcomes) {
      // An earlier life of this service has recorded what it saw then, and that was nearer to the decision.
      if (outcome.status === 'rejected' && !hasCode(outcome.reason, 'LEDGER_ID_REUSED')) throw outcome.reason;
    }
  }

  #lacks(gathered: GatheredParts): boolean {
    return SNAPSHOT_SECTIONS.some((section) =>
      gathered.lacks(section, this.#expected(section)).some((why) => why.endsWith(' in time')),
    );
  }

  async #complete(id: string, gathered: GatheredParts, waitMs: number): Promise<void> {
    if (!this.#lacks(gathered)) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve();
      };
      const timer = setTimeout(wake, waitMs);
      this.#waiting.set(id, wake);
    });
  }

  #add(part: ForensicPart): void {
    const gathered = this.#of(part.snapshot);
    gathered.add(part);
    if (!this.#lacks(gathered)) this.#waiting.get(part.snapshot)?.();
  }

  #of(id: string): GatheredParts {
    const known = this.#gathered.get(id);
    if (known !== undefined) return known;
    const gathered = new GatheredParts();
    this.#gathered.set(id, gathered);
    for (const old of this.#gathered.keys()) {
      if (this.#gathered.size <= SNAPSHOTS_MAX || this.#waiting.has(old)) break;
      this.#gathered.delete(old);
    }
    return gathered;
  }
}
