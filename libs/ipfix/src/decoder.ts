/**
 * IPFIX messages read back, template by template: for tests, and for looking at what was sent.
 * It must not believe a length that it was told.
 */
import { type ElementName, ELEMENTS, VARIABLE } from './templates.js';

/** A number, a text, or bytes; of an element that is not known always bytes. */
export type DecodedValue = bigint | string | Uint8Array;

export interface DecodedRecord {
  readonly template: number;
  /** True for a record of an options template. */
  readonly options: boolean;
  /** By element: its name, or "ENTERPRISE/ID" of one that is not known. Of a repeated element the last. */
  readonly values: Readonly<Record<string, DecodedValue>>;
}

export interface DecodedMessage {
  readonly exportS: number;
  readonly sequence: number;
  readonly observationDomain: number;
  readonly records: readonly DecodedRecord[];
  /** Ids of sets whose template was not known. */
  readonly unknown: readonly number[];
}

interface Field {
  readonly name: string;
  readonly length: number;
  readonly type: 'unsigned' | 'bytes' | 'text';
}

interface Known {
  readonly options: boolean;
  readonly fields: readonly Field[];
}

/** Templates that were seen, of one observation domain. */
export class TemplateMemory {
  readonly byId = new Map<number, Known>();
}

/** Reads on from a place; undefined where there is not enough. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Uint8Array | undefined {
    if (length > this.left) return undefined;
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  number(length: number): number | undefined {
    const taken = this.take(length);
    return taken === undefined ? undefined : Number(numberOf(taken));
  }
}

/** One message; undefined where it is none, or breaks off. */
export function decodeMessage(bytes: Uint8Array, templates: TemplateMemory): DecodedMessage | undefined {
  const cursor = new Cursor(bytes);
  const [version, length] = [cursor.number(2), cursor.number(2)];
  const [exportS, sequence, observationDomain] = [cursor.number(4), cursor.number(4), cursor.number(4)];
  if (version !== 10 || length !== bytes.length || observationDomain === undefined) return undefined;
  const records: DecodedRecord[] = [];
  const unknown: number[] = [];
  while (cursor.left > 0) {
    const id = cursor.number(2);
    const size = cursor.number(2);
    const body = size === undefined || size < 4 ? undefined : cursor.take(size - 4);
    if (id === undefined || body === undefined) return undefined;
    const set = new Cursor(body);
    if (id === 2 || id === 3) {
      if (!learn(set, id === 3, templates)) return undefined;
      continue;
    }
    const known = templates.byId.get(id);
    if (known === undefined) {
      unknown.push(id);
      continue;
    }
    // Shorter than any record: padding.
    while (set.left >= 4) {
      const values = valuesOf(set, known.fields);
      if (values === undefined) return undefined;
      records.push({ template: id, options: known.options, values });
    }
  }
  return { exportS: exportS ?? 0, sequence: sequence ?? 0, observationDomain, records, unknown };
}

function learn(set: Cursor, options: boolean, templates: TemplateMemory): boolean {
  while (set.left >= 4) {
    const [id, count] = [set.number(2), set.number(2)];
    if (id === undefined || id < 256 || count === undefined || count === 0) return false;
    if (options && set.number(2) === undefined) return false;
    const fields: Field[] = [];
    for (let at = 0; at < count; at += 1) {
      const [element, length] = [set.number(2), set.number(2)];
      if (element === undefined || length === undefined) return false;
      const ours = element >= 0x8000;
      const enterprise = ours ? set.number(4) : 0;
      if (enterprise === undefined) return false;
      fields.push(fieldOf(element & 0x7fff, length, enterprise));
    }
    templates.byId.set(id, { options, fields });
  }
  return true;
}

function fieldOf(id: number, length: number, enterprise: number): Field {
  const found = Object.entries(ELEMENTS).find(
    ([, element]) => element.id === id && element.ours === enterprise > 0,
  );
  if (found === undefined) return { name: `${String(enterprise)}/${String(id)}`, length, type: 'bytes' };
  const [name, { type }] = found as [ElementName, { type: Field['type'] }];
  return { name, length, type };
}

function valuesOf(set: Cursor, fields: readonly Field[]): Record<string, DecodedValue> | undefined {
  const values: Record<string, DecodedValue> = {};
  for (const { name, length, type } of fields) {
    const size = length === VARIABLE ? variableLength(set) : length;
    const bytes = size === undefined ? undefined : set.take(size);
    if (bytes === undefined) return undefined;
    values[name] =
      type === 'unsigned'
        ? numberOf(bytes)
        : type === 'text'
          ? new TextDecoder().decode(length === VARIABLE ? bytes : withoutZeros(bytes))
          : bytes.slice();
  }
  return values;
}

function variableLength(set: Cursor): number | undefined {
  const short = set.number(1);
  return short === 255 ? set.number(2) : short;
}

function withoutZeros(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
