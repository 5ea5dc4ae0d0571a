/**
 * The routes of one mode: what is wanted, durably; what a level leaves of it; and the participant that brings the
 * kernel to that.
 * It must not decide who may change what, and must not know how the kernel holds a route.
 */
import type { DesiredStore, ListedRoute, ListRoutesReply, ListRoutesRequest, OwnLimit } from '@kedge/bus';
import type { Applied, Participant, Plan, Verification } from '@kedge/contracts';
import type { RecordedStep } from '@kedge/ledger';
import { allowsRoute, type PathsAccord } from '@kedge/posture';
import { type DesiredSet, type Edit, editedSet, isFirstEscalation } from '@kedge/reconcile';
import {
  type CarriedOut,
  carryOut,
  desiredRoutes,
  endFlows,
  planOf,
  readRoutes,
  type RouteSpec,
  type RouteWorld,
  type ToolOptions,
  worldDifferences,
} from '@kedge/routes';
import { type Epoch, isTighter, KedgeError, type Level, LOCKDOWN } from '@kedge/units';

import type { PathAccords } from './path-accords.js';
import { type RouteChange, routeKind, routeMessageOf } from './route-change.js';
import type { RouteRecords } from './route-records.js';
import { changeSteps } from './route-steps.js';

/** Most routes in a desired set. */
export const MAX_ROUTES = 20_000;
const MAX_LISTED = 1_000;
const DEFAULT_LISTED = 100;

/** What an edit came to. */
export interface RouteEdit {
  /** New, other than before, or gone. */
  readonly changed: number;
  readonly unchanged: number;
  /** Of the routes added: kept, and not allowed at the level. */
  readonly withheld: number;
}

/** What a route set works with; all of it stays its caller's. */
export interface RouteSetOptions {
  readonly mode: RouteSpec['mode'];
  readonly store: DesiredStore<RouteSpec>;
  readonly accords: PathAccords;
  /** How `ip` is run. */
  readonly tools?: Omit<ToolOptions, 'signal'>;
  /** Told of what was done; absent: nobody is. */
  readonly records?: RouteRecords;
  readonly log: { warn(fields: object, message: string): void; info(fields: object, message: string): void };
}

/** The routes of one mode. */
export class RouteSet {
  readonly #options: RouteSetOptions;
  readonly #kind;
  /** The level that was verified last. */
  #verifiedAt: Level | undefined;
  /** By key what a change that was taken back has to leave, undefined = nothing, where the file says otherwise still. */
  readonly #owed = new Map<string, RouteSpec | undefined>();
  #paying = false;
  /** What the file says, less what is owed to it. */
  #inForce: { readonly of: readonly RouteSpec[]; readonly items: readonly RouteSpec[] } | undefined;
  /** What a level leaves of the set, by the level's accord: a pure filter, asked for several times a transition. */
  #worlds: { readonly of: readonly RouteSpec[]; readonly at: WeakMap<PathsAccord, RouteWorld> } | undefined;

  constructor(options: RouteSetOptions) {
    this.#options = options;
    this.#kind = routeKind(options.mode);
  }

