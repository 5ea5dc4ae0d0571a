/**
 * The process: opens key, log and index, and serves until it is told to stop.
 * It must only wire.
 */
import { PolicyKeeper } from '@kedge/authz';
import { intakeService, ledgerService, ParticipantSlot, PostureBoard } from '@kedge/bus';
import { leafHash, signerOf, verifierOf } from '@kedge/ledger';
import { openLedgerIndex } from '@kedge/ledger-index';
import { openLedgerStore, type SealedRecord } from '@kedge/ledger-store';
import {
  loadConfig,
  openMetrics,
  postureEntrances,
  runService,
  type SocketEntrance,
  UnixGrpcTransport,
} from '@kedge/runtime';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import type { KedgeError } from '@kedge/units';
import { randomBytes } from 'node:crypto';
import { constants, setPriority } from 'node:os';
import { dirname, join } from 'node:path';

import { configSchema, type QuartermasterConfig } from './config.js';
import { EntryReader } from './entry-reader.js';
import { IndexFollower } from './index-follower.js';
import { signingKey } from './key-file.js';
import { ledgerReadings } from './ledger-metrics.js';
import { Quartermaster } from './quartermaster.js';
import { QuartermasterModule } from './quartermaster.module.js';
import { SyslogFeed } from './syslog-feed.js';

const NAME = 'quartermaster';

/** A service delivers by its own socket only; who asks does so by the way in of channel and tier. */
function entrances({ sockets, sources }: QuartermasterConfig): readonly SocketEntrance[] {
  const asked = [
    ...postureEntrances(sockets, 'ledger/ledger.sock'),
    { path: `${sockets}/internal/ledger.sock`, channel: 'local', tier: 'site_owner' } as const,
  ];
  return [
    ...sources.map((service): SocketEntrance => ({
      path: `${sockets}/sources/${service}/ledger.sock`,
      channel: 'local',
      tier: 'apprentice',
      services: [intakeService],
    })),
    ...asked.map((entrance): SocketEntrance => ({ ...entrance, services: [ledgerService] })),
  ];
}

/** Records of access in an emergency are kept longer. */
function isBreakGlass(record: SealedRecord): boolean {
  const { rule } = record;
  return typeof rule === 'string' && rule.startsWith('break-glass');
}

await runService({
  name: NAME,
  start: async ({ argv, logger }) => {
    const config = loadConfig(configSchema, argv);
    logger.level = config.logLevel;
    // Records are durable where they come from: whoever acts on the posture goes first. Its threads begin with it, too.
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
    const { directory, owners } = config.board;
    const slot = ParticipantSlot.create({ directory, name: NAME, path: 'none' });
    slot.beat(false);
    const board = new PostureBoard({ directory, owners, realtime: false });
    const { key, made } = await signingKey(config.key);
    if (made) logger.info({ path: config.key }, 'a key was made: the ledger begins');
    const signer = signerOf(config.origin, key);
    let trouble: KedgeError | undefined;
    const store = await openLedgerStore({
      directory: config.directory,
      signer,
      randomBytes: (count) => randomBytes(count),
      retention: { ...config.retention, isBreakGlass },
      onTrouble: (error) => {
        logger.error({ err: error }, 'the ledger refuses records');
        // One record that is none keeps no other out.
        if (error.code !== 'LEDGER_KEPT_OUT') trouble = error;
      },
    });
    logger.info({ ...store.recovery }, 'the ledger is open');
    const log = logger.child({ component: 'ledger' });
    const openIndex = () =>
      openLedgerIndex({
        path: join(config.directory, 'index.db'),
        origin: config.origin,
        leafAt: (index) => {
          if (index >= store.size) return undefined;
          const entry = new EntryReader(store).entry(index);
          return entry && leafHash(entry);
        },
      });
    const follower = new IndexFollower(store, openIndex, log);
    const { witness } = config;
    const policies = new PolicyKeeper({
      ...config.authorisation,
      kept: join(dirname(config.key), 'policies.kept'),
      onChanged: ({ name, generation }) => {
        logger.info({ policies: name, generation }, 'other policies are in force');
      },
      onTrouble: (error) => {
        if (error !== undefined) logger.error({ err: error }, 'the policies cannot be used');
      },
    });
    const quartermaster = new Quartermaster({
      config,
      store,
      follower,
      board,
      verifier: signer.text,
      anchoring: witness && {
        store,
        url: witness.url,
        witness: verifierOf(witness.key),
        log: signer,
        everyMs: witness.everyMs,
        timeoutMs: witness.timeoutMs,
        random: Math.random,
        say: log,
      },
      feeds: config.feeds.map(
        (feed) =>
          new SyslogFeed({
            config: feed,
            store,
            origin: config.origin,
            cursorPath: join(config.directory, `feed-${feed.name}.json`),
            say: log,
          }),
      ),
      trouble: () => trouble,
      policies,
      clock: { monotonicNs, wallMs: () => Date.now() },
      log,
    });
    const transport = new UnixGrpcTransport({
      services: [intakeService, ledgerService],
      entrances: entrances(config),
      onFault: ({ method, kind, tier, channel, error }) => {
        logger.warn({ err: error, method, kind, tier, channel }, 'a call went wrong');
      },
    });
    const metrics = openMetrics(config.metrics);
    metrics?.read(() => ledgerReadings(quartermaster.status(), store.status(), quartermaster.feeds));
    return {
      module: QuartermasterModule.around(quartermaster),
      transports: [transport],
      heart: {
        beat: (serving) => {
          slot.beat(serving);
        },
      },
      serving: () => quartermaster.serving,
      afterServing: () => policies.startInTime(),
      metrics,
      close: async () => {
        await policies.close();
        await quartermaster.close();
        await follower.close();
        await store.close();
        board.close();
        slot.close();
      },
    };
  },
});
