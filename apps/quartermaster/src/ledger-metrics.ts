/**
 * What the quartermaster counts, from how it stands.
 * It must not know where metrics go.
 */
import type { LedgerStatusReply } from '@kedge/bus';
import type { Reading, Sample } from '@kedge/contracts';
import type { StoreStatus } from '@kedge/ledger-store';

import type { FeedStanding } from './syslog-feed.js';

/** Readings of the ledger. */
export function ledgerReadings(
  { size, keptFrom, refusing, indexed, sources, alarms, witness }: LedgerStatusReply,
  { flushes, walBytes, waitingBytes, subjects, keptOut }: StoreStatus,
  feeds: readonly FeedStanding[],
): readonly Reading[] {
  const one = (
    type: Reading['type'],
    name: Reading['name'],
    help: string,
    value: number | bigint,
  ): Reading => ({
    type,
    name,
    help,
    labels: [],
    samples: [{ labels: {}, value }],
  });
  const byFeed = (
    type: Reading['type'],
    name: Reading['name'],
    help: string,
    of: (feed: FeedStanding) => number,
  ): readonly Reading[] =>
    feeds.length === 0
      ? []
      : [
          {
            ...{ type, name, help, labels: ['feed'] },
            samples: feeds.map((feed) => ({ labels: { feed: feed.name }, value: of(feed) })),
          },
        ];
  // Of a service its spools together: their ids are no small known set.
  const bySource = (of: (source: LedgerStatusReply['sources'][number]) => bigint): readonly Sample[] => {
    const sums = new Map<string, bigint>();
    for (const source of sources) sums.set(source.service, (sums.get(source.service) ?? 0n) + of(source));
    return [...sums].map(([source, value]) => ({ labels: { source }, value }));
  };
  return [
    one('counter', 'kedge_ledger_entries_total', 'Durable entries of the ledger.', size),
    one(
      'gauge',
      'kedge_ledger_kept_from',
      'Entries below may have lost their bundles to retention.',
      keptFrom,
    ),
    one('gauge', 'kedge_ledger_refusing', '1 while new records are refused.', refusing ? 1 : 0),
    one('gauge', 'kedge_ledger_index_lag', 'Entries that the index lacks.', size - indexed),
    one('counter', 'kedge_ledger_flushes_total', 'Groups that were flushed, since the start.', flushes),
    one('gauge', 'kedge_ledger_wal_bytes', 'Bytes of durable entries that are not in tiles yet.', walBytes),
    one('gauge', 'kedge_ledger_waiting_bytes', 'Bytes of records that wait for their flush.', waitingBytes),
    one('gauge', 'kedge_ledger_subjects', 'Subjects that have a key.', subjects),
    one(
      'counter',
      'kedge_ledger_kept_out_total',
      'Delivered records that are none, since the start.',
      keptOut,
    ),
    one('gauge', 'kedge_ledger_alarms', 'What is not as it should be.', alarms.length),
    ...(witness === undefined
      ? []
      : [
          one(
            'gauge',
            'kedge_ledger_witnessed_size',
            'Size of the newest cosigned checkpoint.',
            witness.size,
          ),
        ]),
    ...byFeed('gauge', 'kedge_ledger_feed_connected', '1 while a feed has its receiver.', ({ connected }) =>
      connected ? 1 : 0,
    ),
    ...byFeed('gauge', 'kedge_ledger_feed_lag', 'Entries that a feed has still to send.', ({ lag }) => lag),
    ...byFeed(
      'gauge',
      'kedge_ledger_feed_received',
      'Entries below were read by the receiver of a feed.',
      ({ received }) => received,
    ),
    ...byFeed(
      'counter',
      'kedge_ledger_feed_messages_total',
      'Messages that a feed sent since the start, repeated ones included.',
      ({ sent }) => sent,
    ),
    ...byFeed(
      'counter',
      'kedge_ledger_feed_left_out_total',
      'Entries that a feed could not send, since the start.',
      ({ leftOut }) => leftOut,
    ),
    {
      type: 'counter',
      name: 'kedge_ledger_records_total',
      help: 'Records that a service delivered since the start, those that were there already included.',
      labels: ['source'],
      samples: bySource(({ records }) => records),
    },
  ];
}
