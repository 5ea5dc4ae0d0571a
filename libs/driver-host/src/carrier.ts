/**
 * The edge between a host and a device: questions go out and answers come in, commands go out and are counted.
 * It must not know what a question or a command means.
 */

/** How far a write came. */
export interface Written {
  /** Commands that hold, from the first on; undefined where that cannot be told and only reading helps. */
  readonly done: number | undefined;
  /** Why it ended before its end; absent when all were done. */
  readonly failure?: { readonly code: string; readonly message: string };
}

/** The way to one device. One thing at a time: the caller waits for each call. */
export interface Carrier<Question, Answer, Command> {
  /**
   * Asks everything at once.
   *
   * @returns an answer for each question
   * @throws KedgeError what the way to the device has to say, and what the signal was aborted with.
   */
  ask(questions: readonly Question[], signal: AbortSignal): Promise<readonly Answer[]>;
  /** Writes in the given order and stops at the first command that is refused. Does not throw. */
  write(commands: readonly Command[], signal: AbortSignal): Promise<Written>;
}
