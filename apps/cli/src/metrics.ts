/**
 * `kedge metrics`: asks the services of an appliance for what they count, and prints it as they told it.
 * It must not interpret what they count.
 */
import { KedgeError } from '@kedge/units';
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';

import { EXIT } from './exit-status.js';
import { familiesOf } from './exposition.js';
import { jsonText } from './render.js';
import { targetOf, type TargetOptions } from './target.js';

/** How the command was asked. */
export interface MetricsOptions extends TargetOptions {
  /** Milliseconds that each service may take. */
  readonly timeout: number;
  readonly json?: boolean;
}

/** Longest answer that is taken. */
const MAX_BYTES = 4 * 1024 * 1024;
const SOCKET = /^([a-z][a-z0-9-]{0,40})\.sock$/;

/**
 * @param service which one; all that serve metrics where it is undefined.
 * @throws KedgeError `CLI_METRICS_ABSENT`, `CLI_METRICS_INVALID`
 */
export async function metricsShow(service: string | undefined, options: MetricsOptions): Promise<number> {
  const { title, directory } = await targetOf(options);
  const there = socketsIn(join(directory, 'metrics'));
  const asked = service === undefined ? there : there.filter((name) => name === service);
  if (asked.length === 0) {
    throw new KedgeError({
      code: 'CLI_METRICS_ABSENT',
      message:
        service === undefined
          ? `no service of ${title} serves metrics`
          : `there are no metrics of ${JSON.stringify(service)} in ${title}`,
      ...(there.length === 0 ? {} : { expected: `one of ${there.join(', ')}` }),
      help: 'metrics are served by services whose configuration has metrics.socket, by default in sock/metrics',
    });
  }
  const told = await Promise.all(
    asked.map(async (name) => ({
      name,
      text: await scrape(join(directory, 'metrics', `${name}.sock`), name, options.timeout),
    })),
  );
  const read = told.map(({ name, text }) => [name, familiesOf(text)] as const);
  if (options.json === true) process.stdout.write(`${jsonText(Object.fromEntries(read))}\n`);
  // One service is told as it is, for whatever reads the format; several would be no text of that format together.
  else if (service !== undefined) process.stdout.write(told[0]?.text ?? '');
  else
    for (const [name, families] of read) {
      process.stdout.write(`${name}\n`);
      for (const { samples } of families.filter((family) => family.name.startsWith('kedge_')))
        for (const { name: metric, labels, value } of samples) {
          const inner = Object.entries(labels).map(([label, is]) => `${label}=${JSON.stringify(is)}`);
          process.stdout.write(
            `  ${metric}${inner.length === 0 ? '' : `{${inner.join(',')}}`} ${String(value)}\n`,
          );
        }
    }
  return EXIT.ok;
}

function socketsIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .flatMap((file) => SOCKET.exec(file)?.[1] ?? [])
      .sort();
  } catch {
    return [];
  }
}

function scrape(socketPath: string, service: string, timeout: number): Promise<string> {
  const failed = (why: string, cause?: unknown): KedgeError =>
    new KedgeError({
      code: 'CLI_METRICS_ABSENT',
      message: `${service} did not tell its metrics: ${why}`,
      help: 'kedge doctor shows whether it runs',
      ...(cause === undefined ? {} : { cause }),
    });
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: '/metrics', headers: { host: 'localhost' } }, (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_BYTES) call.destroy(new Error('it tells more than can be meant'));
        else parts.push(part);
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(parts).toString('utf8'));
        else reject(failed(`it answered with status ${String(response.statusCode)}`));
      });
      response.on('error', (cause) => {
        reject(failed('its answer broke off', cause));
      });
    });
    call.setTimeout(timeout, () => call.destroy(new Error('no answer in time')));
    call.on('error', (cause) => {
      reject(failed('it cannot be asked', cause));
    });
    call.end();
  });
}
