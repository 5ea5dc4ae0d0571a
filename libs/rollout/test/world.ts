/**
 * A device in memory, the storage of its memory, a ledger and a clock: what the machine of one device lives in, with
 * whatever can go wrong at any moment.
 * Must not decide anything that the machine decides.
 */
import { createHash } from 'node:crypto';

import type { Holder } from '@kedge/datastores';
import { carryOut } from '@kedge/driver-host';
import {
  type AnyDriver,
  type Change,
  type DeviceObject,
  type DeviceObjects,
  type Driver,
  objectsAfter,
  objectsOf,
  type Reading,
  treeOf,
} from '@kedge/driver-kit';
import type { accordsTree, deviceTree, siteTree } from '@kedge/intent-model';
import { type Epoch, type Level, nanosOf } from '@kedge/units';

import {
  type Asked,
  begun,
  type DevicePosture,
  type DriftChange,
  type Effect,
  type Intended,
  intendedOf,
  inventoryOf,
  judgementOf,
  memoryText,
  parsedMemory,
  type Result,
  type RolloutEvent,
  type RolloutState,
  step,
  supersededBy,
} from '../src/index.js';

export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
export const ADA: Holder = { principal: 'user:ada', tier: 'master', channel: 'local' };
export const PORTS = ['port1', 'port2', 'port3'];
/** Noon of a day. */
export const NOON = Date.parse('2026-11-30T12:00:00Z');

/** A back end for devices that hold and show everything, and bear no marks. */
export const memoryDriver: Driver<string, Reading, Change> = {
  manifest: {
    ...{ name: 'memory', version: 1, access: 'local', marks: false },
    capabilities: [
      'kedge-inventory:addressing',
      'kedge-inventory:bridging',
      'kedge-inventory:port-state',
      'kedge-inventory:static-routing',
      'kedge-inventory:tunnelling',
    ],
  },
  questions: () => ['all'],
  lift: ([answer]) => answer ?? { tree: {}, own: [] },
  shape: (object) => ({ as: 'held', object }),
  encode: (change) => [change],
};
const DRIVERS: readonly AnyDriver[] = [memoryDriver];

/** A site with one device. */
export function siteWith(more: Partial<siteTree.Device> = {}, drift?: siteTree.Drift): siteTree.SiteTree {
  return {
    'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
    'kedge-inventory:devices': {
      device: [
        {
          ...{ id: 'box', driver: 'memory', capability: memoryDriver.manifest.capabilities },
          management: { local: [null] },
          interface: PORTS.map((name) => ({ name, type: 'iana-if-type:ethernetCsmacd' as const })),
          ...more,
        },
      ],
    },
    'kedge-site:site': { name: 'lisbon', appliance: ['box'] },
    ...(drift === undefined ? {} : { 'kedge-drift:drift': drift }),
  };
}

/** What an accord says at a level; everything is remedied where the gate lets it. */
export function underlayAt(level: Level, remediation: 'automatic' | 'proposed' | 'none' = 'automatic') {
  const modes = { 5: 'open', 4: 'open', 3: 'tiers', 2: 'emergency-only', 1: 'frozen' } as const;
  const remedy = (['info', 'minor', 'major', 'critical'] as const).map((severity) => ({
    severity,
    remediation,
  }));
  return {
    gate: { mode: modes[level], ...(level === 3 ? { 'execute-tier': 'master' as const } : {}) },
    drift: { interval: level >= 5 ? 300 : 60, ...(level >= 3 ? { remedy } : {}) },
  } satisfies accordsTree.AccordsLevelUnderlay;
}

type Outstanding = Extract<Effect, { do: 'read' | 'judge' | 'carryOut' | 'tell' }>;
/** What happens to an effect that is carried out. `lost`: it is done, and the answer is lost. */
export type Fate = 'well' | 'fails' | 'lost' | 'half' | 'never';

const NEVER = new AbortController().signal;

