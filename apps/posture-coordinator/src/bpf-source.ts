/**
 * Requests through the pinned BPF map `posture_level`, and the level in force published in `posture_in_force` (PO-3).
 * It must not judge a request; the desk does, and what comes this way may only tighten.
 */
import {
  inForceValueOf,
  levelRequestOf,
  openInForceToPublish,
  type SeenValue,
  watchPostureLevel,
} from '@kedge/bpf-posture';
import type { Tier } from '@kedge/contracts';
import { levelInForce } from '@kedge/posture';
import type { Logger } from '@kedge/runtime';
import { type BpfArray, SegmentError } from '@kedge/shared-memory-ipc';
import { type Clock, KedgeError, tighterOf } from '@kedge/units';
import { randomUUID } from 'node:crypto';

import type { RequestDesk } from './request-desk.js';
import type { TransitionDriver } from './transition-driver.js';

export interface BpfSourceParts {
  readonly pins: { readonly level: string; readonly inForce: string };
  readonly boot: string;
  readonly desk: RequestDesk;
  readonly driver: TransitionDriver;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The least that may tighten: whoever can write the map is a program of the host, not a person with a tier. */
const TIER: Tier = 'journeyman';
const PRINCIPAL = 'bpf:posture_level';
/** How often the level in force is published again where it has not changed, milliseconds. */
const PUBLISH_MS = 100;
/** Requests that do not tighten which may be recorded at once, and how fast room for another comes back, milliseconds. */
const RECORDED_AT_ONCE = 20;
const RECORDED_EVERY_MS = 1_000;

/** Starts; never throws for the maps' sake. */
export function startBpfSource(parts: BpfSourceParts): { close(): void } {
  const { pins, desk, driver, clock, logger } = parts;
  const uid = process.getuid?.() ?? 0;
  const room = new RecordRoom(clock);
  /** The highest sequence that was asked for: what comes again under it is another request. */
  let counted = 0;

  const ask = ({ value, seenAtNs, first, mapId }: SeenValue): void => {
    const way = { channel: 'bpf', tier: TIER, receivedAtNs: seenAtNs } as const;
    try {
      const { level, sequence } = levelRequestOf(value);
      const inForce = levelInForce(driver.machine);
      // What stood there before anybody looked asks for nothing unless it is tighter.
      if (first && level >= inForce) return;
      // What does not tighten is answered and recorded, but a map that flaps must not fill the record spool.
      if (level >= inForce && !room.take()) return;
      const known = sequence > counted;
      counted = Math.max(counted, sequence);
      void desk.ask(
        {
          level,
          reason: `the map posture_level asks for ${level}${sequence === 0 ? '' : ` (request ${sequence})`}`,
          principal: PRINCIPAL,
          idempotencyKey: known
            ? `bpf-${parts.boot.slice(0, 8)}-${mapId}-${sequence}-${level}`
            : randomUUID(),
        },
        way,
      );
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      if (!room.take()) return;
      desk.refuse({ principal: PRINCIPAL, level: Number(value & 0xffff_ffffn) }, way, {
        kind: 'refusal',
        code: error.code,
        message: error.message,
        rule: 'well-formed',
      });
    }
  };
  const watch = watchPostureLevel({
    path: pins.level,
    owner: uid,
    now: () => clock.monotonicNs(),
    onValue: ask,
    onTrouble: (error) => {
      desk.trouble(
        'bpf-level',
        error === undefined ? undefined : `no requests come through BPF: ${error.message}`,
      );
      if (error === undefined) logger.info({ map: pins.level }, 'the map posture_level is watched');
      else logger.warn({ err: error }, 'the map posture_level cannot be watched');
    },
  });

  let published: BpfArray | undefined;
  const publish = (): void => {
    try {
      published ??= openInForceToPublish(pins.inForce, uid);
      const { machine, snapshot } = driver;
      const decided = { epoch: machine.last.epoch, level: machine.last.to };
      const word = {
        epoch: machine.word.epoch,
        level: tighterOf(machine.word.level ?? 1, snapshot.failClosed.dataplane?.level ?? 5),
      };
      published.update(0, inForceValueOf({ obeyed: word, decided, publishedAtNs: clock.monotonicNs() }));
      desk.trouble('bpf-in-force', undefined);
    } catch (error) {
      if (!(error instanceof SegmentError)) throw error;
      published?.close();
      published = undefined;
      desk.trouble('bpf-in-force', `the level in force is not published through BPF: ${error.message}`);
    }
  };
  publish();
  driver.on('changed', publish);
  const timer = setInterval(publish, PUBLISH_MS);
  return {
    close: () => {
      clearInterval(timer);
      driver.off('changed', publish);
      watch.close();
      published?.close();
    },
  };
}

/** Room for records of refusals, so that a writer without end costs no more than a trickle. */
class RecordRoom {
  readonly #clock: Clock;
  #left = RECORDED_AT_ONCE;
  #filledAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#filledAtMs = this.#nowMs();
  }

  take(): boolean {
    const more = Math.floor((this.#nowMs() - this.#filledAtMs) / RECORDED_EVERY_MS);
    this.#filledAtMs += more * RECORDED_EVERY_MS;
    this.#left = Math.min(RECORDED_AT_ONCE, this.#left + more);
    if (this.#left === 0) return false;
    this.#left -= 1;
    return true;
  }

  #nowMs(): number {
    return Number(this.#clock.monotonicNs() / 1_000_000n);
  }
}
