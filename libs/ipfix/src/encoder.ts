/**
 * Flows as IPFIX messages (RFC 7011) of bounded size: templates, what ids mean, records.
 * It must not send anything, nor ask for the time.
 */
import { fieldBytes, joined, numberBytes, textBytes, type Value } from './bytes.js';
import { FLOW_ENDS, type IpfixFlow, type IpfixZone, VERDICTS } from './flow.js';
import {
  type Element,
  type ElementName,
  ELEMENTS,
  FLOW_TEMPLATES,
  OPTION_TEMPLATES,
  type Template,
} from './templates.js';

const VERSION = 10;
const HEADER_BYTES = 16;
const SET_HEADER_BYTES = 4;
const TEMPLATE_SET = 2;
const OPTIONS_TEMPLATE_SET = 3;
const ENTERPRISE_BIT = 0x8000;

/** What a path of IPv6's least MTU, 1280 bytes, carries of UDP. */
export const MESSAGE_BYTES = 1_232;
/** The templates, and the longest flow with everything that it announces, have to fit. */
export const LEAST_MESSAGE_BYTES = 1_232;
/** Pairs of application and name that keep their id while they are used. */
export const APPLICATIONS_MAX = 4_096;
/** Classification engine of RFC 6759 for ids that no register gives out. */
export const USER_DEFINED_ENGINE = 6;
const SELECTOR_MAX = 0xff_ffff;

/** Longest of the fields of which there are several, so that the longest flow fits into a message. */
const WORD_BYTES = 64;
const NAME_BYTES = 160;

/** forwardingStatus (RFC 7270): forwarded, and dropped by an access list. */
const FORWARDED = 64;
const ACL_DROP = 130;
/** DSCP 1 in its place in the byte: what deprioritised packets leave with (RFC 8622). */
const LOWER_EFFORT = 1 << 2;

const ICMP: readonly number[] = [1, 58];

/** What an encoder is made for. */
export interface IpfixOptions {
  /** 1 to 4294967295. */
  readonly observationDomain: number;
  /** Private enterprise number of the elements that are not IANA's. */
  readonly enterpriseNumber: number;
  /** Longest message, {@link LEAST_MESSAGE_BYTES} to 65507; default {@link MESSAGE_BYTES}. */
  readonly messageBytes?: number;
}

/** A message that is being put together. */
interface Draft {
  /** Whole sets that say what ids mean, by what they say; in front of the records that need them. */
  readonly announced: Map<string, Uint8Array>;
  readonly records: Map<number, Uint8Array[]>;
  bytes: number;
  count: number;
}

/** The encoder of one transport session. Every collector is sent the same messages. */
export class IpfixEncoder {
  readonly #options: IpfixOptions;
  readonly #messageBytes: number;
  /** Data records in the messages so far, modulo 2^32 (RFC 7011 §3.1). */
  #sequence = 0;
  /** Selector by application and name, the one used longest ago first. */
  readonly #selectors = new Map<string, number>();
  readonly #taken = new Set<number>();
  #lastSelector = 0;