/** One device and all around it. */
export class World {
  objects: DeviceObjects = objectsOf({
    'ietf-interfaces:interfaces': {
      interface: PORTS.map((name) => ({ name, type: 'iana-if-type:ethernetCsmacd', enabled: false })),
    },
  });
  state: RolloutState;
  kept: string | undefined;
  readonly outstanding: Outstanding[] = [];
  readonly told: DriftChange[] = [];
  readonly works: Extract<Effect, { do: 'carryOut' }>[] = [];
  readonly answers = new Map<string, Extract<Effect, { do: 'answer' }>['reply']>();
  readonly alarms: string[] = [];
  readonly effects: Effect['do'][] = [];
  reads = 0;
  writes = 0;
  ns = 1_000_000_000n;
  wallMs = NOON;
  level: Level = 5;
  epoch = 1n;
  remediation: 'automatic' | 'proposed' | 'none' = 'automatic';
  revision = 0;
  intended: Intended | undefined;
  site: siteTree.SiteTree;
  /** What the gate at the device does: refuses with this code. */
  refusal: string | undefined;

  constructor(site = siteWith()) {
    this.site = site;
    this.state = begun('box', undefined, this.at());
    this.move(5);
  }

  at() {
    return { ns: nanosOf(this.ns), wallMs: this.wallMs };
  }

  get reading(): Reading {
    return { tree: treeOf(this.objects.values()), own: [] };
  }

  feed(event: RolloutEvent): void {
    const { state, effects } = step(this.state, event, { sha256 });
    this.state = state;
    for (const [place, effect] of effects.entries()) {
      this.effects.push(effect.do);
      switch (effect.do) {
        case 'keep':
          if (place !== 0) throw new Error('memory is not the first effect');
          this.kept = memoryText(effect.memory, sha256);
          break;
        case 'carryOut':
          if (state.posture.level <= 2) throw new Error('a plan at level 2 or 1');
          if (this.outstanding.some((each) => each.do === 'carryOut')) throw new Error('two plans at once');
          // What is being done has to be durable before.
          if (this.kept === undefined || parsedMemory(this.kept, 'box', sha256).attempt?.id !== effect.id)
            throw new Error('a plan that was not written down ahead');
          this.works.push(effect);
          this.outstanding.push(effect);
          break;
        case 'read':
        case 'judge':
        case 'tell':
          this.outstanding.push(effect);
          break;
        case 'answer':
          if (this.answers.has(effect.id)) throw new Error(`${effect.id} was answered twice`);
          this.answers.set(effect.id, effect.reply);
          break;
        case 'alarm':
          this.alarms.push(effect.kind);
          break;
        case 'wake':
          break;
      }
    }
  }

  /** Puts a revision in force. */
  intend(tree: deviceTree.DeviceTree, by: Holder | null = ADA): void {
    this.revision += 1;
    const device = inventoryOf(this.site).get('box');
    if (device === undefined) throw new Error('no device');
    const revision = { number: this.revision, by, isRecalled: false };
    this.intended = intendedOf({ devices: new Map([['box', tree]]) }, this.site, device, revision, sha256);
    this.feed({ kind: 'intended', at: this.at(), intended: this.intended });
  }

  get posture(): DevicePosture {
    return {
      level: this.level,
      epoch: this.epoch as Epoch,
      underlay: underlayAt(this.level, this.remediation),
    };
  }

  move(level: Level): void {
    this.level = level;
    this.epoch += 1n;
    this.feed({ kind: 'posture', at: this.at(), posture: this.posture });
  }

  ask(asked: Asked): void {
    this.feed({ kind: 'asked', at: this.at(), asked });
  }

  /** Seconds pass. */
  pass(seconds: number): void {
    this.ns += BigInt(Math.round(seconds * 1e9));
    this.wallMs += seconds * 1000;
    this.feed({ kind: 'tick', at: this.at() });
  }

  /** The process ends, whatever it was doing, and begins again. What was being written may have been or not. */
  async restart(isDone: boolean): Promise<void> {
    const running = this.outstanding.find((each) => each.do === 'carryOut');
    if (running !== undefined && isDone) await this.#carry(running, 'well');
    this.outstanding.length = 0;
    const memory = this.kept === undefined ? undefined : parsedMemory(this.kept, 'box', sha256);
    this.state = begun('box', memory, this.at());
    this.feed({ kind: 'posture', at: this.at(), posture: this.posture });
    if (this.intended !== undefined) this.feed({ kind: 'intended', at: this.at(), intended: this.intended });
  }

