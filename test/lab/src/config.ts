/**
 * Everything a lab is configured with, as text: the warden's file and one JSON file per service.
 * It must not write anything; lab.ts and prepare.ts do.
 */
import { CUT_BINARY } from '@kedge/routes';
import { millisOf } from '@kedge/units';
import { wardenConfigText, type WardenService } from '@kedge/warden';

import { PLUGINS, PROGRAMS, QUARTERMASTER_FLAGS } from './paths.js';
import { ROUTE_MODES, ROUTE_NAMESPACES, type RouteMode } from './route-topology.js';
import type { LabSettings } from './settings.js';
import {
  ACCORDS,
  BOARD,
  BPF,
  CLASSES,
  DATAPLANE,
  DEVICES_SOCKET,
  ETC,
  FORWARDER_NAMESPACE,
  GID,
  INDICATORS,
  INTENT_SOCKET,
  ip4Of,
  ip6Of,
  LOG,
  NAMED,
  namespaceOf,
  OFFERED,
  portOf,
  RECEIVING_ZONES,
  SENDING_ZONES,
  SOCKETS,
  SOURCES,
  STATE,
  trafficSocket,
  UIDS,
  ZONES,
  type ZoneName,
} from './topology.js';

/** A lab begins at normal: there is nothing behind it to protect. */
const PROVISIONING_LEVEL = 5;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function trafficService(mode: 'send' | 'receive', zone: ZoneName, settings: LabSettings): WardenService {
  const flows =
    mode === 'send'
      ? CLASSES.filter(({ from }) => from === zone).flatMap(({ name, to, port }) =>
          [ip4Of(to), ip6Of(to)].flatMap((address) => [
            '--flow',
            `class=${name},to=${address},port=${port},rate=${settings.rates[name]}`,
          ]),
        )
      : CLASSES.filter(({ to }) => to === zone).flatMap(({ name, port }) => [
          '--listen',
          `class=${name},port=${port}`,
        ]);
  return {
    name: `traffic-${zone}`,
    exec: [PROGRAMS.traffic, mode, '--control', trafficSocket(zone), ...flows],
    netns: namespaceOf(zone),
    output: `${LOG}/traffic-${zone}.log`,
  };
}

/** One half of the conversations with names; the one that answers has ports below 1024. */
function namesService(role: 'answer' | 'ask', node: string): WardenService {
  const zone = role === 'answer' ? NAMED.to : NAMED.from;
  return {
    name: `names-${zone}`,
    exec: [node, PROGRAMS.names, role],
    environment: { PATH, NODE_ENV: 'production' },
    uid: UIDS.names,
    gid: GID,
    ...(role === 'answer' ? { capabilities: ['CAP_NET_BIND_SERVICE'] } : {}),
    netns: namespaceOf(zone),
    output: `${LOG}/names-${zone}.log`,
  };
}

function portWords(settings: LabSettings, name: ZoneName, id: number): string {
  const rate = settings.portRates[name];
  return `${portOf(name)}=${id}${rate === undefined ? '' : `,rate=${rate}`}`;
}

/** The words that start the forwarder of a lab. */
export function forwarderCommand(settings: LabSettings): readonly [string, ...string[]] {
  return [
    settings.forwarder ?? PROGRAMS.forwarder,
    ...['--board', BOARD, '--name', DATAPLANE],
    ...['--owner', `posture=${UIDS.coordinator}`],
    ...['--owner', 'warden=0'],
    ...['--owner', `tables=${UIDS.bridge}`],
    ...ZONES.flatMap(({ name, id }) => ['--port', portWords(settings, name, id)]),
    ...['--fifo', '20'],
  ];
}

const participantOf = (mode: RouteMode): string => `participant-${mode}`;
/** These beat there and take part in no transition. */
const LEDGER_SEGMENT = 'participant-quartermaster';
const INTENT_SEGMENT = 'participant-intent';
const BEATING_OWNERS = { [LEDGER_SEGMENT]: UIDS.quartermaster, [INTENT_SEGMENT]: UIDS.intent };
const PARTICIPANT_OWNERS = Object.fromEntries(ROUTE_MODES.map((mode) => [participantOf(mode), UIDS[mode]]));

/** What the warden runs when a path is late: a fixed program, no service and no shell. */
const cutCommand = (mode: RouteMode): readonly [string, ...string[]] => [
  CUT_BINARY,
  mode,
  `/run/netns/${ROUTE_NAMESPACES[mode]}`,
];

