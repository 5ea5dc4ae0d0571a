/**
 * Watches the map `posture_level`: every change once, and a map that was pinned anew in its place.
 * It must not judge what it sees.
 */
import { type BpfArray, type BpfWatch, openBpfArray, SegmentError } from '@kedge/shared-memory-ipc';

import { LEVEL_SHAPE } from './level-request.js';

/** Between two looks of the native thread, microseconds: with what a timer may be late, less than a millisecond. */
const PERIOD_US = 800;
/** How often it is looked whether another map stands at the path, milliseconds. */
const PIN_CHECK_MS = 1_000;

/** A value as it was seen. */
export interface SeenValue {
  readonly value: bigint;
  /** CLOCK_MONOTONIC, by the thread that saw it. */
  readonly seenAtNs: bigint;
  /** The first value of a map, which stood there before anybody watched. */
  readonly first: boolean;
  /** The map in this kernel. */
  readonly mapId: number;
}

export interface LevelWatchOptions {
  /** Where the map is pinned. */
  readonly path: string;
  /** uid that has to own the pin. */
  readonly owner: number;
  readonly onValue: (seen: SeenValue) => void;
  /** The map cannot be used (any more), or, with undefined, can be used again. Told on a change only. */
  readonly onTrouble: (error: SegmentError | undefined) => void;
  /** CLOCK_MONOTONIC. */
  readonly now: () => bigint;
  readonly pinCheckMs?: number;
}

export interface LevelWatch {
  /** Whether the map is mapped and looked at. */
  readonly watching: boolean;
  /** Whether the looking thread has real-time priority. */
  readonly realtime: boolean;
  close(): void;
}

/** Starts watching. Never throws for the map's sake: what is wrong with it goes to `onTrouble`, and is tried again. */
export function watchPostureLevel(options: LevelWatchOptions): LevelWatch {
  const { path, owner, onValue, onTrouble, now, pinCheckMs = PIN_CHECK_MS } = options;
  let map: BpfArray | undefined;
  let watch: BpfWatch | undefined;
  let told: string | undefined;

  const release = (): void => {
    watch?.close();
    map?.close();
    watch = undefined;
    map = undefined;
  };
  const look = (): void => {
    let found: BpfArray | undefined;
    try {
      found = openBpfArray({ path, shape: LEVEL_SHAPE, owner, access: 'map' });
      if (found.id === map?.id) {
        found.close();
        return;
      }
      release();
      const mapId = found.id;
      const last = found.load64(0);
      watch = found.watch({
        offset: 0,
        last,
        periodUs: PERIOD_US,
        realtime: true,
        onChange: (values, seenAtNs) => {
          values.forEach((value, at) => {
            onValue({ value, seenAtNs: seenAtNs[at] ?? now(), first: false, mapId });
          });
        },
      });
      map = found;
      told = undefined;
      onTrouble(undefined);
      onValue({ value: last, seenAtNs: now(), first: true, mapId });
    } catch (error) {
      if (!(error instanceof SegmentError)) throw error;
      if (found !== undefined && found !== map) found.close();
      release();
      if (told === error.code) return;
      told = error.code;
      onTrouble(error);
    }
  };
  look();
  const timer = setInterval(look, pinCheckMs);
  timer.unref();
  return {
    get watching() {
      return watch !== undefined;
    },
    get realtime() {
      return watch?.counts().realtime ?? false;
    },
    close: () => {
      clearInterval(timer);
      release();
    },
  };
}
