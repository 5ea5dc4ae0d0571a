/**
 * The mark that says whether this box ever decided a posture, kept apart from the journal (PO-17).
 * It must not say what was decided.
 */
import { isMissing, syncDirectory } from '@kedge/durable-files';
import { access, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** True once a decision was ever durable here. What cannot be looked at counts as provisioned: that is stricter. */
export async function isProvisioned(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    return !isMissing(error);
  }
}

/** Sets the mark, once; a failure is tried again with the next decision. */
export function provisioningMark(path: string, there: boolean): () => void {
  let state: 'missing' | 'setting' | 'set' = there ? 'set' : 'missing';
  return () => {
    if (state !== 'missing') return;
    state = 'setting';
    void (async () => {
      const file = await open(path, 'a', 0o600);
      try {
        await file.sync();
      } finally {
        await file.close();
      }
      await syncDirectory(dirname(path));
    })().then(
      () => {
        state = 'set';
      },
      () => {
        state = 'missing';
      },
    );
  };
}
