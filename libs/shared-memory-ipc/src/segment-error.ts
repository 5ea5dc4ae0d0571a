/**
 * The one error of this package, and the sentences for every refusal of a segment.
 * It must know no addon: it turns numbers that the addon gives into words.
 */
import { enums } from './layout.js';

/** What a refused operation has to say: a stable code, the field that was wrong, what was expected, what to do. */
export interface SegmentErrorParts {
  readonly code: SegmentErrorCode;
  readonly message: string;
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;
  readonly cause?: unknown;
}

/** Thrown by everything in this package. `code` is stable; the message is for people. */
export class SegmentError extends Error {
  readonly code: SegmentErrorCode;
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;

  constructor(parts: SegmentErrorParts) {
    super(parts.message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = 'SegmentError';
    this.code = parts.code;
    if (parts.field !== undefined) this.field = parts.field;
    if (parts.expected !== undefined) this.expected = parts.expected;
    if (parts.help !== undefined) this.help = parts.help;
  }
}

interface Refusal {
  readonly code: `SEGMENT_${Exclude<keyof typeof enums.refusal, 'NONE'>}`;
  readonly field: string;
  readonly expected: string;
  readonly help: string;
}

type RefusalName = Exclude<keyof typeof enums.refusal, 'NONE'>;

/** One row per refusal of layout.h; the mapped type makes a missing one a compile error. */
const refusals: { readonly [Name in RefusalName]: Refusal } = {
  MISSING: {
    code: 'SEGMENT_MISSING',
    field: 'name',
    expected: 'an existing segment',
    help: 'start the service that writes it, or open it again once it has',
  },
  NOT_REGULAR: {
    code: 'SEGMENT_NOT_REGULAR',
    field: 'file',
    expected: 'a regular file, no link, directory, pipe, socket or device',
    help: 'find out who put it there, remove it and restart the segment’s writer',
  },
  OWNER: {
    code: 'SEGMENT_OWNER',
    field: 'owner',
    expected: 'a file, and a header, of the configured owner',
    help: 'compare the owner in the configuration with the user that the writer runs as',
  },
  MODE: {
    code: 'SEGMENT_MODE',
    field: 'mode',
    expected: 'mode 0644 exactly',
    help: 'somebody changed it: restart the segment’s writer, which replaces the file',
  },
  SIZE: {
    code: 'SEGMENT_SIZE',
    field: 'size',
    expected: 'the size of its kind in layout.h',
    help: 'writer and reader come from different releases, or the file was cut: restart the writer',
  },
  MAGIC: {
    code: 'SEGMENT_MAGIC',
    field: 'magic',
    expected: '"Kdge1"',
    help: 'this is no segment: restart its writer, which replaces the file',
  },
  VERSION: {
    code: 'SEGMENT_VERSION',
    field: 'version',
    expected: `layout version 1`,
    help: 'writer and reader come from different releases: install one and restart both',
  },
  KIND: {
    code: 'SEGMENT_KIND',
    field: 'kind',
    expected: 'a segment of the kind that was asked for',
    help: 'another service writes under this name: compare the configurations',
  },
  CHECKSUM: {
    code: 'SEGMENT_CHECKSUM',
    field: 'checksum',
    expected: 'the CRC-32 of the header',
    help: 'the header is damaged: restart the segment’s writer, which replaces the file',
  },
  BOOT: {
    code: 'SEGMENT_BOOT',
    field: 'boot_id',
    expected: 'the id of the running boot',
    help: 'the file is older than this boot: put the board on a tmpfs, and start its writer',
  },
  OPENING: {
    code: 'SEGMENT_OPENING',
    field: 'opening',
    expected: 'a header that its writer has finished',
    help: 'try again; if it stays, the writer died while starting: start it again',
  },
  NAME: {
    code: 'SEGMENT_NAME',
    field: 'name',
    expected: '1 to 31 of [a-z0-9-], and the same name in the header',
    help: 'the file was renamed or copied, or the name was misspelt',
  },
  DIRECTORY: {
    code: 'SEGMENT_DIRECTORY',
    field: 'directory',
    expected:
      'a real directory of root or of this user, not writable by others, sticky where its group may write',
    help: 'make it again, for example: install -d -o root -g kedge -m 1775 DIRECTORY',
  },
  BUSY: {
    code: 'SEGMENT_BUSY',
    field: 'name',
    expected: 'no other live writer',
    help: 'a second instance of the service runs: stop one of them',
  },
  SYSTEM: {
    code: 'SEGMENT_SYSTEM',
    field: 'system',
    expected: 'the system call to succeed',
    help: 'see the errno in the message',
  },
};

/** Why a BPF map was not taken, in the order of `enum kedge_bpf_refusal`. */
const bpfRefusals = [
  {
    code: 'BPFMAP_UNAVAILABLE',
    field: 'kernel',
    expected: 'a kernel with BPF, and CAP_BPF to make a map',
    help: 'without it everything else works; only requests through the map do not',
  },
  {
    code: 'BPFMAP_MISSING',
    field: 'path',
    expected: 'a pinned map in a mounted BPF file system',
    help: 'mount one (mount -t bpf bpf DIRECTORY) and let whoever owns the map pin it there',
  },
  {
    code: 'BPFMAP_NOT_A_MAP',
    field: 'path',
    expected: 'a pinned map, no program, link or file of another file system',
    help: 'find out who put it there and remove it',
  },
  {
    code: 'BPFMAP_OWNER',
    field: 'owner',
    expected: 'a pin of the configured owner',
    help: 'compare the owner in the configuration with the user that pinned the map',
  },
  {
    code: 'BPFMAP_MODE',
    field: 'mode',
    expected: 'a pin that nobody but its owner may write',
    help: 'chmod go-w the pin, or pin the map again',
  },
  { code: 'BPFMAP_TYPE', field: 'type', expected: 'BPF_MAP_TYPE_ARRAY', help: 'pin the map again' },
  { code: 'BPFMAP_KEY_SIZE', field: 'key_size', expected: '4', help: 'pin the map again' },
  {
    code: 'BPFMAP_VALUE_SIZE',
    field: 'value_size',
    expected: 'the size that the documentation of the map says',
    help: 'who pinned it comes from another release: pin the map again',
  },
  {
    code: 'BPFMAP_ENTRIES',
    field: 'max_entries',
    expected: 'the number that the documentation of the map says',
    help: 'who pinned it comes from another release: pin the map again',
  },
  {
    code: 'BPFMAP_FLAGS',
    field: 'map_flags',
    expected: 'BPF_F_MMAPABLE, and BPF_F_RDONLY_PROG where programs only read',
    help: 'pin the map again with these flags and no others',
  },
  {
    code: 'BPFMAP_SYSTEM',
    field: 'system',
    expected: 'the system call to succeed',
    help: 'see the errno in the message',
  },
] as const;

/** The error for a BPF map that was not taken. */
export function bpfRefusalError(operation: string, path: string, report: RefusalReport): SegmentError {
  const row = bpfRefusals[report.refusal - 1] ?? bpfRefusals[bpfRefusals.length - 1];
  const why = report.errno === 0 ? '' : ` (errno ${report.errno.toString()}, ${systemName(report.errno)})`;
  return new SegmentError({
    code: row?.code ?? 'BPFMAP_SYSTEM',
    message: `cannot ${operation} the BPF map ${path}: ${report.text}${why}; expected ${row?.expected ?? 'a map'}`,
    ...(row === undefined ? {} : { field: row.field, expected: row.expected, help: row.help }),
  });
}

/** Every code that this package throws. */
export type SegmentErrorCode =
  | (typeof bpfRefusals)[number]['code']
  | Refusal['code']
  | 'SEGMENT_CLOSED'
  | 'SEGMENT_RANGE'
  | 'SEGMENT_ARGUMENT'
  | 'SEGMENT_ADDON';

const nameOfRefusal = new Map<number, RefusalName>(
  Object.entries(enums.refusal)
    .filter(([name]) => name !== 'NONE')
    .map(([name, value]) => [value, name as RefusalName]),
);

/** What the addon tells about a refused operation. */
export interface RefusalReport {
  readonly refusal: number;
  /** 0 unless the refusal is SYSTEM. */
  readonly errno: number;
  readonly text: string;
}

/** The name of a refusal in lower case, for `replaced`; undefined for NONE. */
export function refusalName(refusal: number): string | undefined {
  return nameOfRefusal.get(refusal)?.toLowerCase().replace('_', '-');
}

/** The error for a refused operation on an object. */
export function refusalError(operation: string, object: string, report: RefusalReport): SegmentError {
  const row = refusals[nameOfRefusal.get(report.refusal) ?? 'SYSTEM'];
  const why = report.errno === 0 ? '' : ` (errno ${report.errno.toString()}, ${systemName(report.errno)})`;
  return new SegmentError({
    code: row.code,
    message: `cannot ${operation} ${object}: ${report.text}${why}; expected ${row.expected}`,
    field: row.field,
    expected: row.expected,
    help: row.help,
  });
}

/** The error for an argument that no segment could be given. */
export function argumentError(field: string, expected: string, given: unknown): SegmentError {
  return new SegmentError({
    code: 'SEGMENT_ARGUMENT',
    message: `${field} must be ${expected}, not ${shown(given)}`,
    field,
    expected,
    help: 'see the README of @kedge/shared-memory-ipc',
  });
}

function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value.toString()}n`;
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 64));
  if (typeof value === 'number' || typeof value === 'boolean' || value === undefined) return String(value);
  return value === null ? 'null' : `a value of type ${typeof value}`;
}

/** errno names that opening a file can give; anything else keeps its number. */
const systemNames: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  11: 'EAGAIN',
  12: 'ENOMEM',
  13: 'EACCES',
  17: 'EEXIST',
  20: 'ENOTDIR',
  21: 'EISDIR',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  27: 'EFBIG',
  28: 'ENOSPC',
  30: 'EROFS',
  36: 'ENAMETOOLONG',
  38: 'ENOSYS',
  40: 'ELOOP',
  122: 'EDQUOT',
};

function systemName(errno: number): string {
  return systemNames[errno] ?? 'unnamed';
}
