/**
 * The writer's half of the two-bank rule, against a real process that uses a bank.
 */
import { levelTableHolds } from '@kedge/dataplane';
import { parseAccords } from '@kedge/posture';
import { layout, monotonicNs, openSegment } from '@kedge/shared-memory-ipc';
import { LEVELS } from '@kedge/units';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BankSwap } from '../src/bank-swap.js';
import { DataPlanes } from '../src/data-planes.js';
import { type BuiltTables, buildTables } from '../src/tables.js';
import { Place, randomOf, until } from './actor.js';

let place: Place;
let dataplanes: DataPlanes;
let swap: BankSwap;
let tables: BuiltTables;

beforeEach(() => {
  place = new Place();
  const read = (file: 'accords' | 'zones'): unknown => JSON.parse(readFileSync(place.config[file], 'utf8'));
  tables = buildTables(parseAccords(read('accords'), read('zones')), { flows: 0, random: randomOf(1) });
  dataplanes = new DataPlanes(place.board, new Map([['reference', process.getuid?.() ?? 0]]));
  swap = newSwap();
});
afterEach(async () => {
  dataplanes.close();
  swap.close();
  await place.remove();
});

function newSwap(): BankSwap {
  return new BankSwap({ directory: place.board, bankUsers: () => dataplanes.bankUsers(), now: monotonicNs });
}

/** What a data plane finds: the generation in force, and whether its bank holds at every level. */
function asReader(): { generation: bigint; holds: boolean } {
  const reader = openSegment({ directory: place.board, name: 'tables', kind: 'tables', owner: 'any' });
  try {
    const generation = reader.load64(layout.tables.generation);
    const bank = layout.tables.bank + Number(generation % 2n) * layout.bank.size;
    const holds = LEVELS.every((level) =>
      levelTableHolds(
        reader.bytes(bank + layout.bank.level + (level - 1) * layout.levelTable.size, layout.levelTable.size),
        level,
        generation,
      ),
    );
    return { generation, holds };
  } finally {
    reader.close();
  }
}

describe('bank swap', () => {
  it('DP-2 a generation is published whole, in the bank that is not in force', () => {
    expect(swap.published).toBeUndefined();
    for (const generation of [1n, 2n, 3n]) {
      expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation });
      expect(asReader()).toEqual({ generation, holds: true });
      expect(swap.published?.hash.equals(tables.hash)).toBe(true);
    }
  });

  it('DP-2 a bank is not reused while a live worker is in it, however stale the worker is', async () => {
    swap.attempt(tables);
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 2n });
    // The worker never moved on; bank 1 is the next one and still its own. Stopped, it beats no more.
    actor.process.kill('SIGSTOP');
    await until('the actor is stopped', () =>
      /^\d+ \(.*\) T/.test(readFileSync(`/proc/${String(actor.process.pid)}/stat`, 'latin1')),
    );
    for (let tries = 0; tries < 3; tries++) {
      const attempt = swap.attempt(tables);
      expect(attempt.outcome).toBe('waiting');
      expect(attempt).toHaveProperty(
        'why',
        `generation 3 waits until its bank is free of reference/0 (uses generation 1, process ${String(actor.process.pid)})`,
      );
    }
    expect(asReader()).toEqual({ generation: 2n, holds: true });
    // Dead, not silent, is what frees a bank.
    await actor.kill();
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 3n });
  });

  it('DP-2 a worker that moved on, or that uses no tables, holds nobody up', async () => {
    swap.attempt(tables);
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    swap.attempt(tables);
    expect(swap.attempt(tables).outcome).toBe('waiting');
    await actor.tell('generation', 0, 2);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 3n });
    expect(swap.attempt(tables).outcome).toBe('waiting');
    await actor.tell('generation', 0, 0);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 4n });
  });

  it('DP-2 every slot counts, also one beyond the number of workers that the data plane names', async () => {
    swap.attempt(tables);
    const actor = await place.actor();
    await actor.tell('generation', 15, 1);
    swap.attempt(tables);
    expect(swap.attempt(tables).outcome).toBe('waiting');
  });

  it('DP-2 a process whose file was removed under it still counts while it lives', async () => {
    swap.attempt(tables);
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    dataplanes.refresh();
    rmSync(join(place.board, 'dataplane-reference'));
    swap.attempt(tables);
    expect(swap.attempt(tables)).toHaveProperty(
      'why',
      expect.stringContaining(`process ${String(actor.process.pid)}`),
    );
    await actor.kill();
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 3n });
  });

  it('DP-2 a data plane that cannot be read is waited for, not guessed about', async () => {
    swap.attempt(tables);
    const actor = await place.actor();
    await actor.tell('generation', 0, 0);
    const wrong = new DataPlanes(place.board, new Map([['reference', 12_345]]));
    expect(wrong.bankUsers()).toEqual([{ who: 'reference', generation: undefined, pid: 0 }]);
    wrong.close();
  });

  it('DP-7 tables survive their writer, and the next one goes on from them', () => {
    swap.attempt(tables);
    swap.attempt(tables);
    swap.close();
    expect(asReader()).toEqual({ generation: 2n, holds: true });
    swap = newSwap();
    expect(swap.published?.generation).toBe(2n);
    expect(swap.published?.levels.every(({ valid }) => valid)).toBe(true);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 3n });
  });

  it('DP-2 a writer that died in the middle of an attempt leaves the generation in force, whose bank is not the next', async () => {
    swap.attempt(tables);
    swap.close();
    // Died after the bank was whole and before it was put in force; and once more, in the middle of the tables.
    const { createSegment } = await import('@kedge/shared-memory-ipc');
    const segment = createSegment({ directory: place.board, name: 'tables', kind: 'tables' });
    segment.store64(layout.tables.bank + layout.bank.generation, 2n);
    segment.close();
    swap = newSwap();
    expect(swap.published?.generation).toBe(1n);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 4n });
    expect(asReader()).toEqual({ generation: 4n, holds: true });
    swap.close();
    const again = createSegment({ directory: place.board, name: 'tables', kind: 'tables' });
    again.store64(layout.tables.bank + layout.bank.size + layout.bank.generation, 0n);
    again.write(layout.tables.bank + layout.bank.size + layout.bank.level, Buffer.alloc(4_096, 0xff));
    again.close();
    swap = newSwap();
    expect(swap.published?.generation).toBe(4n);
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 5n });
    expect(asReader()).toEqual({ generation: 5n, holds: true });
  });

  it('tables in force that were damaged count as none', async () => {
    swap.attempt(tables);
    swap.close();
    const { createSegment } = await import('@kedge/shared-memory-ipc');
    const segment = createSegment({ directory: place.board, name: 'tables', kind: 'tables' });
    const bank = layout.tables.bank + layout.bank.size;
    for (const level of LEVELS)
      segment.write(
        bank + layout.bank.level + (level - 1) * layout.levelTable.size + layout.levelTable.pair,
        Buffer.from([1, 2, 3]),
      );
    segment.close();
    swap = newSwap();
    expect(swap.published).toBeUndefined();
    expect(swap.attempt(tables)).toEqual({ outcome: 'published', generation: 2n });
  });
});
