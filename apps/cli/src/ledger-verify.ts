/**
 * Hands a copy of a ledger over to the program that verifies it, and passes on how it ended.
 * It must not verify anything, nor change what the program says.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { EXIT } from './exit-status.js';

export interface LedgerVerifyOptions {
  readonly key: string;
  readonly kept?: readonly string[];
  readonly witness?: readonly string[];
  readonly keptFrom?: string;
  readonly json?: boolean;
}

const PROGRAM = fileURLToPath(new URL('../../ledger-verify/bin/kedge-ledger-verify.js', import.meta.url));

/** Runs the program; its exit status. */
export async function ledgerVerify(directory: string, options: LedgerVerifyOptions): Promise<number> {
  const { key, kept = [], witness = [], keptFrom, json = false } = options;
  const args = [
    `--key=${key}`,
    ...kept.map((file) => `--kept=${file}`),
    ...witness.map((each) => `--witness=${each}`),
    ...(keptFrom === undefined ? [] : [`--kept-from=${keptFrom}`]),
    ...(json ? ['--json'] : []),
  ];
  const child = spawn(process.execPath, [PROGRAM, ...args, '--', directory], { stdio: 'inherit' });
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    // Killed, it has found nothing out.
    child.once('exit', (status) => {
      resolve(status ?? EXIT.unreachable);
    });
  });
}