  constructor(options: IpfixOptions) {
    this.#options = options;
    this.#messageBytes = Math.max(
      LEAST_MESSAGE_BYTES,
      Math.min(65_507, options.messageBytes ?? MESSAGE_BYTES),
    );
  }

  /**
   * A message with all templates: the first that a collector is sent, and again from time to time, since UDP loses.
   *
   * @param exportS seconds since 1970.
   */
  templates(exportS: number): Uint8Array {
    return this.#message(exportS, [
      this.#set(
        TEMPLATE_SET,
        Object.values(FLOW_TEMPLATES).map((template) => this.#template(template)),
      ),
      // A set for each: there are collectors that read no further than the first (nfdump 1.7.1).
      ...Object.values(OPTION_TEMPLATES).map((template) =>
        this.#set(OPTIONS_TEMPLATE_SET, [this.#template(template)]),
      ),
    ]);
  }

  /**
   * Flows in as few messages as hold them, in order. Each message says what the ids in it mean: it is understood
   * whatever was lost before it, and in whichever file of its own a collector puts it.
   *
   * @param exportS seconds since 1970.
   */
  messages(flows: readonly IpfixFlow[], exportS: number): Uint8Array[] {
    const messages: Uint8Array[] = [];
    let draft = newDraft();
    const close = (): void => {
      if (draft.count === 0) return;
      const sets = [...draft.records].map(([id, records]) => this.#set(id, records));
      messages.push(this.#message(exportS, [...draft.announced.values(), ...sets]));
      this.#sequence = (this.#sequence + draft.count) >>> 0;
      draft = newDraft();
    };
    for (const flow of flows) {
      const application = this.#application(flow);
      const announcements = [
        ...(application.announcement === undefined ? [] : [application.announcement]),
        ...[flow.from, flow.to].filter(({ index }) => index > 0).map((zone) => this.#interface(zone)),
      ];
      const template = templateOf(flow);
      const record = recordOf(template, flow, application.id);
      if (draft.bytes + needed(draft, announcements, template, record) > this.#messageBytes) close();
      draft.bytes += needed(draft, announcements, template, record);
      for (const { key, set } of announcements) {
        if (!draft.announced.has(key)) draft.count += 1;
        draft.announced.set(key, set);
      }
      const records = draft.records.get(template.id) ?? [];
      records.push(record);
      draft.records.set(template.id, records);
      draft.count += 1;
    }
    close();
    return messages;
  }

  #message(exportS: number, sets: readonly Uint8Array[]): Uint8Array {
    const body = joined(sets);
    return joined([
      numberBytes(VERSION, 2),
      numberBytes(HEADER_BYTES + body.length, 2),
      numberBytes(Math.trunc(exportS), 4),
      numberBytes(this.#sequence, 4),
      numberBytes(this.#options.observationDomain, 4),
      body,
    ]);
  }

  #set(id: number, records: readonly Uint8Array[]): Uint8Array {
    const body = joined(records);
    return joined([numberBytes(id, 2), numberBytes(SET_HEADER_BYTES + body.length, 2), body]);
  }

  #template({ id, scope, fields }: Template): Uint8Array {
    return joined([
      numberBytes(id, 2),
      numberBytes(fields.length, 2),
      ...(scope === 0 ? [] : [numberBytes(scope, 2)]),
      ...fields.map((name) => {
        const element: Element = ELEMENTS[name];
        return element.ours
          ? joined([
              numberBytes(ENTERPRISE_BIT | element.id, 2),
              numberBytes(element.length, 2),
              numberBytes(this.#options.enterpriseNumber, 4),
            ])
          : joined([numberBytes(element.id, 2), numberBytes(element.length, 2)]);
      }),
    ]);
  }

  /** The id of what a flow was recognised as, and what says so; 0 means nothing and is not announced. */
  #application({ application, name }: IpfixFlow): { id: Uint8Array; announcement: Announcement | undefined } {
    if (application === '' && name === '') return { id: applicationId(0), announcement: undefined };
    const key = `${application}\0${name}`;
    const id = applicationId(this.#selector(key));
    const values = [id, id, application, textBytes(name, ELEMENTS.applicationDescription.length - 1)];
    return {
      id,
      announcement: this.#announcement(`application ${key}`, OPTION_TEMPLATES.application, values),
    };
  }

  #selector(key: string): number {
    const known = this.#selectors.get(key);
    if (known !== undefined) {
      this.#selectors.delete(key);
      this.#selectors.set(key, known);
      return known;
    }
    if (this.#selectors.size >= APPLICATIONS_MAX) {
      const [oldest] = this.#selectors;
      if (oldest !== undefined) {
        this.#selectors.delete(oldest[0]);
        this.#taken.delete(oldest[1]);
      }
    }
    // Sixteen million others come first before an id means something else.
    do this.#lastSelector = (this.#lastSelector % SELECTOR_MAX) + 1;
    while (this.#taken.has(this.#lastSelector));
    this.#selectors.set(key, this.#lastSelector);
    this.#taken.add(this.#lastSelector);
    return this.#lastSelector;
  }

  #interface({ index, name }: IpfixZone): Announcement {
    return this.#announcement(`interface ${String(index)}`, OPTION_TEMPLATES.interface, [index, index, name]);
  }

  /** A set of its own for each: collectors that pass over the length of a scope stay in step. */
  #announcement(key: string, template: Template, values: readonly Value[]): Announcement {
    const record = template.fields.map((name, at) => fieldBytes(ELEMENTS[name], values[at] ?? 0));
    return { key, set: this.#set(template.id, record) };
  }
}

interface Announcement {
  readonly key: string;
  readonly set: Uint8Array;
}

const newDraft = (): Draft => ({
  announced: new Map<string, Uint8Array>(),
  records: new Map<number, Uint8Array[]>(),
  bytes: HEADER_BYTES,
  count: 0,
});

/** Bytes that a flow adds to a draft. */
function needed(
  draft: Draft,
  announcements: readonly Announcement[],
  template: Template,
  record: Uint8Array,
): number {
  const fresh = new Map(
    announcements.filter(({ key }) => !draft.announced.has(key)).map((a) => [a.key, a.set]),
  );
  const sets = [...fresh.values()].reduce((sum, { length }) => sum + length, 0);
  return sets + (draft.records.has(template.id) ? 0 : SET_HEADER_BYTES) + record.length;
}

function applicationId(selector: number): Uint8Array {
  return joined([Uint8Array.of(USER_DEFINED_ENGINE), numberBytes(selector, 3)]);
}

function templateOf({ source, protocol }: IpfixFlow): Template {
  if (ICMP.includes(protocol)) return source.length === 4 ? FLOW_TEMPLATES.icmp4 : FLOW_TEMPLATES.icmp6;
  return source.length === 4 ? FLOW_TEMPLATES.ip4 : FLOW_TEMPLATES.ip6;
}

function recordOf({ fields }: Template, flow: IpfixFlow, application: Uint8Array): Uint8Array {
  const dropped = flow.verdict === 'drop';
  const tos = (flow.dscp & 0x3f) << 2;
  const word = (text: string): Uint8Array => textBytes(text, WORD_BYTES);
  const values: Readonly<Partial<Record<ElementName, Value>>> = {
    flowStartMilliseconds: flow.startMs,
    flowEndMilliseconds: flow.endMs,
    sourceIPv4Address: flow.source,
    destinationIPv4Address: flow.destination,
    sourceIPv6Address: flow.source,
    destinationIPv6Address: flow.destination,
    sourceTransportPort: flow.sourcePort,
    destinationTransportPort: flow.destinationPort,
    icmpTypeCodeIPv4: flow.destinationPort,
    icmpTypeCodeIPv6: flow.destinationPort,
    tcpControlBits: flow.tcpFlags,
    octetDeltaCount: flow.octets,
    packetDeltaCount: flow.packets,
    protocolIdentifier: flow.protocol,
    ipClassOfService: tos,
    postIpClassOfService: flow.verdict === 'deprioritise' ? LOWER_EFFORT : tos,
    ingressInterface: flow.from.index,
    // What was dropped left by no interface.
    egressInterface: dropped ? 0 : flow.to.index,
    flowEndReason: FLOW_ENDS.indexOf(flow.end) + 1,
    forwardingStatus: dropped ? ACL_DROP : FORWARDED,
    applicationId: application,
    postureLevel: flow.level,
    postureEpoch: flow.epoch,
    verdict: VERDICTS.indexOf(flow.verdict) + 1,
    reason: word(flow.reason),
    entry: word(flow.entry),
    fromZone: word(flow.from.name),
    toZone: word(flow.to.name),
    application: word(flow.application),
    name: textBytes(flow.name, NAME_BYTES),
    dataplane: word(flow.dataplane),
  };
  return joined(fields.map((name) => fieldBytes(ELEMENTS[name], values[name] ?? 0)));
}
