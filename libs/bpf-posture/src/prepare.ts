/**
 * Makes the two maps, as root, before the coordinator starts: mounts a BPF file system where none is, and pins.
 * It must not touch a map that is as it should be: who writes to it keeps it.
 */
import { type BpfArray, createBpfArray, openBpfArray, SegmentError } from '@kedge/shared-memory-ipc';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, statfsSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

import { IN_FORCE_SHAPE } from './in-force.js';
import { LEVEL_SHAPE, levelValueOf } from './level-request.js';

const BPF_FS_MAGIC = 0xcafe_4a11;
/** Asks for nothing. */
const NO_REQUEST = levelValueOf(5);

/** Names of the pins in their directory. */
export const PINS = { level: 'posture_level', inForce: 'posture_in_force' } as const;

/**
 * Makes what is missing, and replaces a pin that is not what it should be. The pins belong to `uid`, whose process maps
 * them; root, and programs that hold the maps, write to `posture_level`; everybody may read both.
 *
 * @returns the names of the pins that were made.
 * @throws SegmentError BPFMAP_UNAVAILABLE and others; Error where the file system cannot be mounted.
 */
export function preparePostureMaps(options: {
  readonly directory: string;
  readonly uid: number;
  readonly gid: number;
}): readonly string[] {
  const { directory, uid, gid } = options;
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  if (statfsSync(directory).type !== BPF_FS_MAGIC) {
    execFileSync('mount', ['-t', 'bpf', '-o', 'mode=0755', 'bpf', directory], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
  chmodSync(directory, 0o755);
  const made: string[] = [];
  const pin = (name: string, shape: typeof LEVEL_SHAPE): BpfArray | undefined => {
    const path = join(directory, name);
    try {
      openBpfArray({ path, shape, owner: uid, access: 'look-up' }).close();
      return undefined;
    } catch (error) {
      if (!(error instanceof SegmentError) || error.code === 'BPFMAP_UNAVAILABLE') throw error;
      if (error.code !== 'BPFMAP_MISSING') unlinkSync(path);
    }
    made.push(name);
    return createBpfArray({ path, name: name.slice(0, 15), shape, uid, gid, mode: 0o644 });
  };
  const level = pin(PINS.level, LEVEL_SHAPE);
  level?.update(0, NO_REQUEST);
  level?.close();
  pin(PINS.inForce, IN_FORCE_SHAPE)?.close();
  return made;
}
