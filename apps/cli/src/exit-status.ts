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

/** Areas all of whose codes have one status, where nothing else is said below. Everywhere else a code is a refusal. */
const BY_AREA: Readonly<Record<string, number>> = {
  CONFIG: EXIT.usage,
  DRILL: EXIT.failedCheck,
  JOURNAL: EXIT.unexpected,
  RUNTIME: EXIT.unexpected,
  UNITS: EXIT.usage,
};

/** Codes that differ from their area's rule. */
const STATUS: Readonly<Record<number, readonly string[]>> = {
  [EXIT.unexpected]: [
    'BOOT_FAILED',
    'BPFMAP_SYSTEM',
    'BUS_ACK_INVALID',
    'BUS_ACK_ORDER',
    'BUS_API_UNKNOWN',
    'BUS_DESIRED_FAILED',
    'BUS_FAILED',
    'BUS_LOCK_FAILED',
    'BUS_SOCKET_FAILED',
    'BUS_UNIMPLEMENTED',
    'CLI_STOPPED',
    'CLI_UNEXPECTED',
    'LAB_ROUTES',
    'LAB_START',
    'LAB_TRAFFIC',
    'LAB_WATCH',
    'LEDGER_SPOOL_FAILED',
    'PLUGIN_UNANSWERED',
    'RECONCILE_NOT_APPLIED',
    'RECONCILE_RUN_FAILED',
    'ROUTES_OUTPUT',
    'ROUTES_READ',
    'ROUTES_STEP',
    'ROUTE_SET_CLOSING',
    'SEGMENT_CLOSED',
    'SEGMENT_SYSTEM',
    'STORAGE_SILENT',
  ],
  [EXIT.usage]: [
    'BOOT_USAGE',
    'BUS_BOARD_FILES',
    'BUS_DEADLINE_MISSING',
    'BUS_MESSAGE_INVALID',
    'BUS_SOCKET_PATH',
    'CLI_USAGE',
    'GOVERNANCE_KEY',
    'LAB_NAME',
    'LEDGER_SPOOL_OPTIONS',
    'PLUGIN_GRANT',
    'PLUGIN_KIND',
    'ROUTES_SPEC',
    'ROUTE_SET_REQUEST',
    'SEGMENT_ARGUMENT',
    'SEGMENT_NAME',
    'SEGMENT_RANGE',
    'UNDERLAY_REQUEST',
    'WARDEN_CONFIG',
  ],
  [EXIT.unreachable]: [
    'BOOT_BUSY',
    'BOOT_USER',
    'BPFMAP_MISSING',
    'BPFMAP_UNAVAILABLE',
    'BUS_BUSY',
    'BUS_CLOSING',
    'BUS_UNREACHABLE',
    'CLI_METRICS_ABSENT',
    'COORDINATOR_RUNNING',
    'GATE_UNREADABLE',
    'GOVERNANCE_ADDON',
    'GOVERNANCE_WATCHERS',
    'LAB_FORBIDDEN',
    'LAB_INCOMPLETE',
    'LAB_NOT_ROOT',
    'LAB_NOT_UP',
    'LAB_RUNNING',
    'LEDGER_SPOOL_CLOSED',
    'POSTURE_BUSY',
    'POSTURE_RECOVERING',
    'RECONCILE_STOPPED',
    'ROUTES_NAMESPACE',
    'ROUTES_TOOL',
    'SEGMENT_ADDON',
    'SEGMENT_BUSY',
    'SEGMENT_MISSING',
  ],
  [EXIT.timeout]: [
    'BUS_CANCELLED',
    'BUS_DEADLINE',
    'CLI_TIMEOUT',
    'LAB_NOT_READY',
    'PLUGIN_HANGS',
    'RECONCILE_DEADLINE',
    'RECONCILE_PREEMPTED',
    'RECONCILE_STUCK',
    'ROUTES_TIMEOUT',
    'SEGMENT_OPENING',
  ],
  [EXIT.failedCheck]: ['RECONCILE_NOT_VERIFIED'],
  [EXIT.damaged]: [
    'ACCORD_COPY_DAMAGED',
    'ACCORD_TABLES_UNSOUND',
    'BOOT_JOURNAL_DAMAGED',
    'BOOT_JOURNAL_EMPTY',
    'BOOT_JOURNAL_MISSING',
    'BOOT_JOURNAL_REFUSED',
    'BOOT_SEGMENT_DAMAGED',
    'BOOT_STATE_REFUSED',
    'BPFMAP_ENTRIES',
    'BPFMAP_FLAGS',
    'BPFMAP_KEY_SIZE',
    'BPFMAP_NOT_A_MAP',
    'BPFMAP_TYPE',
    'BPFMAP_VALUE_SIZE',
    'CLI_METRICS_INVALID',
    'GOVERNANCE_GENERATIONS',
    'GOVERNANCE_TABLE',
    'LEDGER_SPOOL_DAMAGED',
    'PLUGIN_CONTENT',
    'PLUGIN_MANIFEST',
    'RECONCILE_DESIRED_DAMAGED',
    'ROUTE_SET_DAMAGED',
    'SEGMENT_BOOT',
    'SEGMENT_CHECKSUM',
    'SEGMENT_MAGIC',
    'SEGMENT_SIZE',
  ],
};

const BY_CODE = new Map(
  Object.entries(STATUS).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)] as const)),
);

/** Exit status of a code. What is no code of Kedge is unexpected. */
export function exitOf(code: string): number {
  const known = BY_CODE.get(code);
  if (known !== undefined) return known;
  if (!/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(code)) return EXIT.unexpected;
  return BY_AREA[code.split('_')[0] ?? ''] ?? EXIT.refused;
}
