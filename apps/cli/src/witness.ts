/**
 * A witness as a program of its own: its key, and its server until it is to end.
 * It must not judge checkpoints; libs/ledger-witness does.
 */
import { verifierOf } from '@kedge/ledger';
import {
  createWitnessKey,
  openWitness,
  readWitnessKey,
  serveWitness,
  type WitnessAlarm,
} from '@kedge/ledger-witness';
import { KedgeError } from '@kedge/units';
import { readFileSync } from 'node:fs';

import { EXIT } from './exit-status.js';
import { failureOf, failureText } from './failure.js';
import { leaving } from './leaving.js';
import { plain } from './render.js';

export interface WitnessServeOptions {
  readonly directory: string;
  readonly key: string;
  readonly log: readonly string[];
  readonly listen: { readonly host: string; readonly port: number };
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly json?: boolean;
}

/** Makes a key and prints its public half. */
export function witnessKey(
  file: string,
  { name, json }: { readonly name: string; readonly json?: boolean },
): number {
  const { text } = createWitnessKey(file, name);
  process.stdout.write(json === true ? `${JSON.stringify({ file, verifier: text })}\n` : `${text}\n`);
  return EXIT.ok;
}

/** Serves until SIGINT, SIGTERM or SIGHUP. */
export async function witnessServe(options: WitnessServeOptions): Promise<number> {
  const { directory, listen, json = false } = options;
  const signer = readWitnessKey(options.key);
  const logs = options.log.map((text) => verifierOf(text));
  const tls = tlsOf(options);
  const end = leaving();
  const witness = await openWitness({
    directory,
    signer,
    logs,
    nowMs: () => Date.now(),
    onAlarm: (alarm) => {
      process.stderr.write(`${alarmText(alarm, json)}\n`);
    },
  });
  try {
    const server = await serveWitness({
      witness,
      ...listen,
      ...(tls === undefined ? {} : { tls }),
      onError: (error) => {
        process.stderr.write(failureText(failureOf(error), json));
      },
    });
    const told = { url: server.url, witness: signer.text, logs: logs.map(({ name }) => name) };
    process.stdout.write(
      json
        ? `${JSON.stringify(told)}\n`
        : `witness ${signer.text}\nlistens at ${server.url} for ${told.logs.map(plain).join(', ')}\n`,
    );
    await new Promise<void>((resolve) => {
      if (end.aborted) resolve();
      else {
        end.addEventListener('abort', () => {
          resolve();
        });
      }
    });
    await server.close();
  } finally {
    await witness.close();
  }
  return EXIT.ok;
}

function tlsOf({ tlsCert, tlsKey }: WitnessServeOptions): { cert: string; key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new KedgeError({
      code: 'CLI_USAGE',
      message: '--tls-cert and --tls-key belong together',
      expected: 'both of them or none',
    });
  }
  try {
    return { cert: readFileSync(tlsCert, 'utf8'), key: readFileSync(tlsKey, 'utf8') };
  } catch (cause) {
    throw new KedgeError({
      code: 'WITNESS_TLS',
      message: `cannot read ${tlsCert} and ${tlsKey}`,
      expected: 'a certificate chain and its key as PEM',
      cause,
    });
  }
}

function alarmText({ kind, held, offered, evidence }: WitnessAlarm, json: boolean): string {
  if (json) {
    const alarm = {
      kind,
      origin: held.origin,
      held: held.size,
      offered: offered.size,
      evidence: evidence ?? null,
    };
    return JSON.stringify({ alarm });
  }
  const sizes = `held ${held.size} entries, offered ${offered.size}`;
  return `ALARM ${kind}: ${plain(held.origin)}, ${sizes}${evidence === undefined ? '' : `; both in ${evidence}`}`;
}
