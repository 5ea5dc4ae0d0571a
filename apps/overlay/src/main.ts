/**
 * The process: opens board, slot and desired set, and serves until it is told to stop.
 * It must only wire.
 */
import { openDesiredStore, overlayService, ParticipantSlot, PostureBoard } from '@kedge/bus';
import { ledgerReadings, openOutbox } from '@kedge/ledger-link';
import { participantSpans, readPathAccords, routeKind, routeReadings } from '@kedge/route-set';
import { loadConfig, openMetrics, openTraces, runService, UnixGrpcTransport } from '@kedge/runtime';
import { monotonicNs, wallOffsetNs } from '@kedge/shared-memory-ipc';
import { KedgeError } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configSchema } from './config.js';
import { Overlay } from './overlay.js';
import { OverlayModule } from './overlay.module.js';

const NAME = 'overlay';
/** Calls that change something: who is refused one is recorded. */
const EDITS = ['AddRoutes', 'RemoveRoutes'];

await runService({
  name: NAME,
  start: async ({ argv, logger }) => {
    const config = loadConfig(configSchema, argv);
    logger.level = config.logLevel;
    const { directory, owners } = config.board;
    const slot = ParticipantSlot.create({ directory, name: NAME, path: 'overlay' });
    slot.beat(false);
    const traces = openTraces(config, { service: NAME, wallOffsetNs, logger });
    if (traces !== undefined) {
      const spansOf = participantSpans('overlay');
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
    const store = await openDesiredStore({
      path: join(config.state, 'routes.json'),
      kind: routeKind('overlay'),
    });
    if (store.damage !== undefined)
      logger.error({ err: store.damage }, 'the desired set is damaged: lockdown until it is put right');
    const accords = readPathAccords(config);
    if (accords.refusal !== undefined)
      logger.error({ err: accords.refusal }, 'accords cannot be used: nothing is allowed');
    const overlay = new Overlay({
      config,
      board,
      slot,
      store,
      accords,
      clock,
      records,
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
      log: logger.child({ component: 'routes' }),
    });
    const transport = new UnixGrpcTransport({
      services: [overlayService],
      entrances: [{ path: `${config.sockets}/internal/overlay.sock`, channel: 'local', tier: 'site_owner' }],
      onFault: ({ method, kind, tier, channel, error }) => {
        logger.warn({ err: error, method, kind, tier, channel }, 'a call went wrong');
        const refusal =
          kind === 'malformed'
            ? { code: 'BUS_MESSAGE_INVALID', message: `${method} was sent what is no request of it` }
            : error;
        const isEdit = EDITS.includes(method.slice(method.lastIndexOf('/') + 1));
        if (isEdit && (kind === 'malformed' || refusal instanceof KedgeError))
          overlay.recordFault({ tier, channel }, refusal as Pick<KedgeError, 'code' | 'message'>);
      },
    });
    const metrics = openMetrics(config.metrics);
    metrics?.read(() => {
      const status = overlay.status();
      return [
        ...routeReadings({ ...status, appliedEpoch: status.epoch, appliedLevel: status.level }),
        ...ledgerReadings(records.status()),
      ];
    });
    return {
      module: OverlayModule.around(overlay),
      transports: [transport],
      heart: overlay,
      serving: () => overlay.serving,
      metrics,
      close: async () => {
        await overlay.close();
        await records.close();
        await traces?.close();
        board.close();
        slot.close();
      },
    };
  },
});
