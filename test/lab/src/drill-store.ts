/**
 * Where the reports of drills stay: in the state directory of the appliance that was drilled.
 * It must not judge a report.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { DrillReport } from './drill.js';
import { STATE } from './topology.js';

/** Reports that are kept; the oldest goes when there is one more. */
export const DRILLS_KEPT = 32;

const DRILLS = `${STATE}/drills`;
const NAME = /^drill-\d{15}\.json$/;

/**
 * Stores a report under the epoch at which its drill ended, and lets go of the oldest beyond {@link DRILLS_KEPT}.
 *
 * @param reach turns a path of the appliance into one that this process can open.
 * @returns the path inside the appliance.
 */
export function storeDrillReport(reach: (path: string) => string, report: DrillReport): string {
  const directory = reach(DRILLS);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const name = `drill-${(report.steps.at(-1)?.epoch ?? '0').padStart(15, '0')}.json`;
  const path = join(directory, name);
  writeFileSync(`${path}.new`, `${JSON.stringify(report, null, 2)}\n`);
  renameSync(`${path}.new`, path);
  const stored = readdirSync(directory).filter((entry) => NAME.test(entry));
  for (const old of stored.sort().slice(0, -DRILLS_KEPT)) rmSync(join(directory, old), { force: true });
  return `${DRILLS}/${name}`;
}
