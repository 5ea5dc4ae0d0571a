/**
 * The wish of whoever watches to leave: Ctrl-C, or a terminal that goes away.
 * It must not end the process: what has to be put back is put back first.
 */
import { KedgeError } from '@kedge/units';

/** Aborts with the first SIGINT, SIGTERM or SIGHUP; a second one ends the process as it always does. */
export function leaving(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      controller.abort(new KedgeError({ code: 'CLI_STOPPED', message: `stopped by ${name}` }));
    });
  }
  return controller.signal;
}
