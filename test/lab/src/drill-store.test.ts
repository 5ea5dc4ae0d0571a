import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import type { DrillReport } from './drill.js';
import { DRILLS_KEPT, storeDrillReport } from './drill-store.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kedge-drills-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

const reach = (path: string): string => join(root, path);
const ended = (epoch: number): DrillReport => ({
  ok: true,
  dataplane: 'reference',
  steps: [
    {
      epoch: String(epoch),
      from: 2,
      to: 5,
      paths: {},
      traffic: {},
    } as unknown as DrillReport['steps'][number],
  ],
  routes: {
    before: { overlay: 'ab', underlay: 'cd' },
    after: { overlay: 'ab', underlay: 'cd' },
    identical: true,
  },
  ledger: { levels: [], ok: true },
  violations: [],
});

it('PO-21 a report stays in the state of the appliance, whole, under the epoch at which its drill ended', () => {
  const path = storeDrillReport(reach, ended(13));
  expect(path).toBe('/run/kedge/state/drills/drill-000000000000013.json');
  expect(JSON.parse(readFileSync(reach(path), 'utf8'))).toEqual(JSON.parse(JSON.stringify(ended(13))));
});

it('PO-21 the oldest reports go first when there are too many', () => {
  for (let epoch = 1; epoch <= DRILLS_KEPT + 5; epoch += 1) storeDrillReport(reach, ended(epoch));
  const names = readdirSync(reach('/run/kedge/state/drills')).sort();
  expect(names).toHaveLength(DRILLS_KEPT);
  expect(names[0]).toBe('drill-000000000000006.json');
});
