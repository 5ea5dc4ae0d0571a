/**
 * Flows on their way to IPFIX collectors (DP-12): encoded once, sent to each, templates in time.
 * It must not wait for a collector, and must not throw because of one.
 */
import type { FlowReport } from '@kedge/bus';
import { type IpfixFlow, IpfixEncoder } from '@kedge/ipfix';

import { UdpCollector } from './collector.js';
import { ipfixFlowOf, type Moments } from './ipfix-flow.js';

/** Where flows go, and as what. */
export interface IpfixExportOptions {
  /** Addresses, not names. */
  readonly collectors: readonly { readonly host: string; readonly port: number }[];
  /** 1 to 4294967295. */
  readonly observationDomain: number;
  readonly enterpriseNumber: number;
  /** Templates are sent again after so many seconds. */
  readonly templateRefreshS: number;
  readonly clock: { readonly monotonicNs: () => bigint; readonly wallMs: () => number };
  /** Number of a zone by its name; 0 = not known. */
  readonly zoneIndex: (name: string) => number;
}

const NS_PER_S = 1_000_000_000n;

/** The export. `tell` often, also of nothing: templates are sent by it. `close` once. */
export class IpfixExport {
  readonly #options: IpfixExportOptions;
  readonly #encoder: IpfixEncoder;
  readonly #collectors: readonly UdpCollector[];
  #templatesAtNs: bigint | undefined;
  #unusable = 0;

  constructor(options: IpfixExportOptions) {
    this.#options = options;
    this.#encoder = new IpfixEncoder(options);
    this.#collectors = options.collectors.map((each) => new UdpCollector(each));
  }

  /** Sends what ended, and the templates when it is time. */
  tell(reports: readonly FlowReport[]): void {
    const { clock, zoneIndex } = this.#options;
    const moments: Moments = { monotonicNs: clock.monotonicNs(), wallMs: clock.wallMs() };
    const exportS = moments.wallMs / 1_000;
    const { monotonicNs } = moments;
    const refreshNs = BigInt(this.#options.templateRefreshS) * NS_PER_S;
    if (this.#templatesAtNs === undefined || monotonicNs - this.#templatesAtNs >= refreshNs) {
      this.#templatesAtNs = monotonicNs;
      this.#send(this.#encoder.templates(exportS));
    }
    const flows: IpfixFlow[] = [];
    for (const report of reports) {
      const flow = ipfixFlowOf(report, zoneIndex, moments);
      if (flow === undefined) this.#unusable += 1;
      else flows.push(flow);
    }
    for (const message of this.#encoder.messages(flows, exportS)) this.#send(message);
  }

  /** Messages that left, of all collectors. */
  get sent(): number {
    return this.#collectors.reduce((sum, { sent }) => sum + sent, 0);
  }

  /** Messages that did not, of all collectors. */
  get failed(): number {
    return this.#collectors.reduce((sum, { failed }) => sum + failed, 0);
  }

  /** What went wrong, in plain words; empty while all is well. */
  alarms(): string[] {
    return [
      ...this.#collectors
        .filter(({ failed }) => failed > 0)
        .map(
          ({ name, failed, reason }) =>
            `${String(failed)} IPFIX messages did not get to ${name}, the last because of ${reason}`,
        ),
      ...(this.#unusable === 0 ? [] : [`${String(this.#unusable)} flows could not be exported`]),
    ];
  }

  async close(): Promise<void> {
    await Promise.all(this.#collectors.map((collector) => collector.close()));
  }

  #send(message: Uint8Array): void {
    for (const collector of this.#collectors) collector.send(message);
  }
}
