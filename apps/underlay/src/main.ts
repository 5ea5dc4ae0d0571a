/**
 * The process: opens board, slot, desired set and proposals, and serves until it is told to stop.
 * It must only wire.
 */
import { PolicyKeeper } from '@kedge/authz';
import { openDesiredStore, ParticipantSlot, PostureBoard, underlayService } from '@kedge/bus';
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
import { join } from 'node:path';

import { configSchema } from './config.js';
import { proposalKind } from './proposals.js';
import { Underlay } from './underlay.js';
import { UnderlayModule } from './underlay.module.js';

const NAME = 'underlay';

await runService({
  name: NAME,
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
      onChanged: ({ name, generation }) => {
        logger.info({ policies: name, generation }, 'other policies are in force');
      },
      onTrouble: (error) => {
        if (error !== undefined) logger.error({ err: error }, 'the policies cannot be used');
      },
    });
    const underlay = new Underlay({
      config,
      board,
      slot,
      routes,
      proposals,
      accords,
      authoriser: policies.authoriser,
      clock: { monotonicNs, wallMs: () => Date.now() },
      log: logger.child({ component: 'gate' }),
    });
    const transport = new UnixGrpcTransport({
      services: [underlayService],
      entrances: [
        ...postureEntrances(config.sockets, 'underlay/gate.sock'),
        { path: `${config.sockets}/internal/underlay.sock`, channel: 'local', tier: 'site_owner' },
      ],
      onFault: ({ method, kind, tier, channel, error }) => {
        logger.warn({ err: error, method, kind, tier, channel }, 'a call went wrong');
      },
    });
    const metrics = openMetrics(config.metrics);
    metrics?.read(() => {
      const status = underlay.status();
      const gauge = (name: `kedge_${string}`, help: string, value: number) =>
        ({ type: 'gauge', name, help, labels: [], samples: [{ labels: {}, value }] }) as const;
      return [
        ...routeReadings(status),
        gauge('kedge_gate_permits', 'Permits to write that are out.', status.permits),
        gauge(
          'kedge_gate_proposals',
          'Mutations that wait for somebody who may execute them.',
          status.proposals,
        ),
      ];
    });
    return {
      module: UnderlayModule.around(underlay),
      transports: [transport],
      heart: underlay,
      serving: () => underlay.serving,
      afterServing: () => policies.start(),
      metrics,
      close: async () => {
        await policies.close();
        await underlay.close();
        await traces?.close();
        board.close();
        slot.close();
      },
    };
  },
});
