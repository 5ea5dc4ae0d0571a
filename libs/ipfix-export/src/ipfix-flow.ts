/**
 * A flow as the bridge reports it, made ready for its export: wall-clock times, zones with their numbers.
 * It must not encode anything.
 */
import type { FlowReport } from '@kedge/bus';
import { addressBytes, FLOW_ENDS, type IpfixFlow, VERDICTS } from '@kedge/ipfix';

/** Both clocks at one moment. */
export interface Moments {
  /** CLOCK_MONOTONIC nanoseconds. */
  readonly monotonicNs: bigint;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

const NS_PER_MS = 1_000_000n;

/** Undefined for a report that is none: addresses of two families, words that are not known. */
export function ipfixFlowOf(
  report: FlowReport,
  zoneIndex: (name: string) => number,
  { monotonicNs, wallMs }: Moments,
): IpfixFlow | undefined {
  const [source, destination] = [addressBytes(report.source), addressBytes(report.destination)];
  const end = FLOW_ENDS.find((each) => each === report.end);
  const verdict = VERDICTS.find((each) => each === report.verdict);
  if (source === undefined || source.length !== destination?.length) return undefined;
  if (end === undefined || verdict === undefined) return undefined;
  const wall = (atNs: bigint): bigint => {
    const at = BigInt(Math.trunc(wallMs)) - (monotonicNs - atNs) / NS_PER_MS;
    return at < 0n ? 0n : at;
  };
  return {
    startMs: wall(report.firstAtNs),
    endMs: wall(report.lastAtNs),
    packets: report.packets,
    octets: report.bytes,
    source,
    destination,
    sourcePort: report.sourcePort,
    destinationPort: report.destinationPort,
    protocol: report.protocol,
    tcpFlags: report.tcpFlags,
    dscp: report.dscp,
    end,
    from: { index: zoneIndex(report.fromZone), name: report.fromZone },
    to: { index: zoneIndex(report.toZone), name: report.toZone },
    verdict,
    reason: report.reason,
    entry: report.entry,
    level: report.level,
    epoch: report.epoch,
    application: report.application,
    name: report.name,
    dataplane: report.dataplane,
  };
}
