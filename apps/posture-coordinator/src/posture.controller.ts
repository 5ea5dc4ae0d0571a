/**
 * The calls of kedge.posture.v1, one handler each.
 * It must not decide about the posture; it checks what came in and hands it on.
 */
import type { PolicyKeeper } from '@kedge/authz';
import type {
  HistoryReply,
  HistoryRequest,
  PostureState,
  ReloadAccordsRequest,
  ReloadPoliciesReply,
  ReloadPoliciesRequest,
  SetReply,
  SetRequest,
  TransitionReply,
  TransitionRequest,
} from '@kedge/bus';
import type { Action, Authoriser } from '@kedge/contracts';
import type { Outbox } from '@kedge/ledger-link';
import { levelInForce } from '@kedge/posture';
import type { CallAuthority } from '@kedge/runtime';
import { type Clock, EPOCH_MAX, isLevel, KedgeError, millisOf, nanosOf } from '@kedge/units';
import { Controller, Inject } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import type { Accords } from './accords.js';
import type { IdempotencyStore } from './idempotency.js';
import { wayOfReload } from './on-behalf.js';
import { reloadPolicies } from './policy-reload.js';
import { postureStateOf, refusalReplyOf } from './posture-view.js';
import type { ReportFilter, Reports } from './reports.js';
import type { RequestDesk } from './request-desk.js';
import type { TransitionDriver } from './transition-driver.js';

/** What the controller works with; the module provides it under this token. */
export const COORDINATOR = Symbol('posture coordinator');
export interface CoordinatorParts {
  readonly driver: TransitionDriver;
  readonly desk: RequestDesk;
  readonly reports: Reports;
  readonly records: Outbox;
  readonly idempotency: IdempotencyStore;
  readonly authoriser: Authoriser;
  readonly policies: PolicyKeeper;
  readonly accords: Accords | undefined;
  /** By which the intent asks on behalf of others. */
  readonly intentSocket: string | undefined;
  readonly clock: Clock;
}

/** Watchers at once. */
const WATCHERS_MAX = 64;

/** Longest source to look for: as long as a principal may be. */
const SOURCE_MAX = 128;

@Controller()
export class PostureController {
  readonly #parts: CoordinatorParts;
  #watchers = 0;

  constructor(@Inject(COORDINATOR) parts: CoordinatorParts) {
    this.#parts = parts;
  }

  @GrpcMethod('Posture', 'Get')
  get(@Payload() _request: unknown, @Ctx() call: CallAuthority): PostureState {
    this.#allow('posture.get', call);
    return this.#state();
  }

  @GrpcMethod('Posture', 'Set')
  async set(@Payload() request: SetRequest, @Ctx() call: CallAuthority): Promise<SetReply> {
    const { desk } = this.#parts;
    return desk.replyOf(await desk.ask(request, call), call.receivedAtNs);
  }

  @GrpcMethod('Posture', 'ReloadAccords')
  async reloadAccords(
    @Payload() request: ReloadAccordsRequest,
    @Ctx() call: CallAuthority,
  ): Promise<SetReply> {
    const { desk, intentSocket } = this.#parts;
    const way = wayOfReload(request, call, intentSocket);
    const reply = 'code' in way ? way : await desk.reloadAccords(request, way, call.signal);
    if ('code' in way) desk.refuseReload(request, call, way);
    return desk.replyOf(reply, call.receivedAtNs);
  }