/** The warden's configuration; `node` is the Node program that runs the services. */
export function wardenFile(settings: LabSettings, node: string): string {
  const { budgets } = settings;
  const encoded = Buffer.from(JSON.stringify(settings)).toString('base64url');
  const environment = { PATH, NODE_ENV: 'production' };
  const command = (
    name: keyof NonNullable<LabSettings['commands']>,
    own: readonly [string, ...string[]],
  ): readonly [string, ...string[]] => {
    const [program, ...rest] = settings.commands?.[name] ?? own;
    return program === undefined ? own : [program, ...rest];
  };
  const service = (uid: number, name: string, segment: string): Omit<WardenService, 'exec'> => ({
    name,
    uid,
    gid: GID,
    ...(name in SOURCES ? { group: uid } : {}),
    capabilities: ['CAP_SYS_NICE', 'CAP_IPC_LOCK'],
    segment,
    startGrace: millisOf(budgets.startGraceMs),
    restartMin: millisOf(budgets.restartMinMs),
    restartMax: millisOf(budgets.restartMaxMs),
    output: `${LOG}/${name}.log`,
  });
  return wardenConfigText({
    board: BOARD,
    budgets: {
      dataplane: millisOf(budgets.dataplaneMs),
      overlay: millisOf(budgets.overlayMs),
      underlay: millisOf(budgets.underlayMs),
    },
    silenceKill: millisOf(budgets.silenceKillMs),
    beatStale: millisOf(budgets.beatStaleMs),
    ...(settings.cpuLatencyMs === undefined ? {} : { cpuLatency: millisOf(settings.cpuLatencyMs) }),
    dataplanes: [`dataplane-${DATAPLANE}`],
    owners: {
      posture: UIDS.coordinator,
      tables: UIDS.bridge,
      [`dataplane-${DATAPLANE}`]: UIDS.dataplane,
      ...PARTICIPANT_OWNERS,
      ...BEATING_OWNERS,
    },
    participants: { overlay: [participantOf('overlay')], underlay: [participantOf('underlay')] },
    failClosed: { overlay: cutCommand('overlay'), underlay: cutCommand('underlay') },
    oneshots: [
      { name: 'prepare', exec: [node, PROGRAMS.prepare, encoded], environment: { PATH } },
      {
        name: 'boot',
        exec: [
          PROGRAMS.boot,
          ...['--board', BOARD],
          ...['--state', `${STATE}/posture-coordinator`],
          ...['--provisioning-level', String(PROVISIONING_LEVEL)],
        ],
        uid: UIDS.coordinator,
        gid: GID,
        output: `${LOG}/kedge-boot.log`,
      },
    ],
    services: [
      {
        ...service(UIDS.bridge, 'vpp-bridge', 'tables'),
        exec: command('vpp-bridge', [node, PROGRAMS.bridge, '--config', `${ETC}/vpp-bridge.json`]),
        environment,
      },
      {
        ...service(UIDS.coordinator, 'posture-coordinator', 'posture'),
        exec: command('posture-coordinator', [
          node,
          PROGRAMS.coordinator,
          '--config',
          `${ETC}/posture-coordinator.json`,
        ]),
        environment,
      },
      {
        ...service(UIDS.dataplane, 'forwarder', `dataplane-${DATAPLANE}`),
        exec: command('forwarder', forwarderCommand(settings)),
        capabilities: ['CAP_NET_RAW', 'CAP_SYS_NICE', 'CAP_IPC_LOCK'],
        netns: FORWARDER_NAMESPACE,
      },
      ...ROUTE_MODES.map((mode): WardenService => ({
        ...service(UIDS[mode], mode, participantOf(mode)),
        exec: command(mode, [node, PROGRAMS[mode], '--config', `${ETC}/${mode}.json`]),
        capabilities: ['CAP_NET_ADMIN', 'CAP_SYS_NICE', 'CAP_IPC_LOCK'],
        netns: ROUTE_NAMESPACES[mode],
        environment,
      })),
      {
        ...service(UIDS.quartermaster, 'quartermaster', LEDGER_SEGMENT),
        exec: command('quartermaster', [
          node,
          ...QUARTERMASTER_FLAGS,
          PROGRAMS.quartermaster,
          '--config',
          `${ETC}/quartermaster.json`,
        ]),
        // It competes with nobody for a processor.
        capabilities: [],
        environment,
      },
      {
        ...service(UIDS.intent, 'intent', INTENT_SEGMENT),
        exec: command('intent', [node, PROGRAMS.intent, '--config', `${ETC}/intent.json`]),
        capabilities: [],
        environment,
      },
      ...RECEIVING_ZONES.map((zone) => trafficService('receive', zone, settings)),
      ...SENDING_ZONES.map((zone) => trafficService('send', zone, settings)),
      namesService('answer', node),
      namesService('ask', node),
    ],
  });
}

