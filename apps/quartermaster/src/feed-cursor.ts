/**
 * How far a feed is, in a file that is the old or the new one after a power cut.
 * It must not be ahead of what the receiver has read: what is lost with it is sent again, never left out.
 */
import { isMissing, replaceFile } from '@kedge/durable-files';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const cursorSchema = z.strictObject({
  /** Name of the log. */
  origin: z.string(),
  /** Entries below were received. */
  next: z.int().min(0),
  /** Leaf hash of the last of them, hexadecimal; empty where there is none, or where its bundle was let go. */
  leaf: z.string().regex(/^([0-9a-f]{64})?$/),
});

/** See the fields of the schema. */
export type FeedCursor = z.output<typeof cursorSchema>;

/** What the file says; `none` where there is no file, `damaged` where it says nothing that is a cursor. */
export async function readCursor(path: string): Promise<FeedCursor | 'none' | 'damaged'> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return 'none';
    throw error;
  }
  try {
    return cursorSchema.parse(JSON.parse(text));
  } catch {
    return 'damaged';
  }
}

/** It is on stable storage when this resolves. */
export async function writeCursor(path: string, cursor: FeedCursor): Promise<void> {
  await replaceFile(path, JSON.stringify(cursor));
}
