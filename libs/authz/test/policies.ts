/**
 * Directories of policies and requests for tests.
 * It must not know what a test wants to show.
 */
import type { AuthorisationRequest } from '@kedge/contracts';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { requestOf } from '../src/index.js';

/** One directory of policies; everything of it goes with `remove`. */
export class PolicyDirectory {
  readonly path = mkdtempSync(join(tmpdir(), 'kedge-policies-'));

  /** Writes a file whole: beside its place, then renamed into it. */
  put(name: string, text: string | Uint8Array): void {
    const fresh = join(this.path, `.${name}.new`);
    writeFileSync(fresh, text);
    renameSync(fresh, join(this.path, name));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A policy that permits or forbids everything, by its name. */
export const all = (effect: 'permit' | 'forbid', id: string): string =>
  `@id("${id}")\n${effect} (principal, action, resource);\n`;

/** An apprentice who looks: allowed by whatever permits everything. */
export const looking: AuthorisationRequest = requestOf({
  tier: 'apprentice',
  channel: 'local',
  action: 'posture.get',
  level: 5,
});

/** Waits until `look` gives true; @throws after `ms`. */
export async function until(what: string, look: () => boolean, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!look()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await pause(5);
  }
}
