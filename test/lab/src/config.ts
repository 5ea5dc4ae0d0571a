/**
 * Everything a lab is configured with, as text: the warden's file and one JSON file per service.
 * It must not write anything; lab.ts and prepare.ts do.
 */
import { FILES, PROGRAMS } from './paths.js';
import type { LabSettings } from './settings.js';
import {
  BOARD,
  CLASSES,
  DATAPLANE,
  ETC,
  FORWARDER_NAMESPACE,
  GID,
  ip4Of,
  ip6Of,
  LOG,
  namespaceOf,
  portOf,
  RECEIVING_ZONES,
  SENDING_ZONES,
  SOCKETS,
  STATE,
  trafficSocket,
  UIDS,
  ZONES,
  type ZoneName,
} from './topology.js';

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

type Lines = readonly (readonly [key: string, value: string])[];

function section(head: string, lines: Lines): string {
  return `${head}\n${lines.map(([key, value]) => `${key} = ${value}\n`).join('')}`;
}

function words(...list: readonly string[]): string {
  return list
    .map((word) => (/^[^\s"#\\]+$/.test(word) ? word : `"${word.replace(/(["\\])/g, '\\$1')}"`))
    .join(' ');
}

function trafficSection(mode: 'send' | 'receive', zone: ZoneName, settings: LabSettings): string {
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
  return section(`[service traffic-${zone}]`, [
    ['exec', words(PROGRAMS.traffic, mode, '--control', trafficSocket(zone), ...flows)],
    ['netns', namespaceOf(zone)],
    ['output', `${LOG}/traffic-${zone}.log`],
  ]);
}

/** The words that start the forwarder of a lab. */
export function forwarderCommand(settings: LabSettings): readonly string[] {
  return [
    settings.forwarder ?? PROGRAMS.forwarder,
    ...['--board', BOARD, '--name', DATAPLANE],
    ...['--owner', `posture=${UIDS.coordinator}`],
    ...['--owner', 'warden=0'],
    ...['--owner', `tables=${UIDS.bridge}`],
    ...ZONES.flatMap(({ name, id }) => ['--port', `${portOf(name)}=${id}`]),
    ...['--fifo', '20'],
  ];
}

/** The warden's configuration; `node` is the Node program that runs the services. */
export function wardenFile(settings: LabSettings, node: string): string {
  const { budgets } = settings;
  const encoded = Buffer.from(JSON.stringify(settings)).toString('base64url');
  const service = (uid: number, name: string, segment: string): Lines => [
    ['uid', String(uid)],
    ['gid', String(GID)],
    ['capabilities', 'CAP_SYS_NICE CAP_IPC_LOCK'],
    ['segment', segment],
    ['start-grace', `${budgets.startGraceMs}ms`],
    ['restart.min', `${budgets.restartMinMs}ms`],
    ['restart.max', `${budgets.restartMaxMs}ms`],
    ['output', `${LOG}/${name}.log`],
  ];
  return [
    section('# The warden of a lab. Made when the lab starts; changes are lost.', [
      ['board', BOARD],
      ['budget.dataplane', `${budgets.dataplaneMs}ms`],
      ['budget.overlay', `${budgets.overlayMs}ms`],
      ['budget.underlay', `${budgets.underlayMs}ms`],
      ['silence-kill', `${budgets.silenceKillMs}ms`],
      ['beat.stale', `${budgets.beatStaleMs}ms`],
      ['dataplanes', `dataplane-${DATAPLANE}`],
      ['owner.posture', String(UIDS.coordinator)],
      ['owner.tables', String(UIDS.bridge)],
      [`owner.dataplane-${DATAPLANE}`, String(UIDS.dataplane)],
    ]),
    section('[oneshot prepare]', [
      ['exec', words(node, PROGRAMS.prepare, encoded)],
      ['environment', words(PATH)],
    ]),
    section('[service vpp-bridge]', [
      [
        'exec',
        words(
          ...(settings.commands?.['vpp-bridge'] ?? [
            node,
            PROGRAMS.bridge,
            '--config',
            `${ETC}/vpp-bridge.json`,
          ]),
        ),
      ],
      ['environment', words(PATH, 'NODE_ENV=production')],
      ...service(UIDS.bridge, 'vpp-bridge', 'tables'),
    ]),
    section('[service posture-coordinator]', [
      [
        'exec',
        words(
          ...(settings.commands?.['posture-coordinator'] ?? [
            node,
            PROGRAMS.coordinator,
            '--config',
            `${ETC}/posture-coordinator.json`,
          ]),
        ),
      ],
      ['environment', words(PATH, 'NODE_ENV=production')],
      ...service(UIDS.coordinator, 'posture-coordinator', 'posture'),
    ]),
    section('[service forwarder]', [
      ['exec', words(...(settings.commands?.forwarder ?? forwarderCommand(settings)))],
      ...service(UIDS.dataplane, 'forwarder', `dataplane-${DATAPLANE}`).filter(
        ([key]) => key !== 'capabilities',
      ),
      ['capabilities', 'CAP_NET_RAW CAP_SYS_NICE CAP_IPC_LOCK'],
      ['netns', FORWARDER_NAMESPACE],
    ]),
    ...RECEIVING_ZONES.map((zone) => trafficSection('receive', zone, settings)),
    ...SENDING_ZONES.map((zone) => trafficSection('send', zone, settings)),
  ].join('\n');
}

/** Configuration files of the services by name, as they stand in the lab's `etc`. */
export function serviceFiles(settings: LabSettings): Readonly<Record<string, string>> {
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  const appliance = settings.name;
  const owners = { warden: 0, [`dataplane-${DATAPLANE}`]: UIDS.dataplane };
  return {
    'posture-coordinator.json': json({
      appliance,
      board: { directory: BOARD, owners: { ...owners, tables: UIDS.bridge } },
      sockets: SOCKETS,
      state: `${STATE}/posture-coordinator`,
      accords: FILES.accords,
      zones: FILES.zones,
      provisioningLevel: 5,
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
      accords: FILES.accords,
      zones: FILES.zones,
      spool: `${STATE}/vpp-bridge/records`,
      owners: { ...owners, posture: UIDS.coordinator },
    }),
  };
}
