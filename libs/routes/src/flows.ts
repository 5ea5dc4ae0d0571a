/**
 * Ends established flows towards what is prohibited (OV-15): sockets by `ss -K`, entries of connection tracking by
 * `conntrack`. The policy rules stop the packets; this ends what is left of the flows.
 * It must not end a flow towards what a level allows, nor hide what it could not end.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { prefixOf } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

import { destinationsOutput } from './route-output.js';
import { isProtected } from './route-plan.js';
import { GUARD_TABLE, type RouteWorld } from './route-world.js';
import { namespaceArguments, runTool, type ToolOptions, type ToolRun } from './tool.js';

/** What became of established flows of one kind. */
export interface FlowsOfKind {
  /** False where this kernel or system has no means; whatever there is, is left. */
  readonly supported: boolean;
  /** Flows towards what is prohibited that were there and are gone. */
  readonly ended: number;
  /** Those that are still there. */
  readonly left: number;
}

/** What became of established flows. */
export interface FlowsEnded {
  /** TCP and connected UDP sockets of the appliance. */
  readonly sockets: FlowsOfKind;
  /** Entries of connection tracking, also of flows that pass through. */
  readonly tracked: FlowsOfKind;
  /** What could not be done, one sentence each. */
  readonly remarks: readonly string[];
}

/** A flow as a tool lists it; ports are absent where the protocol has none. */
interface Flow {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/** A set of prefixes that is asked for addresses. */
function coverOf(prefixes: readonly string[]): (address: string) => boolean {
  const texts = new Set(prefixes);
  const lengths = {
    4: new Set<string>(),
    6: new Set<string>(),
  };
  for (const prefix of prefixes)
    lengths[prefix.includes(':') ? 6 : 4].add(prefix.slice(prefix.indexOf('/') + 1));
  const known = new Map<string, boolean>();
  return (address) => {
    let answer = known.get(address);
    if (answer === undefined) {
      answer = [...lengths[address.includes(':') ? 6 : 4]].some((length) => {
        const prefix = prefixOf(`${address}/${length}`);
        return prefix !== undefined && texts.has(prefix.text);
      });
      known.set(address, answer);
    }
    return answer;
  };
}

/** Ports that are exempt, from the rules that stand: the far end's and the appliance's own. */
function exemptOf(world: RouteWorld): (protocol: string, near?: number, far?: number) => boolean {
  const ranges = world.entries.flatMap(({ kind, text }) => {
    const found = kind === 'rule' ? / ipproto (\w+) (sport|dport) (\d+)(?:-(\d+))? /.exec(text) : null;
    if (found === null) return [];
    const [, protocol = '', side = '', from = '', to = from] = found;
    return [{ protocol, side, from: Number(from), to: Number(to) }];
  });
  return (protocol, near, far) =>
    ranges.some((range) => {
      const port = range.side === 'dport' ? far : near;
      return range.protocol === protocol && port !== undefined && port >= range.from && port <= range.to;
    });
}

/** Whether the level prohibits a flow: an end of it is neither the appliance itself nor behind an allowed route. */
async function prohibitionOf(world: RouteWorld, options: ToolOptions): Promise<(flow: Flow) => boolean> {
  const read = async (family: 4 | 6): Promise<{ readonly local: string[]; readonly guard: string[] }> => {
    const { status, stdout } = await runTool(
      'ip',
      [...namespaceArguments(options), `-${String(family)}`, '-j', '-N', '-force', '-batch', '-'],
      options,
      `route show table local type local\nroute show table ${String(GUARD_TABLE)}\n`,
    );
    const [local = '', guard = ''] = stdout.split('\n');
    return {
      local: local.startsWith('[{') ? destinationsOutput(local) : [],
      // A table that has never been used is an error to some versions.
      guard: status === 0 ? destinationsOutput(guard) : [],
    };
  };
  const [four, six] = await Promise.all([read(4), read(6)]);
  const isLocal = coverOf(['127.0.0.0/8', '::1/128', 'ff00::/8', ...four.local, ...six.local]);
  const isAllowed = coverOf([...four.guard, ...six.guard]);
  const isExempt = exemptOf(world);
  return ({ protocol, source, destination, sourcePort, destinationPort }) => {
    const [from, to] = [isLocal(source), isLocal(destination)];
    if ((from || isAllowed(source)) && (to || isAllowed(destination))) return false;
    if (from && isExempt(protocol, sourcePort, destinationPort)) return false;
    return !(to && isExempt(protocol, destinationPort, sourcePort));
  };
}

/** Runs a tool in the namespace asked for, or undefined where it is not installed. */
async function runInside(
  tool: string,
  args: readonly string[],
  options: ToolOptions,
): Promise<ToolRun | undefined> {
  const inside = options.netns === undefined ? [] : [...namespaceArguments(options).slice(1), tool];
  try {
    return await (options.netns === undefined
      ? runTool(tool, args, options)
      : runTool('ip', ['netns', 'exec', ...inside, ...args], options));
  } catch (error) {
    if (error instanceof KedgeError && error.code === 'ROUTES_TOOL') return undefined;
    throw error;
  }
}

const SOCKET = /^(tcp|udp)\s+(\S+)\s+\d+\s+\d+\s+(\S+):(\d+)\s+(\S+):(\d+)\s*/;

/** An address as `ss` prints it, without brackets and interface, or undefined. */
function socketAddress(text: string): string | undefined {
  const plain = /^\[?([^\]%]+)\]?(?:%\S+)?$/.exec(text)?.[1];
  if (plain === undefined || isIP(plain) === 0) return undefined;
  // A socket of both families speaks to IPv4 by a mapped address.
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  return mapped ?? plain;
}

