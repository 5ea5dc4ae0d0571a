/**
 * What the way to the ledger counts.
 * It must not know which service asks, nor where metrics go.
 */
import type { Reading } from '@kedge/contracts';

import type { OutboxStatus } from './outbox.js';

/** Readings of the records of one service. */
export function ledgerReadings({ spool, link, lost }: OutboxStatus): readonly Reading[] {
  const reading = (
    type: Reading['type'],
    name: Reading['name'],
    help: string,
    value: number | bigint,
  ): Reading => ({ type, name, help, labels: [], samples: [{ labels: {}, value }] });
  return [
    reading('counter', 'kedge_records_lost_total', 'Records that never reached the spool.', lost),
    reading('gauge', 'kedge_spool_open', '1 while the spool takes records.', Number(spool?.state === 'open')),
    reading('gauge', 'kedge_spool_bytes', 'Bytes of the files of the spool.', spool?.bytes ?? 0),
    reading('gauge', 'kedge_spool_limit_bytes', 'Bytes that the spool may have.', spool?.maxBytes ?? 0),
    reading(
      'counter',
      'kedge_spool_records_total',
      'Records that became durable, since the spool was made.',
      spool?.durable ?? 0n,
    ),
    ...(link === undefined
      ? []
      : [
          reading('gauge', 'kedge_ledger_linked', '1 while the ledger takes records.', Number(link.linked)),
          reading(
            'gauge',
            'kedge_ledger_waiting_records',
            'Records that the ledger is not known to keep.',
            link.waiting,
          ),
          reading(
            'gauge',
            'kedge_ledger_waiting_seconds',
            'How long the oldest of them has waited at most, since the start.',
            link.waitingMs / 1e3,
          ),
          reading('counter', 'kedge_ledger_kept_records_total', 'Records that the ledger took.', link.kept),
        ]),
  ];
}
