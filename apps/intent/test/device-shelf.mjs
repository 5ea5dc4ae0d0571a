/**
 * Three devices in memory, for tests alone: values at paths, what is intended there and what is there. A check finds
 * what stands on the shelf, a remedy puts it right; at the levels 2 and 1 no plan is made and nothing is remedied.
 * It must not be taken for devices, nor reach any.
 */
import { readFileSync } from 'node:fs';

const INTERFACE = '/ietf-interfaces:interfaces/interface';
const REMEDIES = { major: 'automatic', minor: 'proposed', info: 'none' };

export class DeviceShelf {
  #file;
  #seen = new Map();

  /** @param file JSON: `level`, and `devices` by id with `driver`, `why`, `answers`, `intended`, `candidate`, `actual`. */
  constructor(file) {
    this.#file = file;
    for (const id of Object.keys(this.#shelf.devices)) this.#seen.set(id, undefined);
  }

  get #shelf() {
    return JSON.parse(readFileSync(this.#file, 'utf8'));
  }

  devices() {
    return Object.keys(this.#shelf.devices)
      .sort()
      .map((id) => this.#view(id));
  }

  drifts(device) {
    const ids = [...this.#seen.keys()].sort().filter((id) => device === undefined || id === device);
    return ids.flatMap((id) => this.#seen.get(id)?.drifts ?? []);
  }

  async plan(device, source) {
    if (this.#shelf.level <= 2) return frozen();
    const { intended, candidate, actual } = this.#shelf.devices[device];
    const aim = source === 'candidate' ? candidate : intended;
    const steps = Object.keys({ ...aim, ...actual })
      .filter((place) => aim[place] !== actual[place])
      .map((place) => stepFor(place, actual[place] ?? null, aim[place] ?? null));
    const plan = {
      id: `plan-${device}`,
      epoch: 7n,
      target: `device/${device}`,
      base: 'ab'.repeat(32),
      steps,
    };
    const dormant = [{ path: `${INTERFACE}[name='vlan20']`, why: 'the bridge below it is off' }];
    return { plan: steps.length === 0 ? undefined : plan, dormant: source === 'candidate' ? dormant : [] };
  }

  async remedy(device, path, by) {
    if (this.#shelf.level <= 2) return frozen();
    await this.check(device);
    const seen = this.#seen.get(device);
    const isMeant = (drift) =>
      drift.remediation !== 'none' && (path === undefined || drift.path === path) && by.principal !== '';
    const remedied = seen.drifts.filter(isMeant).length;
    seen.drifts = seen.drifts.filter((drift) => !isMeant(drift));
    return { remedied, view: this.#view(device) };
  }

  async check(device) {
    const ids = Object.keys(this.#shelf.devices).filter((id) => device === undefined || id === device);
    for (const id of ids) {
      const { answers = true, intended, actual, severities = {} } = this.#shelf.devices[id];
      if (!answers) continue;
      const drifts = Object.keys({ ...intended, ...actual })
        .sort()
        .filter((place) => intended[place] !== actual[place])
        .map((place) => {
          const severity = severities[place] ?? 'minor';
          const tolerated = severity === 'info' ? { exception: 'old-cabling' } : {};
          return {
            ...{ device: id, path: place, intended: intended[place] ?? null, actual: actual[place] ?? null },
            ...{ sinceMs: 1_790_000_000_000, seenMs: 1_790_000_060_000.5, severity },
            ...{ cause: 'unmanaged-change', remediation: REMEDIES[severity], ...tolerated },
          };
        });
      this.#seen.set(id, { drifts });
    }
    return ids.sort().map((id) => this.#view(id));
  }

  #view(id) {
    const { driver, answers = true, refusals = [] } = this.#shelf.devices[id];
    const seen = this.#seen.get(id);
    const drifts = seen?.drifts.length ?? 0;
    const [state, why] = !answers
      ? ['unreachable', 'it does not answer: DRIVER_READ']
      : refusals.length > 0
        ? ['refused', refusals[0].message]
        : seen === undefined
          ? ['new', '']
          : [drifts === 0 ? 'accorded' : 'drifted', ''];
    return {
      ...{
        device: id,
        driver,
        state,
        why,
        revision: seen === undefined ? 0 : 2,
        drifts,
        refusals,
        dormant: [],
      },
      readAtMs: seen === undefined ? undefined : 1_790_000_060_000,
      nextAtMs: seen === undefined ? undefined : 1_790_000_120_000,
    };
  }
}

const NODE = /([^/]+:[^/]+)$/;

function stepFor(path, before, after) {
  const kind = before === null ? 'add' : after === null ? 'remove' : 'set';
  const back = { add: 'remove', remove: 'add', set: 'set' }[kind];
  const id = `${kind}/${NODE.exec(path)?.[1] ?? path}`;
  return {
    ...{ id, kind, path, before, after, inverse: { kind: back, before: after, after: before } },
    ...{ dependsOn: [], safePoint: true },
  };
}

function frozen() {
  return {
    kind: 'refusal',
    code: 'INTENT_FROZEN',
    message: 'nothing is compiled or remedied at level 2 (rule compilation-frozen)',
    help: 'wait for level 3',
  };
}
