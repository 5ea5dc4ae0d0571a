/**
 * What a flow is for its export: one direction, while one judgement held.
 * It must not know where flows come from.
 */

/** Why a record ends, in the order of flowEndReason (RFC 5102), which begins with 1. */
export const FLOW_ENDS = ['idle', 'active', 'detected', 'forced', 'resources'] as const;

/** What became of the packets, in the order of the element `verdict`, which begins with 1. */
export const VERDICTS = ['drop', 'deprioritise', 'pass'] as const;

/** A zone: the interface that a collector sees. */
export interface IpfixZone {
  /** 1 to 4294967295, constant; 0 = not known. */
  readonly index: number;
  /** At most 31 bytes are told in a collector's list of interfaces. */
  readonly name: string;
}

/** One flow record. Numbers out of their range are cut to the width of their element. */
export interface IpfixFlow {
  /** Milliseconds since 1970. */
  readonly startMs: bigint;
  /** Milliseconds since 1970. */
  readonly endMs: bigint;
  /** Of this record alone. */
  readonly packets: bigint;
  /** Of IP packets, header included; of this record alone. */
  readonly octets: bigint;
  /** 4 or 16 bytes, both of the same length. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** 0 where the protocol has none. */
  readonly sourcePort: number;
  /** ICMP and ICMPv6: type << 8 | code. */
  readonly destinationPort: number;
  readonly protocol: number;
  /** All that were seen. */
  readonly tcpFlags: number;
  /** 0 to 63, as the packets came. */
  readonly dscp: number;
  readonly end: (typeof FLOW_ENDS)[number];
  readonly from: IpfixZone;
  readonly to: IpfixZone;
  readonly verdict: (typeof VERDICTS)[number];
  /** What decided: pair, entry, ... */
  readonly reason: string;
  /** The entry that decided; empty where none did. */
  readonly entry: string;
  /** Posture level under which it was judged, 1 to 5. */
  readonly level: number;
  readonly epoch: bigint;
  /** "tls", "dns", ...; empty where nothing was recognised. */
  readonly application: string;
  /** Server name, question or host; empty where none was seen. */
  readonly name: string;
  /** Which data plane saw it. */
  readonly dataplane: string;
}
