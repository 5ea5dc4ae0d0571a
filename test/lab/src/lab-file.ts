/**
 * The note that says which lab runs: /run/kedge-lab/NAME/lab.json on the host.
 * It must not believe a note whose process is gone or is another one by now.
 */
import { KedgeError } from '@kedge/units';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { startTimeOf } from './processes.js';
import type { LabSettings } from './settings.js';

const HOME = '/run/kedge-lab';

/** What the note says. */
export interface LabNote {
  readonly name: string;
  /** The init of the lab as seen from this machine. */
  readonly pid: number;
  /** Its start time in clock ticks since boot; a recycled pid has another. A string in JSON. */
  readonly startTime: string;
  /** The process that started it. */
  readonly starterPid: number;
  readonly settings: LabSettings;
}

export const labDirectory = (name: string): string => join(HOME, name);
export const wardenConfigPath = (name: string): string => join(labDirectory(name), 'warden.conf');
export const labLogPath = (name: string): string => join(labDirectory(name), 'lab.log');
const notePath = (name: string): string => join(labDirectory(name), 'lab.json');

/** Makes the lab's directory on the host, closed to everybody else. */
export function makeLabDirectory(name: string): void {
  mkdirSync(HOME, { recursive: true, mode: 0o700 });
  mkdirSync(labDirectory(name), { recursive: true, mode: 0o700 });
}

export function writeNote(note: LabNote): void {
  const path = notePath(note.name);
  writeFileSync(`${path}.new`, `${JSON.stringify(note, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Takes the directory away, and the one above it when it was the last. */
export function removeLabDirectory(name: string): void {
  rmSync(labDirectory(name), { recursive: true, force: true });
  try {
    if (readdirSync(HOME).length === 0) rmSync(HOME, { recursive: true });
  } catch {
    // Not there, or in use by another lab.
  }
}

/** A lab's note: `up` with a live process, `stale` when its process is gone, `none`. */
export type NoteState =
  { readonly state: 'up'; readonly note: LabNote } | { readonly state: 'stale' } | { readonly state: 'none' };

/**
 * What is known about a lab of this name.
 *
 * @throws KedgeError `LAB_FORBIDDEN` when the note may not be read.
 */
export function readNote(name: string): NoteState {
  let text: string;
  try {
    text = readFileSync(notePath(name), 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'EACCES' || cause.code === 'EPERM')) {
      throw new KedgeError({
        code: 'LAB_FORBIDDEN',
        message: `cannot look for the lab in ${HOME}: it belongs to root`,
        help: 'run the command as root: sudo npx kedge …',
        cause,
      });
    }
    return { state: 'none' };
  }
  let note: LabNote;
  try {
    note = JSON.parse(text) as LabNote;
  } catch {
    return { state: 'stale' };
  }
  const startTime = startTimeOf(note.pid);
  return startTime !== undefined && String(startTime) === note.startTime
    ? { state: 'up', note }
    : { state: 'stale' };
}
