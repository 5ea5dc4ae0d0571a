/**
 * What a service counts, in the text format of Prometheus; the one place that knows prom-client.
 * It must not know what any service measures, nor serve anything.
 */
import type { Family, Metrics, Reading } from '@kedge/contracts';
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

/** Metrics that can be told. */
export interface OpenMetrics extends Metrics {
  /** Everything, in the text exposition format 0.0.4. @throws whatever a source throws */
  text(): Promise<string>;
}

/** Content-Type of {@link OpenMetrics.text}. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Metrics with what every process has: CPU, memory, descriptors, event loop lag, heap, garbage collection. */
export async function openMetrics(): Promise<OpenMetrics> {
  // Loaded here: a service without metrics starts without it.
  const { default: client } = await import('prom-client');
  const registry = new client.Registry();
  // 20 ms: finer than a lag that matters, and fifty timers a second at most.
  client.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  // Gauges under the names of counters: not by the conventions, and told by type besides.
  for (const what of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${what}_total`);
  const sources: (() => readonly Reading[])[] = [];
  const left = new client.Counter({
    name: 'kedge_metrics_samples_left_out_total',
    help: `Samples beyond the ${String(MAX_SAMPLES)} of a family that one answer carries.`,
    registers: [registry],
  });
  const common = ({ name, help, labels }: Family) => ({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
  });
  return {
    counter: (family) => {
      const counter = new client.Counter(common(family));
      if (family.labels.length === 0) counter.inc(0);
      return (labels, by = 1) => {
        counter.inc({ ...labels }, by);
      };
    },
    histogram: (family) => {
      const histogram = new client.Histogram({ ...common(family), buckets: [...family.buckets] });
      return (labels, value) => {
        histogram.observe({ ...labels }, value);
      };
    },
    read: (source) => {
      sources.push(source);
    },
    text: async () => {
      const readings = new client.Registry();
      for (const reading of sources.flatMap((source) => source())) {
        const options = { ...common(reading), registers: [readings] };
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
