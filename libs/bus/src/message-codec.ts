/**
 * Between protobuf messages and what the rest of Kedge works with: 64-bit numbers are bigint, absent
 * messages are absent, and every field that goes out is checked against the .proto file.
 * It must not know any particular message; the .proto files are the only definition.
 */
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { KedgeError } from '@kedge/units';
import { fileURLToPath } from 'node:url';

/** The part of a DescriptorProto field that matters here. */
interface FieldDescriptor {
  readonly name: string;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}

/** The part of a DescriptorProto that matters here. */
interface MessageDescriptor {
  readonly name: string;
  readonly field: readonly FieldDescriptor[];
  readonly nestedType: readonly MessageDescriptor[];
  readonly oneofDecl: readonly { readonly name: string }[];
  readonly options: { readonly mapEntry?: boolean } | null;
}

interface Integer {
  readonly min: bigint;
  readonly max: bigint;
  readonly wide: boolean;
}

const INTEGERS: Readonly<Record<string, Integer>> = {
  TYPE_UINT32: { min: 0n, max: 0xffff_ffffn, wide: false },
  TYPE_INT32: { min: -0x8000_0000n, max: 0x7fff_ffffn, wide: false },
  TYPE_UINT64: { min: 0n, max: 0xffff_ffff_ffff_ffffn, wide: true },
  TYPE_INT64: { min: -0x8000_0000_0000_0000n, max: 0x7fff_ffff_ffff_ffffn, wide: true },
};

/** A message on the wire or a plain object of it. */
type Plain = Record<string, unknown>;

function isPlain(value: unknown): value is Plain {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

function wrong(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'BUS_MESSAGE_INVALID',
    message: `cannot encode the message: field ${field} is wrong, expected ${expected}`,
    field,
    expected,
  });
}

/** Reads and writes the messages of one .proto package. */
export class MessageCodec {
  readonly #messages = new Map<string, MessageDescriptor>();

  constructor(definition: PackageDefinition) {
    for (const entry of Object.values(definition)) {
      if ('type' in entry && typeof entry.format === 'string' && entry.format.includes('DescriptorProto')) {
        const descriptor = entry.type as MessageDescriptor;
        if (Array.isArray(descriptor.field)) this.#messages.set(descriptor.name, descriptor);
      }
    }
  }

  /** Names of the messages known, for sweeps over all of them. */
  get names(): readonly string[] {
    return [...this.#messages.keys()];
  }

  /** Names of the fields of a message, in TypeScript spelling. */
  fieldsOf(message: string): readonly string[] {
    return this.#descriptor(message).field.map((field) => field.name);
  }

  /**
   * The object to hand to protobuf. Absent and undefined fields take their default.
   *
   * @throws KedgeError `BUS_MESSAGE_INVALID`, naming the field by its path.
   */
  toWire(message: string, value: unknown, path = ''): Plain {
    const descriptor = this.#descriptor(message);
    if (!isPlain(value)) throw wrong(path === '' ? message : path, `a ${message} object`);
    const wire: Plain = {};
    const known = new Set<string>();
    for (const field of descriptor.field) {
      known.add(field.name);
      const content = value[field.name];
      if (content === undefined) continue;
      wire[field.name] = this.#fieldToWire(
        descriptor,
        field,
        content,
        path === '' ? field.name : `${path}.${field.name}`,
      );
    }
    for (const { name } of descriptor.oneofDecl) {
      known.add(name);
      const chosen = value[name];
      if (chosen !== undefined && (typeof chosen !== 'string' || wire[chosen] === undefined)) {
        throw wrong(path === '' ? name : `${path}.${name}`, 'the name of the field that is set');
      }
    }
    for (const name of Object.keys(value)) {
      if (!known.has(name)) throw wrong(path === '' ? name : `${path}.${name}`, `a field of ${message}`);
    }
    return wire;
  }

  /** What protobuf handed over, in the types of the rest of Kedge. */
  fromWire(message: string, value: Plain): Plain {
    const descriptor = this.#descriptor(message);
    const plain: Plain = {};
    for (const field of descriptor.field) {
      const content = value[field.name];
      if (content === undefined || content === null) continue;
      plain[field.name] = this.#fieldFromWire(descriptor, field, content);
    }
    for (const { name } of descriptor.oneofDecl) {
      // Names that start with "_" stand for a single optional field, which is simply absent or there.
      if (!name.startsWith('_') && typeof value[name] === 'string') plain[name] = value[name];
    }
    return plain;
  }

