/**
 * Flow records as the bridge's calls tell them: addresses as text, zones and entries by their names.
 * It must not name an entry on a guess: ids change their meaning from one generation to the next.
 */
import type { FlowReport } from '@kedge/bus';

import type { DrainedFlow } from './flow-drain.js';
import type { GenerationLabels } from './hit-history.js';

const IP4_BYTES = 4;

/**
 * @param labelsOf what ids mean in a generation; undefined = not known here.
 * @param zoneName the name of a zone, or an empty text.
 */
export function flowReportOf(
  { dataplane, worker, flow, generations }: DrainedFlow,
  labelsOf: (generation: bigint) => GenerationLabels | undefined,
  zoneName: (id: number) => string,
): FlowReport {
  return {
    dataplane,
    worker,
    firstAtNs: flow.firstAtNs,
    lastAtNs: flow.lastAtNs,
    packets: flow.packets,
    bytes: flow.bytes,
    epoch: flow.epoch,
    level: flow.level,
    source: addressText(flow.source),
    destination: addressText(flow.destination),
    sourcePort: flow.sourcePort,
    destinationPort: flow.destinationPort,
    protocol: flow.protocol,
    fromZone: zoneName(flow.fromZone),
    toZone: zoneName(flow.toZone),
    verdict: flow.verdict,
    reason: flow.reason,
    entry: flow.entry === undefined ? '' : entryName(flow.entry, generations.map(labelsOf)),
    application: flow.application === 'unknown' ? '' : flow.application,
    name: `${flow.nameCut ? '…' : ''}${flow.name}`,
    end: flow.end,
    tcpFlags: flow.tcpFlags,
    dscp: flow.dscp,
  };
}

/** What an id means in all of these; empty where they disagree or one is not known. */
function entryName(id: number, candidates: readonly (GenerationLabels | undefined)[]): string {
  const names = new Set(candidates.map((labels) => labels?.labels[id]?.name ?? ''));
  const [name = ''] = names;
  return names.size === 1 ? name : '';
}

/** "10.77.0.10", "fd77::10" (RFC 5952). */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === IP4_BYTES) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0));
  let [from, length] = [0, 0];
  for (let at = 0; at < groups.length; at += 1) {
    const end = groups.findIndex((group, place) => place >= at && group !== 0);
    const run = (end < 0 ? groups.length : end) - at;
    if (run > length && run > 1) [from, length] = [at, run];
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  return length === 0 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + length))}`;
}
