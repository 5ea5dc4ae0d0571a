/**
 * Where an appliance keeps what can be looked at: sockets, board, configuration, state, logs.
 * It must not open any of it.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { Target } from './target.js';

/** Directories of one appliance as this process can open them; some may not exist. */
export interface Places {
  /** For people. */
  readonly title: string;
  readonly sockets: string;
  readonly board: string;
  readonly etc: string;
  readonly state: string;
  readonly log: string;
  /** A process that lives in the appliance's own namespaces; undefined = this machine is the appliance. */
  readonly pid: number | undefined;
  /** A path as the appliance's configuration names it, as one that this process can open. */
  reach(path: string): string;
}

/** Where `target` keeps its things: all under one run directory, as in the lab, or where an appliance has them. */
export function placesOf({ title, directory }: Target): Places {
  const [, root = '', pid] = /^(\/proc\/(\d+)\/root)\//.exec(directory) ?? [];
  const run = dirname(directory);
  const place = (here: string, there: string): string => {
    const beside = join(run, here);
    return existsSync(beside) ? beside : `${root}${there}`;
  };
  return {
    title,
    sockets: directory,
    board: join(run, 'board'),
    etc: place('etc', '/etc/kedge'),
    state: place('state', '/var/lib/kedge'),
    log: place('log', '/var/log/kedge'),
    pid: pid === undefined ? undefined : Number(pid),
    reach: (path) => `${root}${path}`,
  };
}
