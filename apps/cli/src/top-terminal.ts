/**
 * A terminal that is taken over for a while: alternate screen, keys as they are pressed, and back as it was.
 * It must not know what is shown, and must leave the terminal usable however the command ends.
 */

/** A terminal taken over. */
export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  /** Shows these lines and nothing else; what stands there already is not sent again. */
  draw(lines: readonly string[]): void;
  /** Gives the terminal back. May be called more than once. */
  close(): void;
}

/** What happens at the terminal. */
export interface TerminalEvents {
  /** A character that was typed; Ctrl-C comes as "\u0003". */
  readonly onKey: (key: string) => void;
  /** It has another size now, and shows nothing any more. */
  readonly onResize: () => void;
}

const ESCAPE = '\u001b';
/** Alternate screen, no cursor, no wrapping at the right end, nothing on it. */
const TAKE = `${ESCAPE}[?1049h${ESCAPE}[?25l${ESCAPE}[?7l${ESCAPE}[2J`;
const GIVE_BACK = `${ESCAPE}[0m${ESCAPE}[?7h${ESCAPE}[?25h${ESCAPE}[?1049l`;

/** What has to be sent so that a screen which shows `before` shows `lines`: whole lines, only those that differ. */
export function frameText(before: readonly string[], lines: readonly string[]): string {
  const parts: string[] = [];
  for (let row = 0; row < Math.max(before.length, lines.length); row += 1) {
    const [old, line] = [before[row] ?? '', lines[row] ?? ''];
    if (old !== line) parts.push(`${ESCAPE}[${row + 1};1H${ESCAPE}[2K${line}`);
  }
  return parts.join('');
}

/** Takes over the terminal that standard output is. Keys come only where standard input is a terminal too. */
export function openTerminal({ onKey, onResize }: TerminalEvents): Terminal {
  const { stdin, stdout } = process;
  let shown: readonly string[] = [];
  let open = true;
  const typed = (chunk: Buffer): void => {
    const text = chunk.toString('latin1');
    // Arrows and the like; none of them means anything here.
    if (text.startsWith(ESCAPE)) return;
    for (const key of text) onKey(key);
  };
  const resized = (): void => {
    shown = [];
    stdout.write(`${ESCAPE}[2J`);
    onResize();
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    process.off('exit', close);
    stdout.off('resize', resized);
    if (stdin.isTTY) {
      stdin.off('data', typed);
      stdin.setRawMode(false);
      stdin.pause();
    }
    // A terminal is written to at once, so this also works while the process ends.
    stdout.write(GIVE_BACK);
  };
  process.on('exit', close);
  stdout.on('resize', resized);
  if (stdin.isTTY) {
    stdin.setRawMode(true);
    stdin.on('data', typed);
    stdin.resume();
  }
  stdout.write(TAKE);
  return {
    // A terminal that does not know its size, as on a serial line, is taken for the usual one.
    get columns() {
      return stdout.columns > 0 ? stdout.columns : 80;
    },
    get rows() {
      return stdout.rows > 0 ? stdout.rows : 24;
    },
    draw: (lines) => {
      if (!open) return;
      stdout.write(frameText(shown, lines));
      shown = [...lines];
    },
    close,
  };
}