interface SocketFlow extends Flow {
  /** How `ss` wants it named again. */
  readonly filter: string;
}

/** Connected sockets from `ss -H -n -t -u -O state connected`; lines that are none are passed over. */
export function socketsOutput(text: string): SocketFlow[] {
  return text.split('\n').flatMap((line) => {
    const [, protocol = '', state = '', near = '', nearPort = '', far = '', farPort = ''] =
      SOCKET.exec(line) ?? [];
    const [source, destination] = [socketAddress(near), socketAddress(far)];
    if (source === undefined || destination === undefined || state === 'TIME-WAIT') return [];
    return [
      {
        protocol,
        source,
        destination,
        sourcePort: Number(nearPort),
        destinationPort: Number(farPort),
        filter: `( src ${near.replace(/%[^\]]*$/, '')}:${nearPort} and dst ${far.replace(/%[^\]]*$/, '')}:${farPort} )`,
      },
    ];
  });
}

/** Filters in one call; each call costs one walk over all sockets of the kernel. */
const SOCKETS_PER_CALL = 100;

async function listSockets(options: ToolOptions): Promise<SocketFlow[] | undefined> {
  const run = await runInside('ss', ['-H', '-n', '-t', '-u', '-O', 'state', 'connected'], options);
  return run?.status === 0 ? socketsOutput(run.stdout) : undefined;
}

async function endSockets(
  all: readonly SocketFlow[] | undefined,
  isProhibited: (flow: Flow) => boolean,
  options: ToolOptions,
): Promise<FlowsOfKind> {
  if (all === undefined) return { supported: false, ended: 0, left: 0 };
  const before = all.filter(isProhibited);
  for (let at = 0; at < before.length; at += SOCKETS_PER_CALL) {
    const filters = before.slice(at, at + SOCKETS_PER_CALL).map(({ filter }) => filter);
    await runInside('ss', ['-K', '-H', '-n', '-t', '-u', filters.join(' or ')], options);
  }
  const after = before.length === 0 ? [] : (await listSockets(options))?.filter(isProhibited);
  return counted(before, after ?? before, ({ filter }) => filter);
}

function counted<Item extends Flow>(
  before: readonly Item[],
  after: readonly Item[],
  nameOf: (item: Item) => string,
): FlowsOfKind {
  const names = new Set(after.map(nameOf));
  const left = before.filter((item) => names.has(nameOf(item))).length;
  return { supported: !(left > 0 && left === before.length), ended: before.length - left, left };
}

