/**
 * What a report says about the machine that it was made on.
 * It must not say anything by which the machine could be entered: no address, no user, no path.
 */
import { arch, cpus, hostname, loadavg, release, totalmem, version } from 'node:os';

import type { Facts } from './report-html.js';
import { VERSION } from './version.js';

const GIB = 1024 ** 3;

/** The facts, in the order in which they are shown. */
export function hostFacts(appliance: string): Facts {
  const [first] = cpus();
  return [
    ['when', `${new Date().toISOString().slice(0, 19).replace('T', ' ')} UTC`],
    ['appliance', appliance],
    ['host', hostname()],
    ['kernel', `${release()} ${arch()}, ${version()}`],
    ['processors', `${cpus().length} × ${first?.model.trim() ?? 'unknown'}`],
    ['memory', `${(totalmem() / GIB).toFixed(1)} GiB`],
    [
      'load before the report',
      loadavg()
        .map((each) => each.toFixed(2))
        .join(' '),
    ],
    ['Node', process.version],
    ['Kedge', VERSION],
  ];
}
