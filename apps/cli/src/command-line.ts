/**
 * What the commands of `kedge` have in common: options, how they are read, and what every help text says.
 * It must not name a command, and not do anything: it is loaded with every help text.
 */
import { type Level, LEVELS } from '@kedge/units';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isIP } from 'node:net';

import { WAYS_IN } from './ways-in.js';

export type Actions = typeof import('./actions.js');

/** Makes an action of the command line out of one of the actions that are loaded when they run. */
export type Act = <Rest extends unknown[]>(
  run: (actions: Actions, ...rest: Rest) => Promise<number>,
) => (...rest: Rest) => Promise<void>;

export const EXITS = `
Exit status:
  0  done
  1  unexpected
  2  used wrongly: an argument, an option, a field
  3  refused: not allowed, or not valid
  4  not reachable, not up, or not set up
  5  no answer in time
  6  a drill or a check failed
  7  damaged data

With --json every result is one JSON object on stdout and every error
{ "error": { code, message, field?, expected?, help? } } on stderr; 64-bit numbers are strings.
docs/errors.md explains every code.`;

export const LEVELS_HELP = `
Levels:
  5 normal       standard flow rules
  4 watch        the same, looked at closely
  3 restricted   what is not essential is marked low priority
  2 emergency    critical flows only
  1 lockdown     only what was approved beforehand`;

export const WAYS_HELP = `
The way in (--as) is a socket directory, and the directory is the proof of channel and tier: a request counts
as what its socket stands for, whatever it says. Without --as it is the most trusted local one that you can
reach; the console has to be asked for.`;

export function level(text: string): Level {
  const found = LEVELS.find((known) => String(known) === text);
  if (found === undefined)
    throw new InvalidArgumentError('expected a posture level, 1 (lockdown) to 5 (normal).');
  return found;
}

/** A level that a drill can go down to. */
export function drillLevel(text: string): Level {
  const found = LEVELS.find((known) => known !== 5 && String(known) === text);
  if (found === undefined) throw new InvalidArgumentError('expected a level to go down to, 1 to 4.');
  return found;
}

export function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

/** Seconds, with a fraction where one is wanted. */
export function seconds(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d{1,3})?$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a number of seconds, ${low} to ${high}.`);
    }
    return value;
  };
}

export function epoch(text: string): bigint {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('expected an epoch, a whole number.');
  return BigInt(text);
}

export function reason(text: string): string {
  if (text.trim() === '' || text.length > 512)
    throw new InvalidArgumentError('expected 1 to 512 characters.');
  return text;
}

/** Options that every command has which talks to an appliance. */
export function target(command: Command, { timeoutMs = 5_000 } = {}): Command {
  return command
    .option('--socket <dir>', 'talk to the sockets under DIR (it holds console/ and local/)')
    .option('--lab <name>', 'talk to the lab of this name; without it the lab "lab", when it is up')
    .addOption(new Option('--as <way>', `the way in: ${WAYS_IN.join(', ')}`))
    .option('--timeout <ms>', 'deadline of each call, milliseconds', whole(1, 600_000), timeoutMs)
    .option('--json', 'one JSON object instead of text');
}

export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1e3, min: 6e4, h: 36e5, d: 864e5, w: 6048e5 };

/** A moment, as milliseconds since 1970: a date, a date with a time, or how long ago ("90min", "2h", "7d"). */
export function moment(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6}) ?(s|min|h|d|w)$/.exec(text) ?? [];
  const ago = UNITS_MS[unit];
  const at =
    ago === undefined
      ? /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:?\d{2})?)?$/.test(text)
        ? Date.parse(text)
        : Number.NaN
      : Date.now() - Number(count) * ago;
  if (Number.isNaN(at) || at < 0) {
    throw new InvalidArgumentError(
      'expected a date (2026-03-01), a date with a time (2026-03-01T08:00Z), or how long ago (90min, 2h, 7d).',
    );
  }
  return Math.trunc(at);
}

/** An address and a port: "10.0.0.5:4739", "[fd77::5]:4739"; without a port IPFIX's own. */
export function collector(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port = '4739'] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? text;
  if (isIP(host) === 0 || host.includes('%') || Number(port) < 1 || Number(port) > 65_535)
    throw new InvalidArgumentError('expected an address and a port: 10.0.0.5:4739, [fd77::5]:4739.');
  return { host, port: Number(port) };
}

/** A channel or a principal. */
export function source(text: string): string {
  if (text.trim() === '' || text.length > 128)
    throw new InvalidArgumentError('expected 1 to 128 characters.');
  return text;
}
