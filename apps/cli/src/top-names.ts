/**
 * The names that flows were seen to ask for, newest first: TLS server names, DNS questions, HTTP hosts.
 * It must not let a name through as it came: whoever sends packets chooses it.
 */
import type { FlowBatch, FlowReport } from '@kedge/bus';

/** Most names that are held; older ones are let go. */
export const MAX_NAMES = 64;

/** One name with the judgement that its flow had last. */
export interface NameSeen {
  /** "tls", "dns", ... */
  readonly application: string;
  /** Printable ASCII. A leading "..." marks a name of which only the end is known. */
  readonly name: string;
  readonly fromZone: string;
  readonly toZone: string;
  /** pass, deprioritise, drop */
  readonly verdict: string;
  /** The accord entry that decided, or empty. */
  readonly entry: string;
  readonly level: number;
  readonly epoch: bigint;
  /** CLOCK_MONOTONIC nanoseconds of the appliance. */
  readonly lastAtNs: bigint;
}

/** What is known of names. */
export interface NameList {
  /** Newest first, each name, direction and verdict once, at most {@link MAX_NAMES}. */
  readonly latest: readonly NameSeen[];
  /** Flow records that this command was too slow for. */
  readonly lost: bigint;
}

export const NO_NAMES: NameList = { latest: [], lost: 0n };

/**
 * Text of somebody else as printable ASCII: everything else is shown as "?". It is not left out, because a name
 * that hides something must not look like the one that it imitates.
 */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, '?');
}

/** The list after one more batch of flow records. */
export function namesAfter(list: NameList, batch: FlowBatch): NameList {
  const fresh = batch.flows.filter(({ name }) => name !== '').map(nameSeen);
  const latest = new Map<string, NameSeen>();
  for (const seen of [...fresh.reverse(), ...list.latest]) {
    const key = JSON.stringify([seen.application, seen.name, seen.fromZone, seen.toZone, seen.verdict]);
    if (latest.size < MAX_NAMES && !latest.has(key)) latest.set(key, seen);
  }
  return { latest: [...latest.values()], lost: list.lost + batch.lost };
}

function nameSeen(flow: FlowReport): NameSeen {
  const { application, name, fromZone, toZone, verdict, entry, level, epoch, lastAtNs } = flow;
  return {
    application: printable(application),
    name: printable(name.replace(/^…/, '...')),
    fromZone: printable(fromZone),
    toZone: printable(toZone),
    verdict: printable(verdict),
    entry: printable(entry),
    level,
    epoch,
    lastAtNs,
  };
}
