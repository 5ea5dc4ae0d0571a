/**
 * The process: opens board, slot, desired set and proposals, and serves until it is told to stop.
 * It must only wire.
 */
import { PolicyKeeper } from '@kedge/authz';
import {
  devicesService,
  openDesiredStore,
  ParticipantSlot,
  PostureBoard,
  sha256,
  underlayService,
} from '@kedge/bus';
import type { Action } from '@kedge/contracts';
import { ledgerReadings, openOutbox } from '@kedge/ledger-link';
import { participantSpans, readPathAccords, routeKind, routeReadings } from '@kedge/route-set';
import {
  loadConfig,
  openMetrics,
  openTraces,
  postureEntrances,
  runService,
  UnixGrpcTransport,
} from '@kedge/runtime';
import { monotonicNs, wallOffsetNs } from '@kedge/shared-memory-ipc';
import { KedgeError } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configSchema } from './config.js';
import { Devices } from './devices.js';
import { GateKeeper } from './gate-keeper.js';
import { proposalKind } from './proposals.js';
import { Underlay } from './underlay.js';
import { UnderlayModule } from './underlay.module.js';
import { waysOf } from './ways.js';

const NAME = 'underlay';
/** What a call asks for; the others only look. */
const ACTIONS: Readonly<Record<string, Action>> = {
  Ask: 'mutation.execute',
  CarryOut: 'mutation.execute',
  Execute: 'mutation.execute',
  Propose: 'mutation.propose',
  Withdraw: 'mutation.propose',
};

await runService({
  name: NAME,
  // A second for the callers, one for what is taken back on devices, the rest for how it stands there and the records.
  stopMs: 5_000,
  start: async ({ argv, logger }) => {
    const config = loadConfig(configSchema, argv);
    logger.level = config.logLevel;
    const { directory, owners } = config.board;
    const slot = ParticipantSlot.create({ directory, name: NAME, path: 'underlay' });
    slot.beat(false);
    const traces = openTraces(config, { service: NAME, wallOffsetNs, logger });
    if (traces !== undefined) {
      const spansOf = participantSpans('underlay');
      slot.onAcknowledged((ack) => {
        traces.say(...spansOf(ack));
      });
    }
    const clock = { monotonicNs, wallMs: () => Date.now() };
    const records = openOutbox({
      directory: join(config.state, 'records'),
      ledger: config.ledger,
      clock,
      log: logger,
    });
    const board = new PostureBoard({ directory, owners });
    const routes = await openDesiredStore({
      path: join(config.state, 'routes.json'),
      kind: routeKind('underlay'),
    });
    const proposals = await openDesiredStore({
      path: join(config.state, 'proposals.json'),
      kind: proposalKind,
    });
    for (const { damage } of [routes, proposals]) {
      if (damage !== undefined) logger.error({ err: damage }, 'a file of the underlay is damaged');
    }
    const accords = readPathAccords(config);
    if (accords.refusal !== undefined)
      logger.error({ err: accords.refusal }, 'accords cannot be used: nothing is allowed');
    const policies = new PolicyKeeper({
      ...config.authorisation,
      kept: join(config.state, 'policies.kept'),
      onChanged: ({ name, generation }) => {
        logger.info({ policies: name, generation }, 'other policies are in force');
      },
      onTrouble: (error) => {
        if (error !== undefined) logger.error({ err: error }, 'the policies cannot be used');
      },
    });
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const keeper = new GateKeeper({ config, board, accords, policies, records, bootId, clock });
    const devices = new Devices({
      ...{ config, keeper, wayTo: waysOf(sha256), records, bootId, clock, sha256 },
      log: logger.child({ component: 'devices' }),
    });
    const underlay = new Underlay({
      ...{
        config,
        board,
        slot,
        routes,
        proposals,
        accords,
        policies,
        keeper,
        devices,
        clock,
        records,
        bootId,
      },
      log: logger.child({ component: 'gate' }),
    });
    const own = { channel: 'local', tier: 'site_owner' } as const;
    const transport = new UnixGrpcTransport({
      services: [underlayService, devicesService],
      entrances: [
        ...[
          ...postureEntrances(config.sockets, 'underlay/gate.sock'),
          { path: `${config.sockets}/internal/underlay.sock`, ...own },
        ].map((entrance) => ({ ...entrance, services: [underlayService] })),
        // Whoever calls here says for whom, and is believed: the directory lets nobody but the intent in.
        ...(config.devicesSocket === undefined
          ? []
          : [{ path: config.devicesSocket, ...own, services: [devicesService] }]),
      ],
      onFault: ({ method, kind, tier, channel, error }) => {
        logger.warn({ err: error, method, kind, tier, channel }, 'a call went wrong');
        const action = ACTIONS[method.slice(method.lastIndexOf('/') + 1)];
        const refusal =
          kind === 'malformed'
            ? { code: 'BUS_MESSAGE_INVALID', message: `${method} was sent what is no request of it` }
            : error;
        if (action !== undefined && (kind === 'malformed' || refusal instanceof KedgeError))
          underlay.recordFault(
            action,
            { tier, channel, target: method.includes('.Devices/') ? 'devices' : undefined },
            refusal as Pick<KedgeError, 'code' | 'message'>,
          );
      },
    });
    const metrics = openMetrics(config.metrics);
    metrics?.read(() => {
      const status = underlay.status();
      const gauge = (name: `kedge_${string}`, help: string, value: number) =>
        ({ type: 'gauge', name, help, labels: [], samples: [{ labels: {}, value }] }) as const;
      return [
        ...routeReadings(status),
        ...ledgerReadings(records.status()),
        gauge('kedge_gate_permits', 'Permits to write that are out.', status.permits),
        gauge(
          'kedge_gate_proposals',
          'Mutations that wait for somebody who may execute them.',
          status.proposals,
        ),
      ];
    });
    return {
      module: UnderlayModule.around(underlay, devices),
      transports: [transport],
      heart: underlay,
      serving: () => underlay.serving,
      afterServing: () => policies.startInTime(),
      metrics,
      close: async () => {
        await policies.close();
        keeper.close();
        await devices.close();
        await underlay.close();
        await records.close();
        await traces?.close();
        board.close();
        slot.close();
      },
    };
  },
});
