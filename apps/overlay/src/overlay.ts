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
import {
  changeOf,
  hostRoutes,
  MAX_ADDED,
  MAX_REMOVED,
  type PathAccords,
  principalOf,
  type RouteChange,
  RouteSet,
  settledWithin,
  statusOf,
} from '@kedge/route-set';
import type { RouteSpec } from '@kedge/routes';
import type { Clock } from '@kedge/units';

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
  readonly clock: Clock;
  readonly log: OverlayLog;
}

/** How long an edit waits for the kernel before it is answered "not applied yet". */
const APPLY_WITHIN_MS = 2_000;

/** The overlay; at work once it is made. `close` once. */
export class Overlay {
  readonly #parts: OverlayParts;
  readonly #routes: RouteSet;
  readonly #host: HostedParticipant;

  constructor(parts: OverlayParts) {
    const { config, board, slot, store, accords, clock, log } = parts;
    this.#parts = parts;
    this.#routes = new RouteSet({ mode: 'overlay', store, accords, log });
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

  /** @throws KedgeError `ROUTES_SPEC`, `ROUTE_SET_REQUEST`, `ROUTE_SET_FULL`, `ROUTE_SET_DAMAGED`, `BUS_DESIRED_FAILED` */
  addRoutes(request: AddRoutesRequest, signal: AbortSignal): Promise<EditReply> {
    const limits = { add: MAX_ADDED, remove: 0, all: MAX_ADDED };
    const names = { add: 'routes', remove: 'routes' };
    const change = changeOf('overlay', { add: request.routes, remove: [] }, limits, names);
    return this.#edit(change, principalOf(request.principal), signal);
  }

  /** @throws KedgeError as {@link addRoutes} */
  removeRoutes(request: RemoveRoutesRequest, signal: AbortSignal): Promise<EditReply> {
    const limits = { add: 0, remove: MAX_REMOVED, all: MAX_REMOVED };
    const names = { add: 'routes', remove: 'routes' };
    const change = changeOf('overlay', { add: [], remove: request.routes }, limits, names);
    return this.#edit(change, principalOf(request.principal), signal);
  }

  /** @throws KedgeError `ROUTE_SET_REQUEST` */
  listRoutes(request: ListRoutesRequest): ListRoutesReply {
    const { epoch, level } = this.#host.status().wanted;
    return this.#routes.list(request, epoch, level);
  }

  status(): OverlayStatusReply {
    const hosted = this.#host.status();
    return { ...statusOf(hosted, this.#routes), ...appliedOf(hosted) };
  }

  async close(): Promise<void> {
    await this.#host.close();
    await this.#parts.store.close();
  }

  async #edit(change: RouteChange, principal: string, signal: AbortSignal): Promise<EditReply> {
    const edit = await this.#routes.edit(change, this.#host.status().wanted.level);
    const applied =
      edit.changed === 0 || (await settledWithin(this.#host.reconcileNow(), APPLY_WITHIN_MS, signal));
    const { epoch, level } = this.#host.status().wanted;
    const { changed, unchanged } = edit;
    this.#parts.log.info({ principal, changed, unchanged, epoch, level }, 'the desired set was edited');
    const withheld = change.add.filter((route) => !this.#routes.allowed(route, level)).length;
    return { changed, unchanged, withheld, epoch, level, applied };
  }
}

function appliedOf({ standing }: ReturnType<HostedParticipant['status']>) {
  return { epoch: standing?.epoch ?? 0n, level: standing?.level ?? 0 };
}
