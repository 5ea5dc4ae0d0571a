/**
 * Up to which event of the warden records are kept: the board holds the newest ones, and a coordinator that starts
 * again reads them again.
 * It must not hold anything up, and must not count what waits for the disk as told: twice is better than never.
 *
 * A boot ends what is on the board, and so what this says: the file has to outlive the process, not a power cut.
 */
import type { WardenViolation } from '@kedge/bus';
import { readFile, rename, writeFile } from 'node:fs/promises';

/** The event that was told last, of this boot. A warden that starts anew counts its events from 0, at a later time. */
type Mark = Pick<WardenViolation, 'atNs' | 'number'>;

const FORM = /^([0-9a-f-]{36}) (0|[1-9][0-9]{0,19}) (0|[1-9][0-9]{0,19})\n$/;

/** What of a boot was told; nothing where the file is of another one, is not there, or cannot be read. */
export async function readMark(path: string, boot: string): Promise<Mark | undefined> {
  const text = await readFile(path, 'latin1').catch(() => '');
  const [, of, atNs, number] = FORM.exec(text) ?? [];
  if (of !== boot || atNs === undefined || number === undefined) return undefined;
  return { atNs: BigInt(atNs), number: BigInt(number) };
}

/** See the head of the file. */
export class ToldViolations {
  readonly #path: string;
  readonly #boot: string;
  #mark: Mark | undefined;
  #writing: Promise<void> | undefined;
  #written: Mark | undefined;

  constructor(path: string, boot: string, mark: Mark | undefined) {
    this.#path = path;
    this.#boot = boot;
    this.#mark = mark;
    this.#written = mark;
  }

  /** True for an event whose record is known to be kept. */
  isTold(event: Mark): boolean {
    return this.#mark !== undefined && !isBehind(event, this.#mark);
  }

  /** The record of this event is durable; those before it are as well, or were counted as lost. */
  told(event: Mark): void {
    if (this.isTold(event)) return;
    this.#mark = { atNs: event.atNs, number: event.number };
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Waits for what is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** Never rejects: what cannot be written is told again. */
  async #write(): Promise<void> {
    while (this.#mark !== undefined && this.#mark !== this.#written) {
      const mark = this.#mark;
      const next = `${this.#path}.new`;
      try {
        await writeFile(next, `${this.#boot} ${mark.atNs} ${mark.number}\n`, { mode: 0o600 });
        await rename(next, this.#path);
      } catch {
        return;
      }
      this.#written = mark;
    }
  }
}

function isBehind(one: Mark, other: Mark): boolean {
  return one.atNs === other.atNs ? one.number > other.number : one.atNs > other.atNs;
}
