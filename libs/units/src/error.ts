/**
 * The one error class of Kedge: a code for machines, a sentence for people.
 * It must not know the codes; each stands where it is thrown, and in docs/errors.md.
 */

/** What an error says. */
export interface KedgeErrorFields {
  /** `AREA_WHAT`, a row of docs/errors.md. */
  readonly code: string;
  /** Operation, object, and what went wrong; never repeats the cause's text. */
  readonly message: string;
  /** The field at fault, as its sender would name it. */
  readonly field?: string;
  /** What would have been right. */
  readonly expected?: string;
  /** What to do now. */
  readonly help?: string;
  /** What it was caused by. */
  readonly cause?: unknown;
}

/** How an error looks in JSON. */
export interface KedgeErrorJson {
  readonly code: string;
  readonly message: string;
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;
}

/** An error with a code. Expected refusals are return values and carry the same fields. */
export class KedgeError extends Error {
  override readonly name = 'KedgeError';
  readonly code: string;
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;

  constructor(fields: KedgeErrorFields) {
    super(fields.message, 'cause' in fields ? { cause: fields.cause } : undefined);
    this.code = fields.code;
    if (fields.field !== undefined) this.field = fields.field;
    if (fields.expected !== undefined) this.expected = fields.expected;
    if (fields.help !== undefined) this.help = fields.help;
  }

  /** Code, message, field, expected and help; never the cause or the stack, which are for the log. */
  toJSON(): KedgeErrorJson {
    return {
      code: this.code,
      message: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.expected === undefined ? {} : { expected: this.expected }),
      ...(this.help === undefined ? {} : { help: this.help }),
    };
  }
}

/** True for an error that carries the code `code`, whoever threw it. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
