/**
 * What the bridge counts: the counters of the data planes summed over their workers, and its tables.
 * It must not read shared memory by itself, nor know where metrics go.
 */
import type { DataPlaneReport, ShowReply, WorkerReport } from '@kedge/bus';
import type { Reading, Sample } from '@kedge/contracts';

/** Readings of what the bridge shows. Counters fall when a worker is started anew, as counters may. */
export function bridgeReadings({
  generation,
  dataplanes,
  zones,
  alarms,
  waiting,
}: ShowReply): readonly Reading[] {
  const zone = new Map(zones.map(({ id, name }) => [id, name]));
  const nameOf = (id: number): string => zone.get(id) ?? `zone-${String(id)}`;
  const each = <Part>(
    partsOf: (worker: WorkerReport) => readonly (readonly [Part, number | bigint])[],
    labelsOf: (part: Part) => Readonly<Record<string, string>>,
  ): readonly Sample[] =>
    dataplanes.flatMap(({ name, workers }) =>
      summed(
        workers
          .flatMap(partsOf)
          .map(([part, value]) => ({ labels: { dataplane: name, ...labelsOf(part) }, value })),
      ),
    );
  const family = (
    type: Reading['type'],
    name: Reading['name'],
    help: string,
    labels: readonly string[],
    samples: readonly Sample[],
  ): Reading => ({ type, name, help, labels, samples });
  const one = (
    name: Reading['name'],
    help: string,
    of: (dataplane: DataPlaneReport) => number | bigint,
    type: Reading['type'] = 'counter',
  ) =>
    family(
      type,
      name,
      help,
      ['dataplane'],
      dataplanes.map((dataplane) => ({ labels: { dataplane: dataplane.name }, value: of(dataplane) })),
    );
  const total = ({ workers }: DataPlaneReport, of: (worker: WorkerReport) => bigint): bigint =>
    workers.reduce((sum, worker) => sum + of(worker), 0n);
  const queues = (of: 'sent' | 'waited' | 'lost' | 'withdrawn') =>
    each(
      ({ queues: found }) => Object.entries(found).map(([queue, counts]) => [queue, counts[of]]),
      (queue) => ({ queue, what: of }),
    );
  const applications = (of: 'packets' | 'bytes') =>
    each(
      ({ applications: found }) => Object.entries(found).map(([name, counts]) => [name, counts[of]]),
      (application) => ({ application }),
    );
  return [
    one(
      'kedge_dataplane_up',
      '1 while the process of the data plane lives.',
      ({ alive }) => Number(alive),
      'gauge',
    ),
    one('kedge_dataplane_workers', 'Packet workers.', ({ workers }) => workers.length, 'gauge'),
    one('kedge_dataplane_received_packets_total', 'Packets received.', (dataplane) =>
      total(dataplane, ({ received }) => received),
    ),
    one('kedge_dataplane_sent_packets_total', 'Packets sent.', (dataplane) =>
      total(dataplane, ({ sent }) => sent),
    ),
    family(
      'counter',
      'kedge_dataplane_packets_total',
      'Packets judged, by verdict and by what it rests on.',
      ['dataplane', 'reason', 'verdict'],
      each(
        ({ reasons }) => Object.entries(reasons),
        (key) => {
          const at = key.lastIndexOf('-');
          return { reason: key.slice(0, at), verdict: key.slice(at + 1) };
        },
      ),
    ),
    family(
      'counter',
      'kedge_dataplane_pair_packets_total',
      'Packets between two zones that no entry matched, by the verdict of the pair.',
      ['dataplane', 'from_zone', 'to_zone', 'verdict'],
      each(
        ({ pairs }) => pairs.map((pair) => [pair, pair.packets]),
        ({ fromZone, toZone, verdict }) => ({
          from_zone: nameOf(fromZone),
          to_zone: nameOf(toZone),
          verdict,
        }),
      ),
    ),
    family(
      'counter',
      'kedge_dataplane_queue_packets_total',
      'Packets of a queue: sent, had to wait, lost, withdrawn by a tighter level.',
      ['dataplane', 'queue', 'what'],
      (['sent', 'waited', 'lost', 'withdrawn'] as const).flatMap(queues),
    ),
    family(
      'gauge',
      'kedge_dataplane_queue_waiting_packets',
      'Packets that wait now.',
      ['dataplane', 'queue'],
      each(
        ({ queues: found }) => Object.entries(found).map(([queue, { waiting: now }]) => [queue, now]),
        (queue) => ({ queue }),
      ),
    ),
    family(
      'counter',
      'kedge_dataplane_application_packets_total',
      'Packets of flows that deep classification recognised.',
      ['dataplane', 'application'],
      applications('packets'),
    ),
    family(
      'counter',
      'kedge_dataplane_application_bytes_total',
      'Bytes of flows that deep classification recognised.',
      ['dataplane', 'application'],
      applications('bytes'),
    ),
    one(
      'kedge_dataplane_flows',
      'Flows that live now.',
      (dataplane) => total(dataplane, ({ flows }) => flows?.live ?? 0n),
      'gauge',
    ),
    one('kedge_dataplane_flows_begun_total', 'Flows that began.', (dataplane) =>
      total(dataplane, ({ flows }) => flows?.begun ?? 0n),
    ),
    one('kedge_dataplane_flows_evicted_total', 'Flows that had to make room for newer ones.', (dataplane) =>
      total(dataplane, ({ flows }) => flows?.evicted ?? 0n),
    ),
    one(
      'kedge_flow_gaps_total',
      'Records of flows that were overwritten unread.',
      ({ flowGaps }) => flowGaps,
    ),
    one(
      'kedge_telemetry_gaps_total',
      'Events of a data plane that were overwritten unread.',
      ({ telemetryGaps }) => telemetryGaps,
    ),
    family(
      'gauge',
      'kedge_tables_generation',
      'The generation of the tables in force; 0 = none.',
      [],
      [{ labels: {}, value: generation }],
    ),
    family(
      'gauge',
      'kedge_tables_waiting',
      '1 while newer tables wait for a free bank.',
      [],
      [{ labels: {}, value: Number(waiting !== '') }],
    ),
    family(
      'gauge',
      'kedge_bridge_alarms',
      'Alarms of the bridge that stand.',
      [],
      [{ labels: {}, value: alarms.length }],
    ),
  ];
}

/** Samples of the same labels as one. */
function summed(samples: readonly Sample[]): readonly Sample[] {
  const sums = new Map<string, Sample>();
  for (const sample of samples) {
    const key = JSON.stringify(sample.labels);
    const before = sums.get(key);
    sums.set(
      key,
      before === undefined ? sample : { ...sample, value: BigInt(before.value) + BigInt(sample.value) },
    );
  }
  return [...sums.values()];
}
