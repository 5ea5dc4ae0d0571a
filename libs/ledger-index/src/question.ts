/**
 * What can be asked of the index, and what it answers (LE-7).
 * It must not know how an answer is found.
 */
import type { LedgerRecord } from '@kedge/contracts';
import type { Level } from '@kedge/units';

/** Rows of one answer, at most. */
export const LIMIT_MAX = 10_000;
/** Words of one field of a filter, at most. */
export const WORDS_MAX = 64;

/** The kind of a record: its schema. */
export type Kind = LedgerRecord['schema'];

/**
 * Which entries are meant: those that agree with every field that is there. A field of several words agrees with any
 * of them.
 */
export interface Filter {
  /** Wall-clock milliseconds since 1970 (`at` of the record): from this one on, up to and without that one. */
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly kinds?: readonly Kind[];
  /** The level at which it happened; of a transition the one that it went to. */
  readonly levels?: readonly Level[];
  /** Ids of the keys under which the name of the principal or peer is sealed, never the name. */
  readonly principals?: readonly string[];
  /** Devices, data planes, subjects of violations, targets: "sw1" finds also what was written to "device/sw1". */
  readonly devices?: readonly string[];
  readonly sessions?: readonly string[];
  /** What came of it, in the word of its kind: allow, deny, cut, applied, late, dataplane-killed, changed… */
  readonly outcomes?: readonly string[];
}

/** Which part of the entries that are meant is wanted. */
export interface Page {
  /** 1 to {@link LIMIT_MAX}; 1,000 where nothing is said. */
  readonly limit?: number;
  /** By index; ascending where nothing is said. */
  readonly order?: 'ascending' | 'descending';
  /** Index of the last row of the page before; rows begin behind it, in their order. */
  readonly after?: number;
}

/** One entry as the index knows it; null = the record says nothing of the kind. */
export interface Row {
  /** Number of the entry in the log, from 0. */
  readonly index: number;
  /** Wall-clock milliseconds since 1970. */
  readonly atMs: number | null;
  /** Null where the entry is no record of a kind that was known when it was indexed. */
  readonly kind: Kind | null;
  readonly level: Level | null;
  /** Decimal. */
  readonly epoch: string | null;
  /** Id of the key that the name is sealed under. */
  readonly principal: string | null;
  readonly device: string | null;
  readonly session: string | null;
  readonly outcome: string | null;
}

/** What was found. */
export interface Answer {
  /** All entries that are meant, whatever the page. */
  readonly count: number;
  readonly rows: readonly Row[];
  /** Give it as `after` for the next page; null where there is none. */
  readonly next: number | null;
  /** Entries of the log before this one were in the index when it answered. */
  readonly upTo: number;
}
