/**
 * Runs once inside the lab's own namespaces, as root, before any service: directories, configuration files,
 * network. Given the lab's settings as one argument.
 * It must not be run outside of a private mount and network namespace, and refuses to.
 */
import { preparePostureMaps } from '@kedge/bpf-posture';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

import { serviceFiles } from './config.js';
import { forwarderPlan, type NamespacePlan, OFFLOADS, routePlans, wiring, zonePlans } from './network.js';
import { FILES } from './paths.js';
import type { LabSettings } from './settings.js';
import {
  ACCORDS,
  BOARD,
  BPF,
  DEVICES_SOCKET,
  ETC,
  GID,
  IDENTITY,
  INDICATORS,
  INTENT_SOCKET,
  LOG,
  NAMED,
  OFFERED,
  RUN,
  SOCKET_DIRECTORIES,
  SOCKETS,
  SOURCES,
  STATE,
  TRAFFIC,
  UIDS,
} from './topology.js';

function directory(path: string, mode: number, uid = 0, gid = 0): void {
  mkdirSync(path, { recursive: true });
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

function directories(): void {
  directory(RUN, 0o755);
  directory(BOARD, 0o1775, 0, GID);
  directory(SOCKETS, 0o755);
  directory(`${SOCKETS}/local`, 0o755);
  for (const name of SOCKET_DIRECTORIES) {
    directory(`${SOCKETS}/${name}`, 0o750, UIDS.coordinator, GID);
    // Below the directory that proves channel and tier: who cannot pass that one cannot come here.
    directory(`${SOCKETS}/${name}/underlay`, 0o750, UIDS.underlay, GID);
    directory(`${SOCKETS}/${name}/ledger`, 0o750, UIDS.quartermaster, GID);
    directory(`${SOCKETS}/${name}/intent`, 0o750, UIDS.intent, GID);
  }
  // Every service serves here; sticky, so that none takes another's name away.
  directory(`${SOCKETS}/internal`, 0o1770, 0, GID);
  // Nobody delivers records as somebody else.
  directory(`${SOCKETS}/sources`, 0o755);
  for (const [name, group] of Object.entries(SOURCES))
    directory(`${SOCKETS}/sources/${name}`, 0o750, UIDS.quartermaster, group);
  directory(dirname(INTENT_SOCKET), 0o750, UIDS.coordinator, UIDS.intent);
  directory(dirname(DEVICES_SOCKET), 0o750, UIDS.underlay, UIDS.intent);
  // Who may scrape may do nothing else, so metrics have a directory of their own.
  directory(`${SOCKETS}/metrics`, 0o1770, 0, GID);
  directory(STATE, 0o755);
  directory(`${STATE}/posture-coordinator`, 0o700, UIDS.coordinator, GID);
  directory(`${STATE}/vpp-bridge`, 0o700, UIDS.bridge, GID);
  directory(`${STATE}/overlay`, 0o700, UIDS.overlay, GID);
  directory(`${STATE}/underlay`, 0o700, UIDS.underlay, GID);
  directory(`${STATE}/quartermaster`, 0o700, UIDS.quartermaster, GID);
  directory(`${STATE}/intent`, 0o700, UIDS.intent, GID);
  directory(ACCORDS, 0o755, UIDS.coordinator, GID);
  directory(LOG, 0o755);
  directory(ETC, 0o755);
  directory(TRAFFIC, 0o755);
  directory(IDENTITY.directory, 0o755);
}

/** Who the hosts with names are: a certificate that signs itself and ends with the lab. */
function certificate(): void {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365'],
      ...['-subj', '/CN=hosts of the lab'],
      ...['-addext', `subjectAltName=${NAMED.hosts.map((host) => `DNS:${host}`).join(',')}`],
      ...['-keyout', IDENTITY.key, '-out', IDENTITY.certificate],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  chmodSync(IDENTITY.certificate, 0o644);
  chmodSync(IDENTITY.key, 0o400);
  chownSync(IDENTITY.key, UIDS.names, GID);
}

/** What the sources of posture requests need; without BPF in the kernel the lab does without, and says so. */
function sources(): void {
  directory(dirname(INDICATORS), 0o755);
  writeFileSync(INDICATORS, '', { flag: 'a', mode: 0o644 });
  try {
    preparePostureMaps({ directory: BPF, uid: UIDS.coordinator, gid: GID });
  } catch (error) {
    process.stderr.write(`prepare: no BPF maps: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function files(settings: LabSettings): void {
  for (const [name, content] of Object.entries(serviceFiles(settings))) {
    writeFileSync(`${ETC}/${name}`, content, { mode: 0o644 });
  }
  for (const name of ['accords', 'zones'] as const) {
    copyFileSync(FILES[name], OFFERED[name]);
    chmodSync(OFFERED[name], 0o644);
  }
}

function ip(args: readonly string[], batch: readonly string[]): void {
  execFileSync('ip', [...args, '-batch', '-'], {
    input: `${batch.join('\n')}\n`,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

/** Everything that a namespace needs beside `ip` goes through one shell in it; nothing in it comes from outside. */
function lay({ namespace, settings, batch, plain }: NamespacePlan): void {
  const script = [
    'set -e',
    ...settings.map(([path, value]) => `echo ${value} > /proc/sys/net/${path}`),
    ...plain.map(
      (port) =>
        `ethtool -K ${port} ${OFFLOADS.map((offload) => `${offload} off`).join(' ')} > /dev/null 2>&1 || ethtool -K ${port} tx off`,
    ),
  ].join('\n');
  execFileSync('ip', ['netns', 'exec', namespace, 'sh', '-c', script], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  ip(['-n', namespace], batch);
}

function isPrivate(): boolean {
  // Nobody but the lab's init is process 1 of a namespace in which this could run by mistake.
  try {
    return readlinkSync('/proc/1/exe').endsWith('/kedge-warden');
  } catch {
    return false;
  }
}

function main(): void {
  const [encoded] = process.argv.slice(2);
  if (encoded === undefined || !isPrivate()) {
    throw new Error('the network is prepared by the init of a lab only');
  }
  const settings = JSON.parse(Buffer.from(encoded, 'base64url').toString()) as LabSettings;
  directories();
  sources();
  files(settings);
  certificate();
  ip([], wiring());
  for (const plan of [forwarderPlan(), ...zonePlans(), ...routePlans()]) lay(plan);
}

main();