  @GrpcMethod('Posture', 'ReloadPolicies')
  reloadPolicies(
    @Payload() request: ReloadPoliciesRequest,
    @Ctx() call: CallAuthority,
  ): Promise<ReloadPoliciesReply> {
    return reloadPolicies(this.#parts, request, call);
  }

  @GrpcMethod('Posture', 'Watch')
  watch(@Payload() _request: unknown, @Ctx() call: CallAuthority): AsyncIterable<PostureState> {
    this.#allow('posture.watch', call);
    if (this.#watchers >= WATCHERS_MAX) {
      throw new KedgeError({
        code: 'POSTURE_BUSY',
        message: 'cannot watch the posture: too many watch already',
        expected: `at most ${WATCHERS_MAX}`,
      });
    }
    return this.#changes(call.signal);
  }

  @GrpcMethod('Posture', 'History')
  history(@Payload() request: HistoryRequest, @Ctx() call: CallAuthority): HistoryReply {
    this.#allow('posture.history', call);
    const { limit, beforeEpoch, ...wanted } = request;
    if (limit > 1_000) {
      throw new KedgeError({
        code: 'POSTURE_LIMIT',
        message: `cannot list ${limit} transitions at once`,
        field: 'limit',
        expected: '1 to 1000, or 0 for 20',
      });
    }
    checkEpoch('before_epoch', beforeEpoch);
    checkFilter(wanted);
    const { driver, reports } = this.#parts;
    return {
      transitions: reports
        .list(limit === 0 ? 20 : limit, beforeEpoch, wanted)
        .map((report) => (report.outcome === 'running' ? (driver.report(report.epoch) ?? report) : report)),
    };
  }

  @GrpcMethod('Posture', 'Transition')
  transition(@Payload() { epoch }: TransitionRequest, @Ctx() call: CallAuthority): TransitionReply {
    this.#allow('posture.history', call);
    checkEpoch('epoch', epoch);
    const report = this.#parts.driver.report(epoch);
    if (report !== undefined) return { outcome: 'report', report };
    return {
      outcome: 'refusal',
      refusal: refusalReplyOf({
        kind: 'refusal',
        code: 'POSTURE_EPOCH_UNKNOWN',
        message: `there is no report of epoch ${String(epoch)}`,
        field: 'epoch',
        expected: 'an epoch out of the history',
        help: 'kedge posture history lists them',
      }),
    };
  }

  #state(): PostureState {
    const { driver, desk, reports, records } = this.#parts;
    const state = postureStateOf(driver, reports, records);
    const { accords } = this.#parts;
    return {
      ...state,
      alarms: [...state.alarms, ...desk.troubles, ...(accords?.alarms(driver.snapshot) ?? [])],
      ...(accords === undefined ? {} : { accordsHash: accords.inForce.hash }),
    };
  }

  /** The state now, then whenever it changed; a slow reader misses what lay between, never the newest. */
  async *#changes(signal: AbortSignal): AsyncGenerator<PostureState, void, undefined> {
    const { driver } = this.#parts;
    this.#watchers += 1;
    let wake: (() => void) | undefined;
    let changed = true;
    const note = (): void => {
      changed = true;
      wake?.();
    };
    driver.on('changed', note);
    signal.addEventListener('abort', note);
    let last = '';
    try {
      while (!signal.aborted) {
        if (changed) {
          changed = false;
          const state = this.#state();
          const seen = essenceOf(state);
          if (seen !== last) {
            last = seen;
            yield state;
            continue;
          }
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (changed) resolve();
        });
        wake = undefined;
        // Several changes of one turn are one change.
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } finally {
      this.#watchers -= 1;
      driver.off('changed', note);
      signal.removeEventListener('abort', note);
    }
  }

  #allow(action: Action, { channel, tier }: CallAuthority): void {
    const { authoriser, driver, clock } = this.#parts;
    const answer = authoriser.decide({
      principal: '',
      tier,
      channel,
      action,
      resource: 'posture',
      level: levelInForce(driver.machine),
      epoch: driver.machine.last.epoch,
      mfaAge: channel === 'console' ? millisOf(0) : undefined,
      address: undefined,
      at: nanosOf(clock.monotonicNs()),
      wallMs: clock.wallMs(),
      breakGlass: false,
    });
    if (answer.allow) return;
    throw new KedgeError({
      code: 'POSTURE_NOT_AUTHORISED',
      message: answer.reason,
      help: `rule ${answer.rule}`,
    });
  }
}

/** What makes a state another one: everything but ages and the moment it was taken. */
function essenceOf({ atNs: _at, services, disagreements, ...rest }: PostureState): string {
  return JSON.stringify(
    {
      ...rest,
      services: services.map(({ beatAgeNs: _age, ...service }) => service),
      disagreements: disagreements.map(({ ageNs: _old, ...disagreement }) => disagreement),
    },
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  );
}

function checkFilter({ level, source }: ReportFilter): void {
  if (level !== undefined && !isLevel(level)) {
    throw new KedgeError({
      code: 'POSTURE_FILTER',
      message: `cannot list transitions to ${level}: it is no level`,
      field: 'level',
      expected: '1 to 5',
    });
  }
  if (source !== undefined && (source === '' || source.length > SOURCE_MAX)) {
    throw new KedgeError({
      code: 'POSTURE_FILTER',
      message: `cannot list transitions by a source of ${source.length} characters`,
      field: 'source',
      expected: `a channel or a principal, 1 to ${SOURCE_MAX} characters`,
    });
  }
}

function checkEpoch(field: string, epoch: bigint): void {
  if (epoch <= EPOCH_MAX) return;
  throw new KedgeError({
    code: 'POSTURE_EPOCH',
    message: `${String(epoch)} is no epoch`,
    field,
    expected: `0 to ${String(EPOCH_MAX)}`,
  });
}
