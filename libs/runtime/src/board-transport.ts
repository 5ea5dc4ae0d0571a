/**
 * The posture board as a NestJS transport: `@EventPattern('posture.decided')` hears what the board tells.
 * It must not read or interpret the board; `PostureBoard` does.
 */
import { BOARD_EVENTS, type BoardEvents, type PostureBoard } from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { BaseRpcContext, Server } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';

/** Transport id of the board, for `@EventPattern('posture.decided', BOARD)` in an app with several transports. */
export const BOARD = Symbol('kedge posture board');

/** What an event handler is told besides the event: `@Ctx() context: BoardContext`. */
export class BoardContext extends BaseRpcContext<[keyof BoardEvents, PostureBoard]> {
  /** The name of the event. */
  get event(): keyof BoardEvents {
    return this.getArgByIndex(0) as keyof BoardEvents;
  }

  /** The board that told it, for a snapshot. */
  get board(): PostureBoard {
    return this.getArgByIndex(1) as PostureBoard;
  }
}

/** How the board is offered to Nest. */
export interface BoardTransportOptions {
  /** Stays the caller's: it is not closed with the transport. */
  readonly board: PostureBoard;
  /** Told when a handler failed. A service that cannot handle a decision should not go on as if it had. */
  readonly onFailure: (event: keyof BoardEvents, error: unknown) => void;
}

/**
 * Delivers the events of the board to the handlers of a Nest application, started in the order in which the
 * board told them. What stands on the board when the application starts comes first, as `posture.decided` with
 * `initial: true`, so that a restarted service is brought to the current posture (PO-19).
 *
 * Its `listen` fails with a KedgeError `RUNTIME_EVENT_UNKNOWN` when a handler waits for an event that the board
 * does not have, and with `RUNTIME_NOT_AN_EVENT` for a `@MessagePattern`.
 */
export class BoardTransport extends Server {
  override readonly transportId = BOARD;
  /** Failures of handlers are seen here, so Nest need not log them. */
  override readonly propagatesEventHandlerErrors = true;
  readonly #board: PostureBoard;
  readonly #onFailure: BoardTransportOptions['onFailure'];
  readonly #listeners: { readonly name: keyof BoardEvents; readonly listener: (event: unknown) => void }[] =
    [];

  constructor({ board, onFailure }: BoardTransportOptions) {
    super();
    this.#board = board;
    this.#onFailure = onFailure;
  }

  override listen(callback: (error?: unknown) => void): void {
    try {
      this.#subscribe();
    } catch (error) {
      callback(error);
      return;
    }
    callback();
    this.#board.announce();
  }

  #subscribe(): void {
    const known = new Set<string>(BOARD_EVENTS);
    for (const [pattern, handler] of this.messageHandlers) {
      if (handler.isEventHandler !== true) {
        throw new KedgeError({
          code: 'RUNTIME_NOT_AN_EVENT',
          message: `cannot answer ${pattern} from the posture board: it has no requests`,
          expected: 'an @EventPattern; requests go over gRPC',
        });
      }
      if (!known.has(pattern)) {
        throw new KedgeError({
          code: 'RUNTIME_EVENT_UNKNOWN',
          message: `cannot listen to ${pattern}: the posture board has no such event`,
          expected: `one of ${BOARD_EVENTS.join(', ')}`,
        });
      }
    }
    for (const name of BOARD_EVENTS) {
      if (!this.messageHandlers.has(name)) continue;
      const listener = (event: unknown): void => {
        void this.#deliver(name, event);
      };
      this.#listeners.push({ name, listener });
      this.#board.on(name, listener);
    }
  }

  async #deliver(name: keyof BoardEvents, event: unknown): Promise<void> {
    try {
      const result: unknown = await this.messageHandlers.get(name)?.(
        event,
        new BoardContext([name, this.#board]),
      );
      if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
    } catch (error) {
      this.#onFailure(name, error);
    }
  }

  override close(): void {
    for (const { name, listener } of this.#listeners.splice(0)) this.#board.off(name, listener);
  }

  /** Not offered: handlers are declared, not added. */
  override on(): never {
    throw new KedgeError({
      code: 'RUNTIME_NOT_OFFERED',
      message: 'the board transport takes no listeners of its own',
    });
  }

  override unwrap<T>(): T {
    return this.#board as T;
  }
}
