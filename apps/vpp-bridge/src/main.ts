/**
 * The process: opens board, spool and tables, and serves until it is told to stop.
 * It must only wire.
 */
import { governanceService, PostureBoard } from '@kedge/bus';
import type { Action } from '@kedge/contracts';
import { ledgerReadings, openOutbox } from '@kedge/ledger-link';
import {
  loadConfig,
  openMetrics,
  openTraces,
  runService,
  type UnixGrpcOptions,
  UnixGrpcTransport,
} from '@kedge/runtime';
import { monotonicNs, wallOffsetNs } from '@kedge/shared-memory-ipc';
import { KedgeError } from '@kedge/units';
import { randomInt } from 'node:crypto';

import { bridgeReadings } from './bridge-metrics.js';
import { BridgeModule } from './bridge.module.js';
import { configSchema } from './config.js';
import { Governance } from './governance.js';
import { workerSpans } from './worker-spans.js';

/** Health says SERVING only while there are tables to serve; calls are answered before, so that one can see why. */
class HonestTransport extends UnixGrpcTransport {
  readonly #governance: Governance;
  #announced = false;

  constructor(governance: Governance, options: UnixGrpcOptions) {
    super(options);
    this.#governance = governance;
    governance.onPublished(() => {
      this.setServing(this.#announced);
    });
  }

  override setServing(serving: boolean): void {
    this.#announced = serving;
    super.setServing(serving && this.#governance.serving);
  }
}

/** What each call asks for, by its path. */
const actions: Readonly<Record<string, Action>> = {
  '/kedge.governance.v1.Governance/Show': 'governance.show',
  '/kedge.governance.v1.Governance/Plan': 'governance.plan',
  '/kedge.governance.v1.Governance/WatchFlows': 'governance.flows',
};

await runService({
  name: 'vpp-bridge',
  start: async ({ argv, logger }) => {
    const config = loadConfig(configSchema, argv);
    // The data plane's tables matter more than its records: without a spool it goes on, and every lost record is seen.
    const records = openOutbox({
      directory: config.spool,
      ledger: config.ledger,
      clock: { monotonicNs },
      log: logger,
    });
    const board = new PostureBoard({ directory: config.board, owners: config.owners, realtime: false });
    const governance = new Governance({
      config,
      board,
      records,
      clock: { monotonicNs, wallMs: () => Date.now() },
      random: (below) => randomInt(below),
      log: logger.child({ component: 'governance' }),
    });
    const transport = new HonestTransport(governance, {
      services: [governanceService],
      entrances: [
        { path: `${config.sockets}/internal/governance.sock`, channel: 'local', tier: 'site_owner' },
      ],
      onFault: ({ method, kind, error }) => {
        logger.warn({ err: error, method, kind }, 'a call went wrong');
        const refusal =
          kind === 'malformed'
            ? { code: 'BUS_MESSAGE_INVALID', message: `${method} was sent what is no request of it` }
            : error;
        const action = actions[method];
        if (action !== undefined && (kind === 'malformed' || refusal instanceof KedgeError))
          governance.recordRefusal(action, refusal as Pick<KedgeError, 'code' | 'message'>);
      },
    });
    const metrics = openMetrics(config.metrics);
    metrics?.read(() => [...bridgeReadings(governance.show()), ...ledgerReadings(records.status())]);
    const traces = openTraces(config, { service: 'vpp-bridge', wallOffsetNs, logger });
    if (traces !== undefined) {
      const dataplanes = Object.keys(config.owners)
        .filter((file) => file.startsWith('dataplane-'))
        .map((file) => file.slice('dataplane-'.length));
      board.on('dataplane.acknowledged', (event) => {
        traces.say(...workerSpans(event, dataplanes));
      });
    }
    governance.start();
    return {
      module: BridgeModule.around(governance),
      transports: [transport],
      heart: governance,
      serving: () => governance.serving,
      metrics,
      close: async () => {
        await governance.close();
        await traces?.close();
        board.close();
        await records.close();
      },
    };
  },
});
