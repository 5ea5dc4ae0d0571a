/**
 * A line of the log as systemd-journald takes it from a stream: its priority first (sd-daemon(3)), never so long that
 * the journal breaks it.
 * It must not read the environment, nor write.
 */

/** syslog(3). Nobody but the warden says anything worse than err. */
const PRIORITY: Readonly<Record<string, number>> = {
  fatal: 3,
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
  trace: 7,
};
const ERR = 3;
/** The journal breaks lines at 48 KiB by default: what follows the break would be a line of its own, with any prefix. */
const MAX_BYTES = 40 * 1024;
const KEPT_TEXT = 1_024;

/** @param stream JOURNAL_STREAM (systemd.exec(5)): device and inode of what leads to the journal. */
export function leadsToJournal(
  stream: string | undefined,
  { dev, ino }: { readonly dev: bigint; readonly ino: bigint },
): boolean {
  return stream === `${String(dev)}:${String(ino)}`;
}

/** @param line one JSON object of the log, with its newline. */
export function journalLine(line: string): string {
  // The level stands first: pino writes it there, and no field can come before it. One that is called so comes after.
  const level = /^\{"level":"([a-z]+)"/.exec(line)?.[1] ?? '';
  const whole = Buffer.byteLength(line) > MAX_BYTES ? shortened(line, level) : line;
  return `<${String(PRIORITY[level] ?? ERR)}>${whole}`;
}

function shortened(line: string, level: string): string {
  const { time, name, component, msg } = JSON.parse(line) as Readonly<Record<string, unknown>>;
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' ? value.slice(0, KEPT_TEXT) : undefined;
  return `${JSON.stringify({
    level,
    time: text(time),
    name: text(name),
    component: text(component),
    msg: text(msg),
    cutBytes: Buffer.byteLength(line),
  })}\n`;
}
