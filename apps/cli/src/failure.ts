/**
 * How a failure is told: two plain lines, or one JSON object, on stderr; then the exit status.
 * It must not decide what is a failure.
 */
import { KedgeError, type KedgeErrorJson } from '@kedge/units';

import { exitOf } from './exit-status.js';

/** A refusal of a service, as an error. Empty fields of the message are absent ones. */
export function refusalError(refusal: {
  readonly code: string;
  readonly message: string;
  readonly field: string;
  readonly expected: string;
  readonly help: string;
  readonly rule?: string;
}): KedgeError {
  const { code, message, field, expected, help, rule = '' } = refusal;
  const said = rule === '' || message.includes(rule) ? message : `${message} (rule ${rule})`;
  return new KedgeError({
    code: code === '' ? 'CLI_UNEXPECTED' : code,
    message: said,
    ...(field === '' ? {} : { field }),
    ...(expected === '' ? {} : { expected }),
    ...(help === '' ? {} : { help }),
  });
}

/** Any thrown thing with a code of its own, or as an unexpected one. */
export function failureOf(error: unknown): KedgeErrorJson {
  if (error instanceof KedgeError) return error.toJSON();
  if (error instanceof Error) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    // Errors of other parts carry codes of the same kind; the system's (ENOENT) have no underscore.
    if (/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(code) && !code.startsWith('ERR_')) {
      return { code, message: error.message };
    }
    return {
      code: 'CLI_UNEXPECTED',
      message: error.message === '' ? error.name : error.message,
      help: 'this is a defect; set KEDGE_TRACE=1 to see where it comes from',
    };
  }
  return { code: 'CLI_UNEXPECTED', message: String(error) };
}

/** The text for stderr. */
export function failureText(failure: KedgeErrorJson, json: boolean): string {
  if (json) return `${JSON.stringify({ error: failure })}\n`;
  const { code, message, field, expected, help } = failure;
  const more = [
    ...(field === undefined ? [] : [`field: ${field}`]),
    ...(expected === undefined ? [] : [`expected: ${expected}`]),
    ...(help === undefined ? [] : [help]),
  ];
  return `kedge: ${message} [${code}]\n${more.length === 0 ? '' : `  ${more.join('; ')}\n`}`;
}

/** Tells a failure on stderr and returns the exit status. */
export function fail(error: unknown, json: boolean): number {
  const failure = failureOf(error);
  process.stderr.write(failureText(failure, json));
  if (process.env['KEDGE_TRACE'] === '1' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  return exitOf(failure.code);
}
