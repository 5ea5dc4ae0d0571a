/**
 * Counters as data: what a part measures, told to whoever keeps metrics.
 * It must not know how metrics are kept, nor in which format they leave.
 */

/** What is measured, by the conventions of Prometheus: base units, `_total` for counters. */
export interface Family<Label extends string = string> {
  readonly name: `kedge_${string}`;
  readonly help: string;
  /** Their values come from small known sets: levels, paths, codes, names in the configuration. */
  readonly labels: readonly Label[];
}

/** One value of a family. */
export interface Sample<Label extends string = string> {
  readonly labels: Readonly<Record<Label, string>>;
  /** Beyond 2^53 it loses its last digits. */
  readonly value: number | bigint;
}

/** A family whose values stand somewhere already and are read when somebody asks. */
export interface Reading<Label extends string = string> extends Family<Label> {
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly Sample<Label>[];
}

/** The metrics of one process. */
export interface Metrics {
  /** Adds a counter; the result adds to it. */
  counter<Label extends string>(
    family: Family<Label>,
  ): (labels: Readonly<Record<Label, string>>, by?: number) => void;
  /** Adds a distribution with these upper bounds, rising; the result takes one value. */
  histogram<Label extends string>(
    family: Family<Label> & { readonly buckets: readonly number[] },
  ): (labels: Readonly<Record<Label, string>>, value: number) => void;
  /** Adds a source that is asked at each scrape. What it throws spoils the scrape, and nothing else. */
  read(source: () => readonly Reading[]): void;
}
