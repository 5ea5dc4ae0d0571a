/**
 * What a plugin's process and its host say to each other: one JSON document per line.
 * It must not hold a message that a plugin could do harm with by sending it often.
 */
import { z } from 'zod';

// eslint-disable-next-line no-control-regex -- what goes into records and logs stays on its line
const ONE_LINE = /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/u;
const sentence = z.string().min(1).max(400).regex(ONE_LINE, 'expected one line without control characters');

/** A request, exactly as a plugin may make it. */
export const tightenSchema = z.strictObject({
  say: z.literal('tighten'),
  id: z.int().min(1).max(Number.MAX_SAFE_INTEGER),
  level: z.int().min(1).max(5),
  reason: sentence,
  key: z.string().regex(/^[A-Za-z0-9._:-]{8,32}$/, 'expected 8 to 32 of A-Z a-z 0-9 . _ : -'),
});

/** Everything that a plugin's process may say. */
export const saidSchema = z.discriminatedUnion('say', [
  z.strictObject({ say: z.literal('running') }),
  z.strictObject({ say: z.literal('beat') }),
  z.strictObject({ say: z.literal('problem'), text: sentence.nullable() }),
  tightenSchema,
]);

/** See {@link saidSchema}. */
export type Said = z.infer<typeof saidSchema>;

/** What the host tells: once at the start, then answers. */
export interface Start {
  readonly tell: 'start';
  readonly entry: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly files: Readonly<Record<string, string>>;
}

/** What became of a request. */
export type HostAnswer =
  | { readonly outcome: 'applied'; readonly epoch: string; readonly level: number }
  | { readonly outcome: 'refused'; readonly code: string; readonly message: string };

/** See {@link HostAnswer}. */
export interface Answered {
  readonly tell: 'answer';
  readonly id: number;
  readonly answer: HostAnswer;
}
