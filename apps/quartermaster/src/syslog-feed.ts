/**
 * One receiver of syslog over TLS that every entry of the ledger goes to, in order, from where it was left (LE-9).
 * It must not hold up the ledger, nor count as received what no receiver has read: that is sent again.
 *
 * Syslog has no receipts. What was sent counts as received when its connection was ended in order: a system that closes
 * a connection with something unread in it breaks it off instead. So a connection is ended every now and then, and the
 * cursor moves only then; of a connection that broke everything since is sent once more.
 */
import { type Exported, exportedOf, syslogMessage, SyslogSender } from '@kedge/ledger-export';
import { leafHash } from '@kedge/ledger';
import type { LedgerStore } from '@kedge/ledger-store';
import { readFile } from 'node:fs/promises';
import { setImmediate, setTimeout as pause } from 'node:timers/promises';

import type { SyslogFeedConfig } from './config.js';
import { readCursor, writeCursor } from './feed-cursor.js';
import type { QuartermasterLog } from './log.js';

/** Characters of messages that are made before the event loop has its turn, and that wait for the receiver, at most. */
const PIECE = 64 * 1024;
/** A connection is ended in order at the latest after so much. */
const SETTLE = 4 * 1024 * 1024;
/** How long a receiver may take to read what it was sent, when its connection ends. */
const LEAVE_MS = 15_000;
/** The same when the service ends. */
const LEAVE_AT_END_MS = 1_000;
const RETRY_MS = 500;
const RETRY_MS_MAX = 30_000;

/** What a feed is given; all of it stays its owner's. */
export interface SyslogFeedParts {
  readonly config: SyslogFeedConfig;
  readonly store: Pick<LedgerStore, 'size' | 'entriesFrom' | 'onDurable' | 'keys'>;
  /** Name of the log. */
  readonly origin: string;
  /** Where the cursor is kept; its directory exists. */
  readonly cursorPath: string;
  readonly say: QuartermasterLog;
}

/** How a feed stands. */
export interface FeedStanding {
  readonly name: string;
  readonly connected: boolean;
  /** Entries that have still to be sent. */
  readonly lag: number;
  /** Entries below were received. */
  readonly received: number;
  /** Messages handed over since the start, those that were sent again included. */
  readonly sent: number;
  /** Entries that could not be sent, since the start: let go by retention before, or unreadable. */
  readonly leftOut: number;
}

/** Feeds one receiver until it is closed. */
export class SyslogFeed {
  readonly #parts: SyslogFeedParts;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  readonly #forget: () => void;
  #wake: () => void = () => undefined;
  /** Entries below were received; those between were sent over the connection that stands. */
  #received = 0;
  #next = 0;
  #connected = false;
  #sent = 0;
  #leftOut = 0;
  /** When it last had nothing to do, of the monotonic clock. */
  #caughtUpAt = performance.now();
  /** Why there is no receiver; empty while there is. */
  #gone = '';
  #cursorTrouble = '';

