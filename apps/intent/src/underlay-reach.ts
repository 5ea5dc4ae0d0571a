/**
 * The way to devices over the underlay's socket for the intent.
 * It must not try anything again, nor keep anything of a device: whether a plan may be sent twice is known to its caller.
 */
import {
  type CarriedOutMessage,
  type CarryOutReply,
  type DeviceReadingPart,
  devicesClient,
  type DevicesClient,
  type GateRefusal,
} from '@kedge/bus';
import type { Applied, PlanValue } from '@kedge/contracts';
import type { CarriedOut } from '@kedge/driver-host';
import type { InventoryDevice, Reading } from '@kedge/driver-kit';
import { planData } from '@kedge/intent-model';
import { KedgeError } from '@kedge/units';

import type { DeviceReach, DeviceWork } from './device-reach.js';

/** How long the answer may take to begin, milliseconds: what was asked before of the same device comes first. */
export interface ReachDeadlines {
  readonly readMs: number;
  readonly carryOutMs: number;
}

const DEADLINES: ReachDeadlines = { readMs: 60_000, carryOutMs: 300_000 };
/** How long the rest may take once it has begun: everything is there by then. */
const REST_MS = 30_000;

/** See the head of the file. Connects with its first call; `close` once. */
export class UnderlayReach implements DeviceReach {
  readonly #client: DevicesClient;
  readonly #deadlines: ReachDeadlines;

  /** @param socket `devicesSocket` of the underlay */
  constructor(socket: string, deadlines: ReachDeadlines = DEADLINES) {
    this.#client = devicesClient(socket);
    this.#deadlines = deadlines;
  }

  async read(device: InventoryDevice, signal: AbortSignal): Promise<Reading> {
    const parts: DeviceReadingPart[] = [];
    const deadlineMs = this.#deadlines.readMs;
    await this.#within(deadlineMs, signal, async (inner) => {
      const replies = this.#client.read({ device: JSON.stringify(device) }, { deadlineMs, signal: inner });
      for await (const part of replies) parts.push(part);
    });
    return readingOf(parts);
  }

  async carryOut({ id, device, plan, by }: DeviceWork, signal: AbortSignal): Promise<CarriedOut> {
    const replies: CarryOutReply[] = [];
    const deadlineMs = this.#deadlines.carryOutMs;
    const request = {
      ...{ id, principal: by.principal, tier: by.tier, channel: by.channel, kind: 'ordinary' },
      device: JSON.stringify(device),
      plan: JSON.stringify(planData(plan)),
    };
    await this.#within(deadlineMs, signal, async (inner) => {
      for await (const reply of this.#client.carryOut(request, { deadlineMs, signal: inner }))
        replies.push(reply);
    });
    return carriedOf(replies);
  }

  /** Cancels what is under way. */
  close(): void {
    this.#client.close();
  }

  /** A stream may be quiet for ever once it has begun; a reading may not. */
  async #within(
    deadlineMs: number,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(
        new KedgeError({
          code: 'BUS_DEADLINE',
          message: `the answer from ${this.#client.socket} began and did not end`,
          help: 'the service is there but slow or stopped; look at its heartbeat and log',
        }),
      );
    }, deadlineMs + REST_MS);
    try {
      await work(AbortSignal.any([signal, late.signal]));
    } catch (error) {
      throw late.signal.aborted && !signal.aborted ? late.signal.reason : error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function carriedOf(replies: readonly CarryOutReply[]): CarriedOut {
  const [first] = replies;
  if (first?.outcome === 'refusal') throw refused(first.refusal);
  const parts = replies.flatMap((each) => (each.outcome === 'carried' ? [each.carried] : []));
  const readings = replies.flatMap((each) => (each.outcome === 'reading' ? [each.reading] : []));
  const [head] = parts;
  if (head === undefined) throw cut('what became of the plan');
  return {
    applied: appliedOf(head, parts),
    ...(head.rolledBack === undefined ? {} : { rolledBack: head.rolledBack }),
    remaining: parts.flatMap(({ remaining }) =>
      remaining.map(({ path, intended, actual }) => ({
        path,
        intended: valueOf(intended),
        actual: valueOf(actual),
      })),
    ),
    ...(head.wasRead ? { reading: readingOf(readings) } : {}),
  };
}

function appliedOf({ result, failure }: CarriedOutMessage, parts: readonly CarriedOutMessage[]): Applied {
  if (result !== 'applied' && result !== 'unchanged' && result !== 'failed' && result !== 'cancelled')
    throw cut('a result that is known');
  return {
    outcome: result,
    done: parts.flatMap(({ done }) => done),
    ...(failure === undefined
      ? {}
      : {
          failure: {
            code: failure.code,
            message: failure.message,
            ...(failure.step === '' ? {} : { step: failure.step }),
          },
        }),
  };
}

function readingOf(parts: readonly DeviceReadingPart[]): Reading {
  return {
    tree: valueOf(
      Buffer.concat(parts.map(({ tree }) => tree)).toString('utf8'),
    ) as unknown as Reading['tree'],
    own: parts.flatMap(({ own }) => own),
  };
}

function valueOf(json: string): PlanValue {
  try {
    return JSON.parse(json) as PlanValue;
  } catch {
    throw cut('whole JSON');
  }
}

function refused({ code, message, field, expected, help }: GateRefusal): KedgeError {
  return new KedgeError({
    ...{ code, message },
    ...(field === '' ? {} : { field }),
    ...(expected === '' ? {} : { expected }),
    ...(help === '' ? {} : { help }),
  });
}

function cut(expected: string): KedgeError {
  return new KedgeError({
    code: 'BUS_MESSAGE_INVALID',
    message: 'cannot read the answer of the underlay about a device: it is not whole',
    expected,
  });
}