  /** Carries the oldest effect out; false where there is none. */
  async run(fate: Fate = 'well'): Promise<boolean> {
    const effect = this.outstanding.shift();
    if (effect === undefined) return false;
    const at = this.at();
    const failure = { code: 'BUS_DEADLINE', message: 'no answer' };
    switch (effect.do) {
      case 'read':
        this.reads += 1;
        this.feed(
          fate === 'well'
            ? { kind: 'read', at, number: effect.number, reading: this.reading }
            : { kind: 'unread', at, number: effect.number, failure },
        );
        break;
      case 'judge': {
        const judgement = judgementOf(effect.question, { drivers: DRIVERS, sha256 });
        this.feed({ kind: 'judged', at, number: effect.number, judgement });
        break;
      }
      case 'carryOut': {
        // Still under way while its end is awaited.
        this.outstanding.unshift(effect);
        const result = await this.#carry(effect, fate);
        this.outstanding.shift();
        this.feed({ kind: 'carried', at: this.at(), number: effect.number, result });
        break;
      }
      case 'tell':
        if (fate === 'well' || fate === 'lost') this.told.push(...effect.changes);
        if (fate !== 'never') this.feed({ kind: 'told', at, isDurable: fate === 'well' });
        else this.feed({ kind: 'told', at, isDurable: false });
        break;
    }
    return true;
  }

  /** Carries out all that is to be done, without time passing. */
  async settle(): Promise<void> {
    for (let turn = 0; await this.run(); turn += 1)
      if (turn > 200) throw new Error('it does not come to rest');
  }

  async #carry({ plan, device }: Extract<Effect, { do: 'carryOut' }>, fate: Fate): Promise<Result> {
    const failure = { code: 'BUS_DEADLINE', message: 'no answer' };
    const superseded = supersededBy(this.state, []);
    if (superseded !== undefined) return { end: 'refused', failure: superseded };
    const mode = this.posture.underlay.gate.mode;
    if (mode === 'frozen' || mode === 'emergency-only')
      return { end: 'refused', failure: { code: 'GATE_FROZEN', message: 'nothing is written' } };
    if (this.refusal !== undefined)
      return { end: 'refused', failure: { code: this.refusal, message: 'it was not let through' } };
    if (plan.epoch !== this.epoch)
      return { end: 'refused', failure: { code: 'GATE_SHUT', message: 'the posture changed' } };
    if (fate === 'never') return { end: 'unknown', failure };
    let hasFailed = false;
    const target = {
      ...{ driver: memoryDriver, device, sha256 },
      carrier: {
        ask: () => Promise.resolve([this.reading]),
        write: (commands: readonly Change[]) => {
          const some = fate === 'half' ? commands.slice(0, Math.floor(commands.length / 2)) : commands;
          if (fate === 'fails' && !hasFailed) {
            hasFailed = true;
            return Promise.resolve({ done: 0, failure: { code: 'DRIVER_REFUSED', message: 'no' } });
          }
          this.writes += 1;
          for (const change of some) this.objects = normal(objectsAfter(this.objects, change));
          if (fate === 'half')
            return Promise.resolve({ done: some.length, failure: { code: 'DRIVER_REFUSED', message: 'no' } });
          return Promise.resolve({ done: commands.length });
        },
      },
    };
    // `half`: the way to the device ends for good in the middle, also for the rollback.
    const { applied, rolledBack, remaining, reading } = await carryOut(target, plan, { signal: NEVER });
    if (fate === 'lost') return { end: 'unknown', failure };
    return {
      ...{ end: 'known', outcome: applied.outcome, remaining },
      ...(applied.failure === undefined ? {} : { failure: applied.failure }),
      ...(rolledBack === undefined ? {} : { rolledBack }),
      ...(reading === undefined ? {} : { reading }),
    };
  }

  /** Somebody else changes something. */
  meddle(pick: number): void {
    const all = [...this.objects.values()].filter(
      ({ kind }) => kind !== 'interface' && kind !== 'bridge-port' && kind !== 'enabled',
    );
    const one = all[pick % Math.max(1, all.length)];
    if (one !== undefined) this.objects = objectsAfter(this.objects, { before: one, after: undefined });
  }
}

/** What belongs to an interface goes with it, as on a device. */
function normal(objects: DeviceObjects): DeviceObjects {
  const names = new Set(
    [...objects.values()].flatMap((each) => (each.kind === 'interface' ? [each.value.name] : [])),
  );
  return new Map(
    [...objects].filter(
      ([, { interface: name }]: [string, DeviceObject]) => name === undefined || names.has(name),
    ),
  );
}
