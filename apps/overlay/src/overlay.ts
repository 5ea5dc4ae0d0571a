/**
 * The overlay of an appliance: its routes, edited by requests, brought to the posture in force by a hosted
 * participant.
 * It must not decide the posture, and never asks for it: the board tells (OV-13).
 */
import {
  type AddRoutesRequest,
  type DesiredStore,
  type EditReply,
  type HostedParticipant,
  type ListRoutesReply,
  type ListRoutesRequest,
  type OverlayStatusReply,
  type ParticipantSlot,
  type PostureBoard,
  type RemoveRoutesRequest,
} from '@kedge/bus';
import type { Mutation } from '@kedge/contracts';
import type { Outbox } from '@kedge/ledger-link';
import { failureOf } from '@kedge/reconcile';
import {
  changeOf,
  hostRoutes,
  MAX_ADDED,
  MAX_REMOVED,
  type PathAccords,
  principalOf,
  type RouteChange,
  type RouteEdit,
  RouteRecords,
  RouteSet,
  settledWithin,
  statusOf,
} from '@kedge/route-set';
import type { RouteSpec } from '@kedge/routes';
import type { Clock, KedgeError } from '@kedge/units';
import { randomUUID } from 'node:crypto';

import type { OverlayConfig } from './config.js';

/** What the overlay logs with. */
export interface OverlayLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What the overlay is given; all of it stays its caller's. */
export interface OverlayParts {
  readonly config: OverlayConfig;
  readonly board: PostureBoard;
  readonly slot: ParticipantSlot;
  readonly store: DesiredStore<RouteSpec>;
  readonly accords: PathAccords;
  readonly records: Outbox;
  /** Which boot this is, for ids of records. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: OverlayLog;
}

/** Who asks, by the socket that it came in by. */
export type Caller = Pick<Mutation, 'tier' | 'channel'> & { readonly signal: AbortSignal };

const TARGET = 'routes/overlay';
/** How long an edit waits for the kernel before it is answered "not applied yet". */
const APPLY_WITHIN_MS = 2_000;

/** The overlay; at work once it is made. `close` once. */
export class Overlay {
  readonly #parts: OverlayParts;
  readonly #routes: RouteSet;
  readonly #host: HostedParticipant;
  readonly #records: RouteRecords;

  constructor(parts: OverlayParts) {
    const { config, board, slot, store, accords, clock, log, records: outbox, bootId } = parts;
    this.#parts = parts;
    this.#records = new RouteRecords({
      appliance: config.appliance,
      mode: 'overlay',
      bootId,
      clock,
      outbox,
      // There is no mesh yet: what there is of it is nothing, and that is all of it.
      sections: () => [
        { section: 'mesh', items: [] },
        { section: 'tunnels', items: [] },
      ],
    });
    this.#routes = new RouteSet({ mode: 'overlay', store, accords, log, records: this.#records });
    this.#host = hostRoutes(this.#routes, 'overlay', {
      board,
      slot,
      config,
      clock,
      log,
    });
  }

  /** Brought to the current posture (PO-19). */
  get serving(): boolean {
    return this.#host.serving;
  }

  beat(serving: boolean): void {
    this.#host.beat(serving);
  }

  /**
   * @throws KedgeError `ROUTES_SPEC`, `ROUTE_SET_REQUEST`, `ROUTE_SET_FULL`, `ROUTE_SET_DAMAGED`, `BUS_DESIRED_FAILED`;
   *   `LEDGER_SPOOL_FULL` and others of `Outbox.ready`: what cannot be recorded is not done
   */
  addRoutes(request: AddRoutesRequest, caller: Caller): Promise<EditReply> {
    const limits = { add: MAX_ADDED, remove: 0, all: MAX_ADDED };
    const names = { add: 'routes', remove: 'routes' };
    const change = changeOf('overlay', { add: request.routes, remove: [] }, limits, names);
    return this.#edit(change, principalOf(request.principal), caller);
  }

  /** @throws KedgeError as {@link addRoutes} */
  removeRoutes(request: RemoveRoutesRequest, caller: Caller): Promise<EditReply> {
    const limits = { add: 0, remove: MAX_REMOVED, all: MAX_REMOVED };
    const names = { add: 'routes', remove: 'routes' };
    const change = changeOf('overlay', { add: [], remove: request.routes }, limits, names);
    return this.#edit(change, principalOf(request.principal), caller);
  }

  /** @throws KedgeError `ROUTE_SET_REQUEST` */
  listRoutes(request: ListRoutesRequest): ListRoutesReply {
    const { epoch, level } = this.#host.status().wanted;
    return this.#routes.list(request, epoch, level);
  }

  status(): OverlayStatusReply {
    const hosted = this.#host.status();
    const status = statusOf(hosted, this.#routes);
    const alarms = [...status.alarms, ...this.#parts.records.alarms];
    return { ...status, ...appliedOf(hosted), alarms };
  }

  /** Records that a request to change routes was refused before it came to be one (PO-5). */
  recordFault(caller: Omit<Caller, 'signal'>, error: Pick<KedgeError, 'code' | 'message'>): void {
    this.#records.refused({
      ...{ action: 'mutation.execute', target: TARGET, error },
      ...{ tier: caller.tier, channel: caller.channel, ...this.#host.status().wanted },
    });
  }

  async close(): Promise<void> {
    await this.#host.close();
    await this.#parts.store.close();
  }

  /** @throws KedgeError as `Outbox.ready`, unless the accord lets changes go on without a record (LE-5) */
  async #recordable(): Promise<void> {
    const { records, accords } = this.#parts;
    try {
      await records.ready();
    } catch (error) {
      if (accords.levels[this.#host.status().wanted.level].unrecordedChanges !== true) throw error;
    }
  }

  async #edit(change: RouteChange, principal: string, caller: Caller): Promise<EditReply> {
    const { log, records } = this.#parts;
    await this.#recordable();
    const { tier, channel, signal } = caller;
    const id = `edit-${randomUUID()}`;
    const mutation: Mutation = { id, planId: id, target: TARGET, principal, tier, channel, kind: 'ordinary' };
    const steps = this.#routes.stepsOf(change);
    const facts = { mutation, startedAtNs: this.#records.now(), ...this.#host.status().wanted };
    let edit: RouteEdit;
    try {
      edit = await this.#routes.edit(change, facts.level);
    } catch (error) {
      const failure = failureOf(error);
      await records.keep(this.#records.changeRecords({ ...facts, steps, result: 'failed', failure }));
      throw error;
    }
    const { changed, unchanged } = edit;
    const done = steps.map((step) => ({ ...step, done: true }));
    const result = changed === 0 ? 'unchanged' : 'applied';
    // While the kernel is at work; it is on the disk before anybody hears that it was done (UN-13).
    const recorded = records.keep(this.#records.changeRecords({ ...facts, steps: done, result }));
    const applied =
      changed === 0 || (await settledWithin(this.#host.reconcileNow(), APPLY_WITHIN_MS, signal));
    await recorded;
    const { epoch, level } = this.#host.status().wanted;
    log.info({ principal, changed, unchanged, epoch, level }, 'the desired set was edited');
    const withheld = change.add.filter((route) => !this.#routes.allowed(route, level)).length;
    return { changed, unchanged, withheld, epoch, level, applied };
  }
}

function appliedOf({ standing }: ReturnType<HostedParticipant['status']>) {
  return { epoch: standing?.epoch ?? 0n, level: standing?.level ?? 0 };
}
