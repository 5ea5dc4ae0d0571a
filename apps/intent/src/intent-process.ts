/**
 * The process of the intent, once it is given a schema: opens store, board and slot, and serves until it is told to stop.
 * It must only wire, and does not judge documents: whoever starts it brings the modules that do.
 */
import { PolicyKeeper } from '@kedge/authz';
import { intentService, ParticipantSlot, PostureBoard } from '@kedge/bus';
import type { IntentSchema } from '@kedge/datastores';
import type { AnyDriver } from '@kedge/driver-kit';
import { openIntentStore } from '@kedge/intent-store';
import { ledgerReadings, openOutbox } from '@kedge/ledger-link';
import { readPathAccords } from '@kedge/route-set';
import { loadConfig, openMetrics, postureEntrances, runService, UnixGrpcTransport } from '@kedge/runtime';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configSchema, type IntentConfig } from './config.js';
import type { DeviceReach } from './device-reach.js';
import { Devices } from './devices.js';
import { Intent, type IntentFigures } from './intent.js';
import { IntentModule } from './intent.module.js';
import { UnderlayAccords } from './underlay-accords.js';

const NAME = 'intent';

const GAUGES: Readonly<Record<keyof IntentFigures, string>> = {
  revisions: 'Revisions in the history of the intent.',
  bytes: 'Bytes of all documents in the history of the intent, before they are packed.',
  running: 'Number of the revision that is running.',
  pending: '1 while a commit waits to be confirmed, or to be put back.',
  alarms: 'Alarms of the intent.',
};

/** The way to devices, and the back ends by which plans for them are made. */
export interface DeviceWays {
  readonly reach: DeviceReach;
  readonly drivers: readonly AnyDriver[];
  close(): void | Promise<void>;
}

/**
 * Runs the service. Never rejects.
 *
 * @param openSchema the modules by which documents are judged.
 * @param openWays the way to devices; left out: intent is kept, and brought to none.
 */
export async function runIntent(
  openSchema: () => Promise<IntentSchema> | IntentSchema,
  openWays?: (config: IntentConfig) => Promise<DeviceWays> | DeviceWays,
): Promise<void> {
  await runService({
    name: NAME,
    start: async ({ argv, logger }) => {
      const config = loadConfig(configSchema, argv);
      logger.level = config.logLevel;
      const { directory, owners } = config.board;
      const slot = ParticipantSlot.create({ directory, name: NAME, path: 'none' });
      slot.beat(false);
      mkdirSync(config.state, { recursive: true, mode: 0o700 });
      const clock = { monotonicNs, wallMs: () => Date.now() };
      const records = openOutbox({
        directory: join(config.state, 'records'),
        ledger: config.ledger,
        clock,
        log: logger,
      });
      const board = new PostureBoard({ directory, owners, realtime: false });
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
      const store = await openIntentStore({ path: join(config.state, 'intent.db') });
      const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
      const ways = await openWays?.(config);
      const { accords, zones, atOnce } = config.devices;
      const devices =
        ways === undefined
          ? undefined
          : await Devices.open({
              place: { appliance: config.appliance, bootId },
              directory: join(config.state, 'devices'),
              ...{ ...ways, atOnce, board, clock },
              accords: new UnderlayAccords(
                accords === undefined || zones === undefined
                  ? undefined
                  : readPathAccords({ accords, zones }),
              ),
              append: (record) => records.append(record),
              log: logger.child({ component: 'devices' }),
            });
      const intent = await Intent.open({
        config,
        store,
        schema: await openSchema(),
        board,
        policies,
        records,
        bootId,
        clock,
        log: logger.child({ component: 'datastores' }),
        onIntended: [(held) => devices?.intend(held)],
        moreAlarms: () => devices?.alarms ?? [],
      });
      devices?.begin(intent.datastores);
      const transport = new UnixGrpcTransport({
        services: [intentService],
        entrances: [
          ...postureEntrances(config.sockets, 'intent/intent.sock'),
          { path: `${config.sockets}/internal/intent.sock`, channel: 'local', tier: 'site_owner' },
        ],
        onFault: ({ method, kind, tier, channel, error }) => {
          logger.warn({ err: error, method, kind, tier, channel }, 'a call went wrong');
        },
      });
      const metrics = openMetrics(config.metrics);
      metrics?.read(() => {
        const figures = intent.figures();
        return [
          ...ledgerReadings(records.status()),
          ...(Object.keys(GAUGES) as (keyof IntentFigures)[]).map(
            (figure) =>
              ({
                type: 'gauge',
                name: `kedge_intent_${figure}`,
                help: GAUGES[figure],
                labels: [],
                samples: [{ labels: {}, value: figures[figure] }],
              }) as const,
          ),
        ];
      });
      return {
        module: IntentModule.around(intent),
        transports: [transport],
        heart: {
          beat: (serving) => {
            slot.beat(serving);
          },
        },
        serving: () => intent.serving,
        afterServing: () => policies.startInTime(),
        metrics,
        close: async () => {
          await policies.close();
          await devices?.close();
          await ways?.close();
          await intent.close();
          await store.close();
          await records.close();
          board.close();
          slot.close();
        },
      };
    },
  });
}