  constructor(parts: SyslogFeedParts) {
    this.#parts = parts;
    this.#forget = parts.store.onDurable(() => {
      this.#wake();
    });
    this.#running = this.#run();
  }

  get standing(): FeedStanding {
    const { config, store } = this.#parts;
    return {
      name: config.name,
      connected: this.#connected,
      lag: Math.max(0, store.size - this.#next),
      received: this.#received,
      sent: this.#sent,
      leftOut: this.#leftOut,
    };
  }

  /** What is not as it should be. */
  alarms(): readonly string[] {
    const { name, behindMs } = this.#parts.config;
    const { lag } = this.standing;
    const late = performance.now() - this.#caughtUpAt;
    return [
      ...(this.#gone === ''
        ? []
        : [`the receiver of feed ${name} is gone: ${this.#gone}; ${lag} entries wait`]),
      ...(this.#gone === '' && lag > 0 && late > behindMs
        ? [`feed ${name} is behind: ${lag} entries wait for its receiver`]
        : []),
      ...(this.#leftOut === 0
        ? []
        : [`feed ${name} left out ${this.#leftOut} entries that could not be sent`]),
      ...(this.#cursorTrouble === ''
        ? []
        : [`the place of feed ${name} cannot be kept: ${this.#cursorTrouble}`]),
    ];
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#forget();
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    const { say, config } = this.#parts;
    let retryMs = RETRY_MS;
    let hasBegun = false;
    while (!signal.aborted) {
      try {
        if (!hasBegun) await this.#begin();
        hasBegun = true;
        await this.#untilThereIsSome(signal);
        if (signal.aborted) break;
        const was = await this.#connection(signal);
        if (was === 'ended') {
          retryMs = RETRY_MS;
          continue;
        }
        if (was === 'broken') retryMs = RETRY_MS;
      } catch (error) {
        this.#lost(error instanceof Error ? error.message : String(error));
        say.error({ err: error, feed: config.name }, 'a feed does not go on');
      }
      // What was under way is not known to have been read.
      this.#next = this.#received;
      await pause(retryMs, undefined, { signal }).catch(() => undefined);
      retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
    }
  }

  /** Finds where it was left; where that is not known, or is of another history, it begins anew. */
  async #begin(): Promise<void> {
    const { config, store, origin, cursorPath, say } = this.#parts;
    const cursor = await readCursor(cursorPath);
    let next = 0;
    if (cursor === 'none') {
      next = config.begin === 'next' ? store.size : 0;
      await writeCursor(cursorPath, { origin, next, leaf: '' });
    } else if (cursor === 'damaged' || cursor.origin !== origin || !this.#isOurs(cursor.next, cursor.leaf)) {
      say.warn({ feed: config.name, cursor }, 'the place of a feed is of no use: everything is sent again');
    } else ({ next } = cursor);
    this.#received = this.#next = next;
  }

  /** False where the log is shorter than a cursor says, or holds something else there. */
  #isOurs(next: number, leaf: string): boolean {
    const { store } = this.#parts;
    if (next > store.size) return false;
    if (next === 0 || leaf === '') return true;
    const [last] = store.entriesFrom(next - 1);
    return last?.index !== next - 1 || leafHash(last.entry).toString('hex') === leaf;
  }

  async #untilThereIsSome(signal: AbortSignal, withinMs?: number): Promise<void> {
    if (this.#next < this.#parts.store.size || signal.aborted) return;
    this.#caughtUpAt = performance.now();
    await new Promise<void>((resolve) => {
      const timer = withinMs === undefined ? undefined : setTimeout(resolve, withinMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }

  /** `ended`: in order, and everything was read. `broken`: stood, and was lost. `refused`: never stood. */
  async #connection(signal: AbortSignal): Promise<'ended' | 'broken' | 'refused'> {
    const { config } = this.#parts;
    const lost = new AbortController();
    let [hasStood, isLeaving] = [false, false];
    let stands: () => void = () => undefined;
    const decided = new Promise<void>((resolve) => {
      stands = resolve;
    });
    const sender = new SyslogSender({
      ...(await targetOf(config)),
      onConnection: (connected) => {
        this.#connected = connected;
        hasStood ||= connected;
        if (!connected) {
          lost.abort();
          this.#wake();
        }
        stands();
      },
    });
    const leave = (): void => {
      stands();
      lost.abort();
      if (isLeaving) void sender.close(LEAVE_AT_END_MS);
    };
    signal.addEventListener('abort', leave);
    try {
      await decided;
      if (hasStood && this.#gone !== '') {
        this.#parts.say.info({ feed: config.name }, 'a feed has its receiver again');
        this.#gone = '';
      }
      const last = hasStood ? await this.#sendOver(sender, lost.signal) : undefined;
      const { reason } = sender.status;
      isLeaving = true;
      const isRead = await sender.close(signal.aborted ? LEAVE_AT_END_MS : LEAVE_MS);
      if (isRead && last !== undefined) {
        await this.#settle(last);
        return 'ended';
      }
      if (!signal.aborted) this.#lost(reason === '' ? 'it ended the connection' : reason);
      return hasStood ? 'broken' : 'refused';
    } finally {
      signal.removeEventListener('abort', leave);
      this.#connected = false;
      await sender.close(0);
    }
  }

  /**
   * Sends what there is and what comes, until it is time to end the connection; the leaf hash of the last entry, or
   * undefined where the connection was lost meanwhile.
   */
  async #sendOver(sender: SyslogSender, lost: AbortSignal): Promise<string | undefined> {
    const { config } = this.#parts;
    const isLost = new Promise<void>((resolve) => {
      if (lost.aborted) resolve();
      lost.addEventListener('abort', () => {
        resolve();
      });
    });
    let [leaf, size, since] = ['', 0, performance.now()];
    for (;;) {
      const begun = performance.now();
      const piece = this.#piece();
      if (piece.messages.length > 0) {
        const sending = Promise.all(piece.messages.map((message) => sender.send(message)));
        // A sender that is closed meanwhile refuses what waits; that is known by then.
        const sent = await Promise.race([sending.then(() => true), isLost.then(() => false)]).catch(
          () => false,
        );
        sending.catch(() => undefined);
        if (!sent) return this.#ending.signal.aborted ? leaf : undefined;
        this.#sent += piece.messages.length;
        size += piece.size;
      }
      if (piece.next > this.#next) [this.#next, leaf] = [piece.next, piece.leaf];
      if (lost.aborted) return this.#ending.signal.aborted ? leaf : undefined;
      const spent = performance.now() - begun;
      const isIdle = this.#next >= this.#parts.store.size;
      if (this.#next === this.#received) since = performance.now();
      const due = since + config.settleMs - performance.now();
      if (this.#next > this.#received && (due <= 0 || size >= SETTLE)) return leaf;
      if (isIdle)
        await this.#untilThereIsSome(this.#ending.signal, this.#next > this.#received ? due : undefined);
      // At most half of the time is the feed's: the ledger comes first.
      else await (spent < 2 ? setImmediate() : pause(Math.min(spent, 50)));
    }
  }

  /** The next messages, as many as fit into a piece, and where they end. */
  #piece(): { messages: string[]; size: number; next: number; leaf: string } {
    const { config, store, say } = this.#parts;
    const people =
      config.people === 'pseudonyms' ? 'pseudonyms' : { keyBy: (id: string) => store.keys.by(id) };
    const messages: string[] = [];
    let [size, next, leaf] = [0, this.#next, ''];
    for (const { index, entry } of store.entriesFrom(this.#next)) {
      this.#leftOut += index - next;
      next = index + 1;
      leaf = leafHash(entry).toString('hex');
      try {
        const exported: Exported = exportedOf(index, entry, people);
        const message = syslogMessage(exported, config);
        messages.push(message);
        size += message.length;
      } catch (error) {
        // One entry that cannot be read holds up no other.
        this.#leftOut += 1;
        say.error({ err: error, feed: config.name, index }, 'an entry could not be sent');
      }
      if (size >= PIECE) break;
    }
    return { messages, size, next, leaf };
  }

  async #settle(leaf: string): Promise<void> {
    const { config, origin, cursorPath, say } = this.#parts;
    this.#received = this.#next;
    try {
      await writeCursor(cursorPath, { origin, next: this.#received, leaf });
      this.#cursorTrouble = '';
    } catch (error) {
      this.#cursorTrouble = error instanceof Error ? error.message : String(error);
      say.warn({ err: error, feed: config.name }, 'the place of a feed could not be kept');
    }
  }

  #lost(why: string): void {
    const { say, config } = this.#parts;
    if (this.#gone === '') say.warn({ feed: config.name, why }, 'the receiver of a feed is gone');
    this.#gone = why;
  }
}

/** @throws Error where a file cannot be read. */
async function targetOf({ host, port, serverName, authorities, identity }: SyslogFeedConfig) {
  return {
    host,
    port,
    ...(serverName === undefined ? {} : { name: serverName }),
    ...(authorities === undefined ? {} : { authorities: await readFile(authorities, 'utf8') }),
    ...(identity === undefined
      ? {}
      : {
          identity: {
            certificate: await readFile(identity.certificate, 'utf8'),
            key: await readFile(identity.key, 'utf8'),
          },
        }),
  };
}