/** Flows from `conntrack -L -o extended`, by their original direction; lines that are none are passed over. */
export function trackedOutput(text: string): Flow[] {
  return text.split('\n').flatMap((line) => {
    const [, family, protocol = '', rest = ''] = /^(ipv4|ipv6)\s+\d+\s+(\S+)\s+\d+ (.*)$/.exec(line) ?? [];
    const value = (name: string): string | undefined => new RegExp(`(?:^| )${name}=(\\S+)`).exec(rest)?.[1];
    const [source, destination] = [value('src') ?? '', value('dst') ?? ''];
    if (family === undefined || isIP(source) === 0 || isIP(destination) === 0) return [];
    const [sport, dport] = [value('sport'), value('dport')];
    return [
      {
        protocol,
        source,
        destination,
        ...(sport === undefined ? {} : { sourcePort: Number(sport) }),
        ...(dport === undefined ? {} : { destinationPort: Number(dport) }),
      },
    ];
  });
}

function trackedLine({ protocol, source, destination, sourcePort, destinationPort }: Flow): string {
  const ports =
    sourcePort === undefined || destinationPort === undefined
      ? ''
      : ` --sport ${String(sourcePort)} --dport ${String(destinationPort)}`;
  const family = source.includes(':') ? 'ipv6' : 'ipv4';
  return `-D -f ${family} -p ${protocol} -s ${source} -d ${destination}${ports}`;
}

async function listTracked(options: ToolOptions): Promise<Flow[] | undefined> {
  const run = await runInside('conntrack', ['-L', '-o', 'extended'], options);
  return run?.status === 0 ? trackedOutput(run.stdout) : undefined;
}

async function endTracked(
  all: readonly Flow[] | undefined,
  isProhibited: (flow: Flow) => boolean,
  options: ToolOptions,
): Promise<FlowsOfKind> {
  if (all === undefined) return { supported: false, ended: 0, left: 0 };
  const before = all.filter(isProhibited);
  if (before.length === 0) return { supported: true, ended: 0, left: 0 };
  // conntrack opens its input by name and Node's pipes are sockets, which cannot be opened: hence a file.
  let directory: string | undefined;
  try {
    directory = await mkdtemp(join(tmpdir(), 'kedge-flows-'));
    const file = join(directory, 'flows');
    await writeFile(file, `${before.map(trackedLine).join('\n')}\n`);
    await runInside('conntrack', ['-R', file], options);
  } catch (error) {
    // A disk that is full or read-only is no reason to fail a transition: what is left is counted below.
    if (error instanceof KedgeError) throw error;
  } finally {
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  }
  return counted(before, (await listTracked(options))?.filter(isProhibited) ?? before, trackedLine);
}

const NONE: FlowsOfKind = { supported: true, ended: 0, left: 0 };

/**
 * Ends every established flow that the rules now prohibit: each whose end is neither the appliance itself nor
 * behind a route of the guard table (of either mode), exempt protocols apart. To be called when the rules stand;
 * does nothing where `desired` does not protect. Does not throw for what a system lacks: it says so.
 *
 * @throws KedgeError `ROUTES_TIMEOUT`, `ROUTES_OUTPUT`, `ROUTES_NAMESPACE`, and what the signal was aborted with.
 */
export async function endFlows(desired: RouteWorld, options: ToolOptions = {}): Promise<FlowsEnded> {
  if (!isProtected(desired)) return { sockets: NONE, tracked: NONE, remarks: [] };
  const [isProhibited, listed, trackedBefore] = await Promise.all([
    prohibitionOf(desired, options),
    listSockets(options),
    listTracked(options),
  ]);
  // Sockets first: one that still sends would make its entry anew.
  const sockets = await endSockets(listed, isProhibited, options);
  const some = sockets.ended + sockets.left > 0;
  const tracked = await endTracked(some ? await listTracked(options) : trackedBefore, isProhibited, options);
  const remarks = [
    ...(sockets.supported
      ? []
      : ['sockets towards what is prohibited cannot be ended here: ss -K ends none']),
    ...(sockets.supported && sockets.left > 0
      ? [`${String(sockets.left)} sockets towards what is prohibited are left`]
      : []),
    ...(tracked.supported
      ? []
      : ['connection tracking cannot be cleared here: conntrack is not installed or not in the kernel']),
    ...(tracked.supported && tracked.left > 0
      ? [`${String(tracked.left)} tracked flows towards what is prohibited are left`]
      : []),
  ];
  return { sockets, tracked, remarks };
}
