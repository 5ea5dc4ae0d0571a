/**
 * The process of the intent, once it is given a schema: opens store, board and slot, and serves until it is told to stop.
 * It must only wire, and does not judge documents: whoever starts it brings the modules that do.
 */
import { PolicyKeeper } from '@kedge/authz';
import { intentDevicesService, intentService, ParticipantSlot, PostureBoard } from '@kedge/bus';
import type { IntentSchema } from '@kedge/datastores';
import { openIntentStore } from '@kedge/intent-store';
import { ledgerReadings, openOutbox } from '@kedge/ledger-link';
import {
  loadConfig,
  type Logger,
  openMetrics,
  postureEntrances,
  runService,
  UnixGrpcTransport,
} from '@kedge/runtime';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import type { Clock } from '@kedge/units';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { configSchema, type IntentConfig, lookingSocket } from './config.js';
import { IntendedAccords } from './intended-accords.js';
import { Intent, type IntentFigures } from './intent.js';
import { IntentModule } from './intent.module.js';
import type { DevicesGround, TendedDevices } from './tended-devices.js';

const NAME = 'intent';

const GAUGES: Readonly<Record<keyof IntentFigures, string>> = {
  revisions: 'Revisions in the history of the intent.',
  bytes: 'Bytes of all documents in the history of the intent, before they are packed.',
  running: 'Number of the revision that is running.',
  pending: '1 while a commit waits to be confirmed, or to be put back.',
  alarms: 'Alarms of the intent.',
};

/**
 * Runs the service. Never rejects.
 *
 * @param openSchema the modules by which documents are judged.
 * @param openDevices who looks after the devices; without it, or where it gives nobody, nobody does.
 */
export async function runIntent(
  openSchema: (config: IntentConfig) => Promise<IntentSchema> | IntentSchema,
  openDevices?: (ground: DevicesGround) => Promise<TendedDevices | undefined> | TendedDevices | undefined,
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
      const intent = await Intent.open({
        config,
        store,
        schema: await openSchema(config),
        board,
        policies,
        records,
        bootId,
        clock,
        log: logger.child({ component: 'datastores' }),
      });
      const accords = await bringAccords(intent, { config, board, clock, log: logger });
      const devices = await openDevices?.({
        ...{ config, intent, board, records, bootId, clock },
        log: logger.child({ component: 'devices' }),
      });
      const transport = new UnixGrpcTransport({
        services: [intentService, intentDevicesService],
        entrances: [
          ...postureEntrances(config.sockets, 'intent/intent.sock'),
          { path: lookingSocket(config), channel: 'local', tier: 'site_owner' },
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
        module: IntentModule.around(intent, devices?.views),
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
          await accords?.close();
          await devices?.close();
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

/** Has the accords of the intent brought into force; undefined where no coordinator is configured. */
async function bringAccords(
  intent: Intent,
  { config, board, clock, log }: AccordsGround,
): Promise<IntendedAccords | undefined> {
  if (config.accords === undefined) return undefined;
  const accords = await IntendedAccords.open({
    ...config.accords,
    directory: join(config.state, 'accords'),
    level: board.snapshot().gateLevel,
    clock,
    log: log.child({ component: 'accords' }),
  });
  intent.showAlarms(() => accords.alarms);
  intent.onLevel((level) => accords.level(level));
  intent.onIntended((intended) => (intended === undefined ? accords.withheld() : accords.intended(intended)));
  return accords;
}

interface AccordsGround {
  readonly config: IntentConfig;
  readonly board: PostureBoard;
  readonly clock: Clock;
  readonly log: Logger;
}