/** The accords in force, by the pointer that a service follows. */
const inForce = (pointer: 'tables' | 'paths'): { readonly accords: string; readonly zones: string } => ({
  accords: `${ACCORDS}/${pointer}/accords.json`,
  zones: `${ACCORDS}/${pointer}/zones.json`,
});

/** Every service of the lab tells what it counts, and what it did in each transition. */
const counted = (
  name: string,
): { readonly metrics: { readonly socket: string }; readonly traces: { readonly file: string } } => ({
  metrics: { socket: `${SOCKETS}/metrics/${name}.sock` },
  traces: { file: `${STATE}/${name}/spans.jsonl` },
});

/** Where a service delivers its records. */
const intake = (name: keyof typeof SOURCES): { readonly ledger: string } => ({
  ledger: `${SOCKETS}/sources/${name}/ledger.sock`,
});

/** Configuration files of the services by name, as they stand in the lab's `etc`. */
export function serviceFiles(settings: LabSettings): Readonly<Record<string, string>> {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const appliance = settings.name;
  const owners = { warden: 0, [`dataplane-${DATAPLANE}`]: UIDS.dataplane };
  return {
    'posture-coordinator.json': json({
      appliance,
      board: {
        directory: BOARD,
        owners: { ...owners, ...PARTICIPANT_OWNERS, ...BEATING_OWNERS, tables: UIDS.bridge },
      },
      sockets: SOCKETS,
      ...counted('posture-coordinator'),
      ...intake('posture-coordinator'),
      state: `${STATE}/posture-coordinator`,
      ...OFFERED,
      accordsInForce: ACCORDS,
      intentSocket: INTENT_SOCKET,
      provisioningLevel: PROVISIONING_LEVEL,
      bpf: { level: `${BPF}/posture_level`, inForce: `${BPF}/posture_in_force` },
      plugins: {
        confine: PROGRAMS.confine,
        runner: PROGRAMS.pluginRunner,
        readable: PLUGINS.readable,
        sources: [
          { folder: PLUGINS.indicatorFile, granted: ['posture.tighten'], files: { indicators: INDICATORS } },
        ],
      },
      budgetsMs: {
        dataplane: settings.budgets.dataplaneMs,
        overlay: settings.budgets.overlayMs,
        underlay: settings.budgets.underlayMs,
      },
    }),
    'vpp-bridge.json': json({
      appliance,
      board: BOARD,
      sockets: SOCKETS,
      ...counted('vpp-bridge'),
      ...intake('vpp-bridge'),
      ...inForce('tables'),
      spool: `${STATE}/vpp-bridge/records`,
      owners: { ...owners, posture: UIDS.coordinator },
    }),
    'quartermaster.json': json({
      appliance,
      board: { directory: BOARD, owners: { posture: UIDS.coordinator, warden: 0 } },
      sockets: SOCKETS,
      metrics: counted('quartermaster').metrics,
      directory: `${STATE}/quartermaster/ledger`,
      origin: `kedge.example/${appliance}`,
      key: `${STATE}/quartermaster/ledger.key`,
      sources: Object.keys(SOURCES),
    }),
    'intent.json': json({
      appliance,
      board: { directory: BOARD, owners: { posture: UIDS.coordinator, warden: 0 } },
      sockets: SOCKETS,
      metrics: counted('intent').metrics,
      ...intake('intent'),
      state: `${STATE}/intent`,
      accords: { socket: INTENT_SOCKET, inForce: ACCORDS },
      devices: { socket: DEVICES_SOCKET },
    }),
    ...Object.fromEntries(
      ROUTE_MODES.map((mode) => [
        `${mode}.json`,
        json({
          appliance,
          board: { directory: BOARD, owners: { ...owners, posture: UIDS.coordinator } },
          sockets: SOCKETS,
          ...counted(mode),
          ...intake(mode),
          state: `${STATE}/${mode}`,
          ...inForce('paths'),
          budgetMs: settings.budgets[mode === 'overlay' ? 'overlayMs' : 'underlayMs'],
          ...(mode === 'underlay' ? { devicesSocket: DEVICES_SOCKET } : {}),
          reconcileMs: 3_000,
        }),
      ]),
    ),
  };
}
