/**
 * What a service counts, in the text format of Prometheus; the one place that knows prom-client.
 * It must not know what any service measures, nor serve anything.
 */
import type { Family, Metrics, Reading } from '@kedge/contracts';
import type * as Client from 'prom-client';
import { z } from 'zod';

/** Where metrics are served. */
export const metricsSchema = z.strictObject({
  /** A Unix socket in a directory that exists; whoever may open it may read, and do nothing else. */
  socket: z.string().regex(/^\/[^\0]*$/, 'expected an absolute path'),
  /** Also on this TCP port of 127.0.0.1: open to everybody on the box. Absent: on the socket only. */
  port: z.int().min(1).max(65_535).optional(),
});

/** See {@link metricsSchema}. */
export type MetricsSettings = z.output<typeof metricsSchema>;

/** Samples of one family in one answer; those beyond are left out and counted. */
export const MAX_SAMPLES = 1_024;

/** What is counted before the library is there; beyond it a service counts nothing until it is. */
const MAX_EARLY = 4_096;

/** Metrics that can be told. */
export interface OpenMetrics extends Metrics {
  /** Where they are to be served. */
  readonly settings: MetricsSettings;
  /** Has the library loaded, which takes a tenth of a second: not while a service starts. */
  load(): Promise<void>;
  /** Everything, in the text exposition format 0.0.4. @throws whatever a source throws */
  text(): Promise<string>;
}

/** Content-Type of {@link OpenMetrics.text}. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface Loaded {
  readonly client: (typeof Client)['default'];
  readonly registry: Client.Registry;
  readonly left: Client.Counter;
}

async function loadClient(): Promise<Loaded> {
  const { default: client } = await import('prom-client');
  const registry = new client.Registry();
  // 20 ms: finer than a lag that matters, and fifty timers a second at most.
  client.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  // Gauges under the names of counters: not by the conventions, and told by type besides.
  for (const what of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  const left = new client.Counter({
    name: 'kedge_metrics_samples_left_out_total',
    help: `Samples beyond the ${String(MAX_SAMPLES)} of a family that one answer carries.`,
    registers: [registry],
  });
  return { client, registry, left };
}

const common = ({ name, help, labels }: Family, registry: Client.Registry) => ({
  name,
  help,
  labelNames: [...labels],
  registers: [registry],
});

/** Metrics by the configuration of a service; undefined where it has none. */
export function openMetrics(settings: MetricsSettings | undefined): OpenMetrics | undefined {
  return settings && metricsFor(settings);
}

/**
 * Metrics with what every process has: CPU, memory, descriptors, event loop lag, heap, garbage collection.
 * What is counted before the library is loaded is counted then.
 */
function metricsFor(settings: MetricsSettings): OpenMetrics {
  let loading: Promise<Loaded> | undefined;
  let loaded: Loaded | undefined;
  const early: ((loaded: Loaded) => void)[] = [];
  const load = (): Promise<Loaded> =>
    (loading ??= loadClient().then((client) => {
      for (const what of early.splice(0)) what(client);
      loaded = client;
      return client;
    }));
  const withClient = (what: (loaded: Loaded) => void): void => {
    if (loaded !== undefined) what(loaded);
    else if (early.length < MAX_EARLY) early.push(what);
  };
  const sources: (() => readonly Reading[])[] = [];
  return {
    settings,
    load: async () => {
      await load();
    },
    counter: (family) => {
      let counter: Client.Counter | undefined;
      withClient(({ client, registry }) => {
        counter = new client.Counter(common(family, registry));
        if (family.labels.length === 0) counter.inc(0);
      });
      return (labels, by = 1) => {
        withClient(() => counter?.inc({ ...labels }, by));
      };
    },
    histogram: (family) => {
      let histogram: Client.Histogram | undefined;
      withClient(({ client, registry }) => {
        histogram = new client.Histogram({ ...common(family, registry), buckets: [...family.buckets] });
      });
      return (labels, value) => {
        withClient(() => histogram?.observe({ ...labels }, value));
      };
    },
    read: (source) => {
      sources.push(source);
    },
    text: async () => {
      const { client, registry, left } = await load();
      const readings = new client.Registry();
      for (const reading of sources.flatMap((source) => source())) {
        const options = common(reading, readings);
        const metric = reading.type === 'counter' ? new client.Counter(options) : new client.Gauge(options);
        for (const { labels, value } of reading.samples.slice(0, MAX_SAMPLES)) {
          metric.inc({ ...labels }, Number(value));
        }
        if (reading.samples.length > MAX_SAMPLES) left.inc(reading.samples.length - MAX_SAMPLES);
      }
      return `${await registry.metrics()}\n${await readings.metrics()}`;
    },
  };
}
