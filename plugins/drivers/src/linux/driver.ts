/**
 * The driver of a Linux host: bridges and their VLANs, VLAN interfaces, tunnels, addresses, static routes and links,
 * by iproute2.
 * It must not touch what does not bear its marks, but for interfaces that the inventory names.
 */
import type { Driver, ToolWords } from '@kedge/driver-kit';

import { linesOf } from './encode.js';
import { questionsOf, readingOf } from './lift.js';
import { shapeOf, upsetsOf } from './shape.js';

/** See {@link Driver}. Answers are what the tools print, in JSON. */
export const linuxDriver: Driver<ToolWords, string, ToolWords> = {
  manifest: {
    name: 'linux',
    version: 1,
    access: 'local',
    marks: true,
    capabilities: [
      'kedge-inventory:bridging',
      'kedge-inventory:vlan-bridging',
      'kedge-inventory:port-state',
      'kedge-inventory:addressing',
      'kedge-inventory:static-routing',
      'kedge-inventory:tunnelling',
    ],
  },
  questions: questionsOf,
  lift: readingOf,
  shape: shapeOf,
  upsets: upsetsOf,
  encode: linesOf,
};
