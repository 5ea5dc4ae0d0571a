/**
 * Flows as they end: shown, or sent on as IPFIX, until it is enough.
 * It must not ask for anything but to watch.
 */
import type { FlowReport, GovernanceClient } from '@kedge/bus';

import { durationText, jsonText, plain, table } from './render.js';
import { type TargetOptions, withGovernance } from './target.js';

export interface FlowsOptions extends TargetOptions {
  readonly timeout: number;
  readonly json?: boolean;
  readonly follow?: boolean;
  /** How long is listened without `follow`, seconds. */
  readonly seconds: number;
  readonly count?: number;
  readonly ipfix?: { readonly host: string; readonly port: number };
  readonly observationDomain: number;
  readonly enterprise: number;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' };
const ICMP = [1, 58];
/** How often templates are looked at while no flow ends. */
const TICK_MS = 1_000;
const TEMPLATE_REFRESH_S = 60;

const COLUMNS = [
  { title: 'epoch', right: true, width: 6 },
  { title: 'level', right: true, width: 5 },
  { title: 'verdict', width: 12 },
  { title: 'from', width: 10 },
  { title: 'to', width: 10 },
  { title: 'proto', width: 5 },
  { title: 'source', width: 22 },
  { title: 'destination', width: 22 },
  { title: 'packets', right: true, width: 8 },
  { title: 'bytes', right: true, width: 10 },
  { title: 'lasted', right: true, width: 7 },
  { title: 'end', width: 9 },
  { title: 'judged by', width: 16 },
  { title: 'seen', width: 9 },
  { title: 'name', width: 0 },
] as const;

function endText(flow: FlowReport, address: string, port: number): string {
  if (ICMP.includes(flow.protocol) || port === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function cellsOf(flow: FlowReport): readonly string[] {
  const kind = ICMP.includes(flow.protocol)
    ? ` ${flow.destinationPort >> 8}/${flow.destinationPort & 0xff}`
    : '';
  return [
    String(flow.epoch),
    String(flow.level),
    flow.verdict,
    flow.fromZone,
    flow.toZone,
    `${PROTOCOLS[flow.protocol] ?? String(flow.protocol)}${kind}`,
    endText(flow, flow.source, flow.sourcePort),
    endText(flow, flow.destination, flow.destinationPort),
    String(flow.packets),
    String(flow.bytes),
    durationText(flow.lastAtNs - flow.firstAtNs),
    flow.end,
    flow.entry === '' ? flow.reason : flow.entry,
    flow.application,
    flow.name,
  ];
}

/** Flows under titles, as wide as they need. */
export function flowsText(flows: readonly FlowReport[]): string {
  return flows.length === 0 ? 'no flow ended meanwhile' : table(COLUMNS, flows.map(cellsOf));
}

/** The titles, and one flow, as lines of a list that goes on: as wide as is usual. */
export const flowTitles = (): string => lineOf(COLUMNS.map(({ title }) => title));
export const flowLine = (flow: FlowReport): string => lineOf(cellsOf(flow).map(plain));

function lineOf(cells: readonly string[]): string {
  return COLUMNS.map((column, at) => {
    const cell = cells[at] ?? '';
    const blanks = ' '.repeat(Math.max(0, column.width - [...cell].length));
    return 'right' in column ? blanks + cell : cell + blanks;
  })
    .join('  ')
    .trimEnd();
}

/** Where flows go. */
interface Outlet {
  take(flows: readonly FlowReport[]): void;
  end(): Promise<void> | void;
}

const line = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

function shown({ json, follow }: FlowsOptions): Outlet {
  if (json === true)
    return {
      take: (flows) => {
        for (const flow of flows) line(JSON.stringify(JSON.parse(jsonText(flow))));
      },
      end: () => undefined,
    };
  if (follow === true) {
    line(flowTitles());
    return {
      take: (flows) => {
        for (const flow of flows) line(flowLine(flow));
      },
      end: () => undefined,
    };
  }
  const kept: FlowReport[] = [];
  return {
    take: (flows) => void kept.push(...flows),
    end: () => {
      line(flowsText(kept));
    },
  };
}

async function exported(
  { ipfix, observationDomain, enterprise, timeout, json }: FlowsOptions,
  client: GovernanceClient,
): Promise<Outlet> {
  const { IpfixExport } = await import('@kedge/ipfix-export');
  const { zones } = await client.show({}, { deadlineMs: timeout });
  const ids = new Map(zones.map(({ id, name }) => [name, id]));
  const out = new IpfixExport({
    collectors: ipfix === undefined ? [] : [ipfix],
    observationDomain,
    enterpriseNumber: enterprise,
    templateRefreshS: TEMPLATE_REFRESH_S,
    // On Linux CLOCK_MONOTONIC, by which the flows are told.
    clock: { monotonicNs: () => process.hrtime.bigint(), wallMs: () => Date.now() },
    zoneIndex: (name) => ids.get(name) ?? 0,
  });
  let flowCount = 0;
  out.tell([]);
  const tick = setInterval(() => {
    out.tell([]);
  }, TICK_MS);
  return {
    take: (flows) => {
      flowCount += flows.length;
      out.tell(flows);
    },
    end: async () => {
      clearInterval(tick);
      await out.close();
      const { sent, failed } = out;
      line(
        json === true
          ? JSON.stringify({ flows: flowCount, messages: sent, failed })
          : `${flowCount} flows exported in ${sent} messages`,
      );
      for (const alarm of out.alarms()) process.stderr.write(`${alarm}\n`);
    },
  };
}

/** Watches until `leave` aborts, the time is over or there are enough. */
export function flowsRun(options: FlowsOptions, leave: AbortSignal): Promise<void> {
  return withGovernance(options, async (client) => {
    const enough =
      options.follow === true
        ? leave
        : AbortSignal.any([leave, AbortSignal.timeout(options.seconds * 1_000)]);
    const outlet = options.ipfix === undefined ? shown(options) : await exported(options, client);
    let left = options.count ?? Number.POSITIVE_INFINITY;
    try {
      for await (const { flows, lost } of client.watchFlows(
        {},
        { deadlineMs: options.timeout, signal: enough },
      )) {
        if (lost > 0n) process.stderr.write(`${lost} flows were missed\n`);
        outlet.take(flows.slice(0, left));
        left -= flows.length;
        if (left <= 0) break;
      }
    } catch (error) {
      if (!enough.aborted) throw error;
    } finally {
      await outlet.end();
    }
  });
}
