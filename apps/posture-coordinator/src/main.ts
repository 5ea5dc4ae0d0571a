/**
 * The posture coordinator: recovers the last decision, then serves.
 * It must hold wiring only.
 */
import { basculeService, intentPostureService, postureService } from '@kedge/bus';
import type { Action } from '@kedge/contracts';
import {
  createLogger,
  loadConfig,
  type Logger,
  openMetrics,
  openTraces,
  postureEntrances,
  runService,
  type ServiceParts,
  UnixGrpcTransport,
} from '@kedge/runtime';
import {
  createPostureSegment,
  monotonicNs,
  type PostureWriter,
  SegmentError,
  wallOffsetNs,
} from '@kedge/shared-memory-ipc';
import { type Clock, KedgeError } from '@kedge/units';
import { join } from 'node:path';

import { configSchema, type CoordinatorConfig } from './config.js';
import { countCoordinator } from './coordinator-metrics.js';
import { recoverCoordinator } from './coordinator.js';
import { CoordinatorModule } from './coordinator.module.js';
import { startSources } from './request-sources.js';
import { recordable } from './set-request.js';
import { spansOf } from './transition-spans.js';

const NAME = 'posture-coordinator';
/** As often as the service beats later. */
const STARTING_BEAT_MS = 100;
/** Not available: somebody else holds what this process would need. */
const EXIT_UNAVAILABLE = 4;
/** What a call asks for, by its name; what is none of them cannot be had at all. */
const ACTIONS: Readonly<Record<string, Action>> = {
  Get: 'posture.get',
  Set: 'posture.set',
  Notify: 'posture.set',
  ReloadAccords: 'governance.reload',
  ReloadPolicies: 'authorisation.reload',
  Watch: 'posture.watch',
  History: 'posture.history',
  Transition: 'posture.history',
};

const config = configured();
await runService({
  name: NAME,
  logger: createLogger({ name: NAME, level: config?.logLevel ?? 'info' }),
  start: ({ argv, logger }) => start(config ?? loadConfig(configSchema, argv), logger),
});

/** The configuration, or undefined where `start` has to say what is wrong with it. */
function configured(): CoordinatorConfig | undefined {
  try {
    return loadConfig(configSchema, process.argv.slice(2));
  } catch {
    return undefined;
  }
}

async function start(settings: CoordinatorConfig, logger: Logger): Promise<ServiceParts> {
  const clock: Clock = { monotonicNs, wallMs: () => Date.now() };
  const posture = takeSegment(settings.board.directory);
  // Storage may take its time: whoever watches the beat must see that the event loop does not hang.
  const beating = setInterval(() => {
    posture.beat(false);
  }, STARTING_BEAT_MS);
  posture.beat(false);
  const coordinator = await recoverCoordinator({ settings, logger, clock, posture });
  const { driver } = coordinator;
  const metrics = openMetrics(settings.metrics);
  if (metrics !== undefined) countCoordinator(metrics, driver, coordinator);
  const traces = openTraces(settings, { service: NAME, wallOffsetNs, logger });
  if (traces !== undefined)
    driver.on('ended', (report) => {
      traces.say(...spansOf(report));
    });
  const sources = startSources(settings, coordinator, logger);
  clearInterval(beating);

  return {
    module: CoordinatorModule.of(coordinator),
    transports: [
      new UnixGrpcTransport({
        services: [postureService, basculeService],
        entrances: [
          ...postureEntrances(settings.sockets).map((entrance) => ({
            ...entrance,
            services: [postureService, basculeService],
          })),
          // By itself it may do the least: whatever it is let do it is let do for somebody.
          ...(settings.intentSocket === undefined
            ? []
            : [
                {
                  path: settings.intentSocket,
                  channel: 'local',
                  tier: 'apprentice',
                  services: [intentPostureService],
                } as const,
              ]),
        ],
        // Whoever holds the posture segment is the one coordinator; its sockets need no locks of their own.
        lock: { path: join(settings.board.directory, 'posture'), release: () => Promise.resolve() },
        onFault: ({ kind, channel, tier, error, method }) => {
          const code = error instanceof KedgeError ? error.code : 'POSTURE_MALFORMED';
          logger.warn({ err: error, channel, tier, kind }, 'a call failed');
          // A handler that failed for another reason than the request is a defect, not a refusal.
          if (kind !== 'malformed' && (!(error instanceof KedgeError) || !code.startsWith('POSTURE_')))
            return;
          driver.recordRefusal(
            { source: { channel, tier, principal: '', reason: '' }, level: 0, receivedAtNs: 0n },
            { kind: 'refusal', code, message: recordable(String(error), 512) },
            ACTIONS[method.slice(method.lastIndexOf('/') + 1)],
          );
        },
      }),
    ],
    heart: posture,
    serving: () => driver.serving,
    // Whoever waits for this service waits for no policies: what tightens needs none.
    afterServing: () => coordinator.policies.startInTime(),
    metrics,
    close: async () => {
      await sources.close();
      await coordinator.close();
      await traces?.close();
      posture.close();
    },
  };
}

/** The posture segment, of which there is one writer. */
function takeSegment(directory: string): PostureWriter {
  try {
    return createPostureSegment({ directory });
  } catch (cause) {
    if (!(cause instanceof SegmentError) || cause.code !== 'SEGMENT_BUSY') throw cause;
    const refusal = new KedgeError({
      code: 'COORDINATOR_RUNNING',
      message: `cannot start: another posture coordinator writes to the board ${directory}`,
      help: 'an appliance has one; stop the other first',
      cause,
    });
    process.stderr.write(`${NAME}: ${refusal.code}: ${refusal.message} (${refusal.help ?? ''})\n`);
    process.exit(EXIT_UNAVAILABLE);
  }
}