  /** Everything that is wanted, at whatever level. What is not durable yet is not wanted yet: it may come to nothing. */
  get desired(): readonly RouteSpec[] {
    const { durable } = this.#options.store;
    if (this.#owed.size === 0) return durable.items;
    if (this.#inForce?.of !== durable.items) {
      const { items } = editedSet(this.#kind, durable, this.#owedEdits());
      this.#inForce = { of: durable.items, items };
    }
    return this.#inForce.items;
  }

  /** The epoch at which the set was last reconciled with the world before an escalation (PO-18). */
  get epochTaken(): Epoch {
    return this.#options.store.current.epochTaken;
  }

  /** What is not as it should be, in plain words. */
  get alarms(): readonly string[] {
    const { store, accords } = this.#options;
    return [
      ...(store.damage === undefined ? [] : [`${store.damage.code}: ${store.damage.message}`]),
      ...(accords.refusal === undefined
        ? []
        : [
            `${accords.usable ? 'other accords are in force and cannot be used' : 'no accords, nothing is allowed'}: ${accords.refusal.code}: ${accords.refusal.message}`,
          ]),
      ...(this.#owed.size === 0
        ? []
        : [
            `what was taken back still stands in the file, and a start would bring it about: routes ${this.#owed.size}`,
          ]),
    ];
  }

  /**
   * Goes by the accords that are in force now (PO-2).
   *
   * @throws KedgeError why they cannot be used, where older ones are gone by: a round must not pass for them.
   */
  follow(): void {
    const { accords } = this.#options;
    accords.follow();
    if (accords.usable && accords.refusal !== undefined) throw accords.refusal;
  }

  allowed(route: RouteSpec, level: Level): boolean {
    return allowsRoute(this.#accord(level).overlay, route);
  }

  /** How many of the set a level leaves. */
  allowedCount(level: Level): number {
    return this.desired.filter((route) => this.allowed(route, level)).length;
  }

  /**
   * Takes a change as a whole: all of it is durable when this resolves, and nothing of it is in force when it throws.
   * The kernel is not touched.
   *
   * @throws KedgeError `ROUTE_SET_DAMAGED`, `ROUTE_SET_FULL`, `BUS_DESIRED_FAILED`
   */
  async edit(change: RouteChange, level: Level): Promise<RouteEdit> {
    const { store, mode } = this.#options;
    if (store.damage !== undefined) {
      throw new KedgeError({
        code: 'ROUTE_SET_DAMAGED',
        message: `cannot change ${mode} routes: their desired set is damaged`,
        help: 'put a whole file in its place, or take the damaged one away, and start the service anew',
        cause: store.damage,
      });
    }
    const paid = [...this.#owed];
    const base = this.#base();
    const before = new Map(base.items.map((route) => [this.#kind.keyOf(route), JSON.stringify(route)]));
    const put = change.add.filter((route) => before.get(this.#kind.keyOf(route)) !== JSON.stringify(route));
    const gone = change.remove.filter((key) => before.has(key));
    const edits: Edit<RouteSpec>[] = [
      ...gone.map((key): Edit<RouteSpec> => ({ do: 'remove', key })),
      ...put.map((item): Edit<RouteSpec> => ({ do: 'put', item })),
    ];
    const set = editedSet(this.#kind, base, edits);
    if (set.items.length > MAX_ROUTES) {
      throw new KedgeError({
        code: 'ROUTE_SET_FULL',
        message: `cannot keep ${set.items.length} ${mode} routes`,
        expected: `at most ${MAX_ROUTES}`,
      });
    }
    const changed = edits.length;
    if (changed > 0 || paid.length > 0) await store.save(set);
    for (const [key, route] of paid) if (this.#owed.get(key) === route) this.#owed.delete(key);
    this.#inForce = undefined;
    return {
      changed,
      unchanged: change.add.length + change.remove.length - changed,
      withheld: change.add.filter((route) => !this.allowed(route, level)).length,
    };
  }

  /** A change as steps of a mutation, as the set stands now; none of them is done. */
  stepsOf(change: RouteChange): readonly RecordedStep[] {
    return changeSteps(this.#base().items, change);
  }

  /** The change that takes another one back, as the set stands now. */
  inverse({ add, remove }: RouteChange): RouteChange {
    const now = new Map(this.#base().items.map((route) => [this.#kind.keyOf(route), route]));
    const keys = [...add.map((route) => this.#kind.keyOf(route)), ...remove];
    return {
      add: keys.flatMap((key) => now.get(key) ?? []),
      remove: keys.filter((key) => !now.has(key)),
    };
  }

  /**
   * Takes a change back by its {@link inverse}: from now on it is in force nowhere, and when this resolves the file says
   * so too. Where it throws the file keeps the change until the disk can be written; a start before that brings it back.
   *
   * @throws KedgeError as {@link edit}
   */
  async takeBack({ add, remove }: RouteChange, level: Level): Promise<void> {
    for (const route of add) this.#owed.set(this.#kind.keyOf(route), route);
    for (const key of remove) this.#owed.set(key, undefined);
    this.#inForce = undefined;
    await this.edit({ add: [], remove: [] }, level);
  }

  /** @throws KedgeError `ROUTE_SET_REQUEST` */
  list({ limit, offset }: ListRoutesRequest, epoch: Epoch, level: Level): ListRoutesReply {
    if (limit > MAX_LISTED) {
      throw new KedgeError({
        code: 'ROUTE_SET_REQUEST',
        message: `cannot list ${limit} routes at once`,
        field: 'limit',
        expected: `1 to ${MAX_LISTED}, or 0 for ${DEFAULT_LISTED}`,
      });
    }
    const { desired } = this;
    return {
      routes: desired
        .slice(offset, offset + (limit === 0 ? DEFAULT_LISTED : limit))
        .map((route): ListedRoute => ({
          route: routeMessageOf(route),
          allowed: this.allowed(route, level),
        })),
      total: desired.length,
      epoch,
      level,
    };
  }

  /** A damaged set is obeyed as lockdown: what it allowed is not known. */
  limit(): OwnLimit | undefined {
    const { damage } = this.#options.store;
    return damage === undefined ? undefined : { level: LOCKDOWN, code: damage.code, message: damage.message };
  }

  /** The set and the world before an escalation: what differs is said, and the epoch is noted (PO-18). */
  beforeEscalation(
    world: RouteWorld,
    move: { readonly from: Level; readonly to: Level; readonly epoch: Epoch },
  ): void {
    const { store, mode, log, records } = this.#options;
    records?.beforeEscalation(world, move);
    if (store.damage !== undefined) return;
    const differences = worldDifferences(world, this.#worldAt(move.from));
    if (differences.length > 0) log.warn({ mode, differences }, 'the kernel was not as the desired set says');
    // Later escalations see a world that lacks what a level took: it says nothing about the set.
    const allows = (route: RouteSpec, level: Level): boolean => this.allowed(route, level);
    if (!isFirstEscalation(store.current, move, allows)) return;
    // No escalation waits for a disk, nor for ten thousand routes to be written down (PO-22): that is done while the
    // kernel is at work. What is not written then comes with the next escalation.
    setImmediate(() => {
      store.save({ ...store.current, epochTaken: move.epoch }).catch((error: unknown) => {
        log.warn({ err: error, mode }, 'the epoch of the desired set could not be written');
      });
    });
  }

  /** Something runs: the kernel is brought to what is wanted. */
  runs(): void {
    this.#options.records?.runs();
  }

  /** Nothing runs any more, until something is wanted. */
  settled(): void {
    this.#options.records?.settled();
  }

  /** The part in transitions. */
  participant(path: 'overlay' | 'underlay'): Participant<RouteWorld> {
    const { mode, tools = {}, log, records } = this.#options;
    const closing = async (world: RouteWorld, level: Level, signal: AbortSignal): Promise<void> => {
      const ended = await endFlows(world, { ...tools, signal });
      log.info({ mode, level, ...ended }, 'flows of what is forbidden were ended');
    };
    /** For what level a plan was made last. */
    let planned: { readonly plan: Plan; readonly level: Level } | undefined;
    /** Carries a plan out, and says so. */
    const recorded = async (
      plan: Plan,
      level: Level,
      work: () => Promise<CarriedOut>,
    ): Promise<CarriedOut> => {
      const startedAtNs = records?.now();
      const carried = await work();
      if (startedAtNs !== undefined && plan.steps.length > 0)
        records?.passEnded({ plan, applied: carried.applied, level, startedAtNs });
      return carried;
    };
    /** The world as it was read after the last change, for the one look that belongs to it. */
    let readBack: RouteWorld | undefined;
    const takeReadBack = (): RouteWorld | undefined => {
      const taken = readBack;
      readBack = undefined;
      return taken;
    };
    return {
      name: path,
      path,
      read: (signal) => {
        takeReadBack();
        this.#pay();
        return readRoutes(mode, { ...tools, signal });
      },
      plan: (actual, level, epoch) => {
        const plan = planOf(actual, this.#worldAt(level), epoch);
        planned = { plan, level };
        return plan;
      },
      apply: async (plan: Plan, signal): Promise<Applied> => {
        takeReadBack();
        const level = planned?.plan === plan ? planned.level : LOCKDOWN;
        const { applied, world } = await recorded(plan, level, () => carryOut(plan, { ...tools, signal }));
        readBack = world;
        return applied;
      },
      verify: async (level, signal): Promise<Verification> => {
        // What was carried out was read back as a whole when it was done: that is the reading to be verified.
        const world = takeReadBack() ?? (await readRoutes(mode, { ...tools, signal }));
        const differences = worldDifferences(world, this.#worldAt(level));
        // Established flows end once the rules stand: not before, or they would come back.
        const tightened = this.#verifiedAt === undefined || isTighter(level, this.#verifiedAt);
        if (differences.length === 0 && tightened && this.#accord(level).overlay.routes.protect)
          await closing(world, level, signal);
        if (differences.length === 0) this.#verifiedAt = level;
        return { ok: differences.length === 0, differences };
      },
      failClosed: async (level) => {
        const world = await readRoutes(mode, tools);
        const plan = planOf(world, desiredRoutes([], this.#accord(level), mode), 0n as Epoch);
        const { applied } = await recorded(plan, level, () => carryOut(plan, tools));
        if (applied.outcome === 'failed') {
          throw new KedgeError({
            code: 'ROUTE_SET_CLOSING',
            message: `cannot withdraw all ${mode} routes: ${applied.failure?.message ?? 'it was not said why'}`,
          });
        }
      },
    };
  }

  /** What the next change is made from. */
  #base(): DesiredSet<RouteSpec> {
    return editedSet(this.#kind, this.#options.store.current, this.#owedEdits());
  }

  #owedEdits(): Edit<RouteSpec>[] {
    return [...this.#owed].map(([key, item]) =>
      item === undefined ? { do: 'remove', key } : { do: 'put', item },
    );
  }

  /** Tries to write what is owed to the file; nobody waits for it. */
  #pay(): void {
    const { mode, log } = this.#options;
    if (this.#owed.size === 0 || this.#paying) return;
    this.#paying = true;
    this.edit({ add: [], remove: [] }, LOCKDOWN)
      .catch((error: unknown) => {
        log.warn({ err: error, mode }, 'a change that was taken back still stands in the file');
      })
      .finally(() => {
        this.#paying = false;
      });
  }

  /** What the kernel is to hold at a level. */
  #worldAt(level: Level): RouteWorld {
    const { desired } = this;
    const accord = this.#accord(level);
    if (this.#worlds?.of !== desired) this.#worlds = { of: desired, at: new WeakMap() };
    const known = this.#worlds.at.get(accord);
    if (known !== undefined) return known;
    const world = desiredRoutes(desired, accord, this.#options.mode);
    this.#worlds.at.set(accord, world);
    return world;
  }

  #accord(level: Level): PathsAccord {
    return this.#options.accords.levels[level];
  }
}
