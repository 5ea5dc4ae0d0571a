/**
 * How long questions about 10 million entries of the ledger take, how fast they get into its index, and how much room
 * they take there (LE-7). Must not judge whether the answers are right.
 */
import { type Filter, openLedgerIndex, type Page } from '@kedge/ledger-index';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import type { Bench } from './bench.js';
import { floorOf, goalOf, hostOf, rateRowOf, rowOf, type Row, summaryRow } from './figures.js';
import { MADE, madeEntry, madeKeyId, madeSession } from './made-entries.js';

const SAMPLES = 200;
const ENTRIES = 10_000_000;
const ENTRIES_QUICK = 2_000_000;
const BATCH = 1_000;
const GOAL_MS = 100;
/** Entries a second that the ledger has to take (LE-6), and for how long they come in beside questions. */
const BESIDE = { rate: 20_000, seconds: 10 } as const;

/** Questions of the kind that people ask; each for its count and its first 1,000 rows. */
function questions(count: number): Readonly<Record<string, Filter>> {
  const span = count * MADE.stepMs;
  const at = (part: number): number => MADE.beginMs + Math.floor(span * part) + 123;
  const transits: Filter = { kinds: ['kedge.session-transit/1'] };
  const person = madeKeyId(77);
  return {
    everything: {},
    'session transits at level 3': { ...transits, levels: [3] },
    'all session transits': transits,
    'a third of the time': { fromMs: at(0.3), toMs: at(0.63) },
    'session transits at 3 or tighter in a third of the time': {
      ...transits,
      levels: [1, 2, 3],
      fromMs: at(0.3),
      toMs: at(0.63),
    },
    'sessions that were refused or cut': { ...transits, outcomes: ['refused', 'cut'] },
    'what was denied at level 2, with a time': {
      outcomes: ['deny'],
      levels: [2],
      fromMs: at(0.1),
      toMs: at(0.9),
    },
    'one person': { principals: [person] },
    'one person, session transits at level 3, with a time': {
      ...transits,
      principals: [person],
      levels: [3],
      fromMs: at(0.2),
      toMs: at(0.8),
    },
    'one device': { devices: ['sw5'] },
    'one device, mutations applied at 1 or 2': {
      devices: ['sw5'],
      kinds: ['kedge.network-mutation/1'],
      outcomes: ['applied'],
      levels: [1, 2],
    },
    'one session': { sessions: [madeSession(count / 2)] },
    'a session that never was': { sessions: ['nobody'] },
  };
}

export const ledgerQuery: Bench = async (options) => {
  const { samples = SAMPLES, quick = false, records, keep, progress } = options;
  const host = hostOf();
  const count = records ?? (quick ? ENTRIES_QUICK : ENTRIES);
  const directory = mkdtempSync(join(tmpdir(), 'kedge-ledger-query-'));
  const path = keep ?? join(directory, 'index');
  const rows: Row[] = [];
  try {
    const index = await openLedgerIndex({ path, origin: 'bench' });
    const perEntryNs: number[] = [];
    const begun = performance.now();
    const from = index.upTo;
    progress(
      from === 0 ? `indexing ${count} entries; that takes minutes` : `${from} entries are there already`,
    );
    for (let first = from; first < count; first += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, place) => madeEntry(first + place));
      const since = performance.now();
      await index.add(first, batch);
      perEntryNs.push(((performance.now() - since) * 1e6) / BATCH);
      const done = first + BATCH - from;
      if ((first + BATCH) % (count / 10) !== 0) continue;
      const seconds = (performance.now() - begun) / 1_000;
      const left = Math.round((seconds / done) * (count - from - done));
      progress(`indexed: ${first + BATCH} in ${Math.round(seconds)} s, about ${left} s to go`);
    }
    const buildSeconds = (performance.now() - begun) / 1_000;
    const meanNs = perEntryNs.reduce((sum, each) => sum + each, 0) / perEntryNs.length;
    if (perEntryNs.length > 0) rows.push(rateRowOf(`entries indexed, ${BATCH} at a time`, perEntryNs));

    const asked = async (filter: Filter, page: Page): Promise<number> => {
      const from = performance.now();
      await index.query(filter, page);
      return (performance.now() - from) * 1e6;
    };
    let worst = 0;
    for (const [name, filter] of Object.entries(questions(count))) {
      const taken: number[] = [];
      // The newest first and the oldest first, in turn.
      for (let at = 0; at < samples; at++)
        taken.push(await asked(filter, { order: at % 2 === 0 ? 'descending' : 'ascending' }));
      const row = rowOf(name, taken, 'ms');
      worst = Math.max(worst, row.p99);
      rows.push(row);
      progress(`asked: ${name}`);
    }

    // As in service: entries come in all the time, and somebody asks.
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const beside: number[] = [];
    const besideFrom = performance.now();
    const upTo = index.upTo;
    let next = upTo;
    delay.enable();
    const list = Object.values(questions(count));
    while (performance.now() - besideFrom < BESIDE.seconds * 1_000) {
      const due = upTo + ((performance.now() - besideFrom) / 1_000) * BESIDE.rate;
      const adding: Promise<number>[] = [];
      while (next + BATCH <= due) {
        const first = next;
        const batch = Array.from({ length: BATCH }, (_, place) => madeEntry(first + place));
        adding.push(index.add(first, batch));
        next += BATCH;
      }
      const filter = list[beside.length % list.length] ?? {};
      beside.push(await asked(filter, { order: 'descending' }));
      await Promise.all(adding);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    delay.disable();
    const besideRow = rowOf(
      `all questions in turn, while ${BESIDE.rate} entries a second come in`,
      beside,
      'ms',
    );
    rows.push(besideRow);
    const heldUp = (q: number): number => Math.max(0, delay.percentile(q) - 1e6);
    const held = { p50: heldUp(50), p99: heldUp(99), p999: heldUp(99.9), max: heldUp(100) };
    rows.push(summaryRow('the event loop of the service, held up meanwhile', beside.length, held, 'ms'));
    await index.close();
    const bytes = statSync(path).size / next;

    const opening: number[] = [];
    for (let at = 0; at < 3; at++) {
      const from = performance.now();
      const again = await openLedgerIndex({ path, origin: 'bench' });
      opening.push((performance.now() - from) * 1e6);
      await again.close();
    }
    rows.push(rowOf('opened, and checked whole', opening, 'ms'));
    return {
      bench: 'ledger-query',
      host,
      rows,
      ratios: {
        'bytes of the index for an entry': bytes,
        'entries in it': next,
        'seconds that building it took': buildSeconds,
      },
      goals: [
        goalOf('the slowest question p99, ms', GOAL_MS, worst),
        goalOf('questions while entries come in p99, ms', GOAL_MS, besideRow.p99),
        // One that was kept was measured when it was built.
        ...(perEntryNs.length === 0
          ? []
          : [floorOf('entries indexed, in a second', BESIDE.rate, Math.round(1e9 / meanNs))]),
      ],
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
};
