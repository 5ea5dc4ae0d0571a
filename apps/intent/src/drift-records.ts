/**
 * Differences between devices and intent as records of the ledger.
 * It must not judge a difference.
 */
import type { DriftEvent } from '@kedge/contracts';
import { sha256 } from '@kedge/intent-store';
import type { DevicePosture, DriftChange } from '@kedge/rollout';
import type { Clock } from '@kedge/units';

import type { RecordPlace } from './change-records.js';

/** The longest path of a record, characters. */
const PATH_MOST = 512;
/** The most text of a value in a record, characters of JSON. */
const VALUE_MOST = 16_384;

/** Makes records. */
export class DriftRecords {
  readonly #place: RecordPlace;
  readonly #clock: Clock;
  #count = 0;

  constructor(place: RecordPlace, clock: Clock) {
    this.#place = place;
    this.#clock = clock;
  }

  of({ kind, drift }: DriftChange, { level, epoch }: DevicePosture): DriftEvent {
    this.#count += 1;
    const { appliance, bootId } = this.#place;
    const { path, sinceMs } = drift;
    const [now, wallMs] = [this.#clock.monotonicNs(), this.#clock.wallMs()];
    const age = BigInt(Math.max(0, Math.round(drift.seenMs - sinceMs))) * 1_000_000n;
    return {
      schema: 'kedge.drift-event/1',
      id: `drift-event/${appliance}/${bootId.slice(0, 8)}/${String(now)}-${String(this.#count)}`,
      appliance,
      at: new Date(wallMs).toISOString(),
      epoch: String(epoch),
      device: drift.device,
      kind,
      path: path.length <= PATH_MOST ? path : `${path.slice(0, PATH_MOST - 65)} ${sha256(path)}`,
      intended: valueOf(drift.intended),
      actual: valueOf(drift.actual),
      severity: drift.severity,
      cause: drift.cause,
      remediation: drift.remediation,
      level,
      // Since before the boot: since its beginning, as far as this clock can tell.
      sinceNs: String(age < now ? now - age : 0n),
      seenAtNs: String(now),
    };
  }
}

/** A value that a record takes; of a larger one its hash. */
function valueOf(value: DriftChange['drift']['actual']): DriftEvent['actual'] {
  const text = JSON.stringify(value);
  if (text.length <= VALUE_MOST) return value;
  return `sha256:${sha256(text)}, ${String(text.length)} characters of JSON`;
}
