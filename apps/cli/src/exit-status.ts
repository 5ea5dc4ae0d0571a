/**
 * Which exit status an error code ends the command with, as docs/errors.md says; a test compares the two.
 * It must not know what the codes mean.
 */

export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  refused: 3,
  unreachable: 4,
  timeout: 5,
  failedCheck: 6,
  damaged: 7,
} as const;

/** Codes by status. What is not here follows its area's rule, see {@link exitOf}. */
const STATUS: Readonly<Record<number, readonly string[]>> = {
  [EXIT.unexpected]: [
    'BUS_API_UNKNOWN',
    'BUS_FAILED',
    'BUS_LOCK_FAILED',
    'BUS_SOCKET_FAILED',
    'BUS_UNIMPLEMENTED',
    'CLI_UNEXPECTED',
    'LAB_START',
    'LAB_TRAFFIC',
    'LAB_WATCH',
    'SEGMENT_CLOSED',
    'SEGMENT_SYSTEM',
  ],
  [EXIT.usage]: [
    'BUS_DEADLINE_MISSING',
    'BUS_MESSAGE_INVALID',
    'BUS_SOCKET_PATH',
    'CLI_USAGE',
    'LAB_NAME',
    'SEGMENT_ARGUMENT',
    'SEGMENT_NAME',
    'SEGMENT_RANGE',
    'UNITS_EPOCH',
    'UNITS_LEVEL',
  ],
  [EXIT.unreachable]: [
    'BUS_BUSY',
    'BUS_CLOSING',
    'BUS_UNREACHABLE',
    'LAB_FORBIDDEN',
    'LAB_INCOMPLETE',
    'LAB_NOT_ROOT',
    'LAB_NOT_UP',
    'LAB_RUNNING',
    'SEGMENT_ADDON',
    'SEGMENT_BUSY',
    'SEGMENT_MISSING',
  ],
  [EXIT.timeout]: ['BUS_CANCELLED', 'BUS_DEADLINE', 'LAB_NOT_READY', 'SEGMENT_OPENING'],
  [EXIT.failedCheck]: ['DRILL_FAILED'],
  [EXIT.damaged]: ['SEGMENT_BOOT', 'SEGMENT_CHECKSUM', 'SEGMENT_MAGIC', 'SEGMENT_SIZE'],
};

const BY_CODE = new Map(
  Object.entries(STATUS).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)] as const)),
);

/** Exit status of a code. Refusals of a service that this command does not know by name are refusals. */
export function exitOf(code: string): number {
  const known = BY_CODE.get(code);
  if (known !== undefined) return known;
  return /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(code) ? EXIT.refused : EXIT.unexpected;
}