  #descriptor(message: string): MessageDescriptor {
    const descriptor = this.#messages.get(message);
    if (descriptor === undefined) {
      throw new KedgeError({
        code: 'BUS_API_UNKNOWN',
        message: `cannot find the message ${message} in its .proto`,
      });
    }
    return descriptor;
  }

  #mapEntry(owner: MessageDescriptor, field: FieldDescriptor): MessageDescriptor | undefined {
    if (field.type !== 'TYPE_MESSAGE') return undefined;
    return owner.nestedType.find(
      (nested) => nested.name === field.typeName && nested.options?.mapEntry === true,
    );
  }

  #fieldToWire(owner: MessageDescriptor, field: FieldDescriptor, content: unknown, path: string): unknown {
    const entry = this.#mapEntry(owner, field);
    if (entry !== undefined) {
      const valueField = entry.field.find(({ name }) => name === 'value');
      if (!isPlain(content) || valueField === undefined) throw wrong(path, 'an object of named values');
      return Object.fromEntries(
        Object.entries(content).map(([key, value]) => [
          key,
          this.#singleToWire(valueField, value, `${path}["${key}"]`),
        ]),
      );
    }
    if (field.label === 'LABEL_REPEATED') {
      if (!Array.isArray(content)) throw wrong(path, 'an array');
      return content.map((item, index) => this.#singleToWire(field, item, `${path}[${index}]`));
    }
    return this.#singleToWire(field, content, path);
  }

  #singleToWire(field: FieldDescriptor, content: unknown, path: string): unknown {
    const integer = INTEGERS[field.type];
    if (integer !== undefined) {
      if (integer.wide ? typeof content !== 'bigint' : !Number.isSafeInteger(content)) {
        throw wrong(path, integer.wide ? 'a bigint' : 'an integer');
      }
      const number = BigInt(content as bigint | number);
      if (number < integer.min || number > integer.max) {
        throw wrong(path, `a number from ${integer.min} to ${integer.max}`);
      }
      return integer.wide ? number.toString() : Number(number);
    }
    switch (field.type) {
      case 'TYPE_STRING':
        if (typeof content !== 'string') throw wrong(path, 'a string');
        return content;
      case 'TYPE_BOOL':
        if (typeof content !== 'boolean') throw wrong(path, 'true or false');
        return content;
      case 'TYPE_BYTES':
        if (!(content instanceof Uint8Array)) throw wrong(path, 'bytes');
        return content;
      case 'TYPE_MESSAGE':
        return this.toWire(field.typeName, content, path);
      default:
        throw wrong(path, `a field type that is supported, not ${field.type}`);
    }
  }

  #fieldFromWire(owner: MessageDescriptor, field: FieldDescriptor, content: unknown): unknown {
    const entry = this.#mapEntry(owner, field);
    if (entry !== undefined) {
      const valueField = entry.field.find(({ name }) => name === 'value');
      return Object.fromEntries(
        Object.entries(content as Plain).map(([key, value]) => [
          key,
          valueField === undefined ? value : this.#singleFromWire(valueField, value),
        ]),
      );
    }
    if (Array.isArray(content)) return content.map((item) => this.#singleFromWire(field, item));
    return this.#singleFromWire(field, content);
  }

  #singleFromWire(field: FieldDescriptor, content: unknown): unknown {
    if (INTEGERS[field.type]?.wide === true) return BigInt(content as string);
    if (field.type === 'TYPE_MESSAGE') return this.fromWire(field.typeName, content as Plain);
    return content;
  }
}

/** How the .proto files are loaded: names in camelCase, 64-bit numbers as text until the codec has seen them. */
export function loadProto(file: string): PackageDefinition {
  return loadSync(fileURLToPath(new URL(`../proto/${file}`, import.meta.url)), {
    // Imports are written from the root, as every other reader of .proto files takes them.
    includeDirs: [fileURLToPath(new URL('../proto', import.meta.url))],
    keepCase: false,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
}
