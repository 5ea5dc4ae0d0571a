/**
 * What is asked about devices: who may, and what it comes to.
 * It must not keep anything of a device, nor reach one; whoever looks after the devices does.
 */
import type {
  IntentDeviceMessage,
  IntentDeviceRequest,
  IntentDriftMessage,
  IntentPlanPart,
  IntentPlanRequest,
  IntentRemedyReply,
  IntentRemedyRequest,
} from '@kedge/bus';
import { isRefusal, type IntentRefusal, refusal, wrongField } from '@kedge/datastores';
import { isNodePath } from '@kedge/drift';

import type { Caller, IntentAuthority } from './authority.js';
import { deviceMessage, driftMessage, planParts } from './device-messages.js';
import type { DeviceViews } from './device-views.js';
import { thrownRefusal } from './messages.js';

/** A caller who may leave, or run out of time, before there is an answer. */
export interface WaitingCaller extends Caller {
  readonly signal: AbortSignal;
}

/** Answers about devices. */
export class DeviceCalls {
  readonly #authority: IntentAuthority;
  readonly #devices: DeviceViews | undefined;

  /** @param devices undefined = this intent looks after none, and says so. */
  constructor(authority: IntentAuthority, devices: DeviceViews | undefined) {
    this.#authority = authority;
    this.#devices = devices;
  }

  async *list({ device }: IntentDeviceRequest, caller: Caller): AsyncGenerator<IntentDeviceMessage> {
    this.#authority.mayLook(caller);
    const views = answered(this.#views(device === '' ? undefined : device));
    for (const view of views.devices())
      if (device === '' || view.device === device) yield deviceMessage(view);
  }

  async *drifts({ device }: IntentDeviceRequest, caller: Caller): AsyncGenerator<IntentDriftMessage> {
    this.#authority.mayLook(caller);
    const views = answered(this.#views());
    const drifts = device === '' ? views.drifts() : views.drifts(device);
    // What differs may be on a device that has left the inventory meanwhile.
    if (drifts.length === 0 && device !== '') answered(this.#views(device));
    for (const drift of drifts) yield driftMessage(drift);
  }

  async *plan({ device, source }: IntentPlanRequest, caller: WaitingCaller): AsyncGenerator<IntentPlanPart> {
    this.#authority.mayLook(caller, 'intent.check');
    if (source !== 'running' && source !== 'candidate')
      throw thrownRefusal(wrongField('source', 'running, candidate'));
    // The candidate may have a device that the running intent does not know yet.
    const views = answered(this.#views(source === 'running' ? device : undefined));
    const { plan, dormant } = answered(await views.plan(device, source, caller.signal));
    yield* planParts(plan, dormant);
  }

  async *check({ device }: IntentDeviceRequest, caller: WaitingCaller): AsyncGenerator<IntentDeviceMessage> {
    this.#authority.mayLook(caller, 'intent.check');
    const meant = device === '' ? undefined : device;
    for (const view of answered(await answered(this.#views(meant)).check(meant, caller.signal)))
      yield deviceMessage(view);
  }

  async remedy(request: IntentRemedyRequest, caller: WaitingCaller): Promise<IntentRemedyReply> {
    const { principal, device, path } = request;
    const admitted = await this.#authority.admit('intent.remedy', principal, caller);
    if ('refusal' in admitted) return { outcome: 'refusal', refusal: admitted.refusal };
    const { by } = admitted;
    const views = path === '' || isNodePath(path) ? this.#views(device) : wrongField('path', 'a data path');
    const done = isRefusal(views)
      ? views
      : await views.remedy(device, path === '' ? undefined : path, by, caller.signal);
    if (isRefusal(done)) {
      const what = `${device} ${path}`.trim();
      return { outcome: 'refusal', refusal: this.#authority.remedyRefused(by, what, done) };
    }
    const { remedied, view } = done;
    return { outcome: 'remedied', remedied: { remedied, device: deviceMessage(view) } };
  }

  /** Those who look after the devices, among them the one that is named. */
  #views(device?: string): DeviceViews | IntentRefusal {
    if (this.#devices === undefined) return NO_DEVICES;
    const isKnown = device === undefined || this.#devices.devices().some((each) => each.device === device);
    return isKnown ? this.#devices : unknownDevice(device);
  }
}

const NO_DEVICES = refusal({
  code: 'INTENT_NO_DEVICES',
  message: 'cannot say anything of devices: this intent keeps documents only',
  help: 'start the service with the modules of the appliance',
});

function unknownDevice(device: string): IntentRefusal {
  return refusal({
    code: 'INTENT_DEVICE_UNKNOWN',
    message: `there is no device ${JSON.stringify(device.slice(0, 64))} in the inventory of the running intent`,
    field: 'device',
    expected: 'the id of a device that is listed',
    help: 'kedge intent devices lists them',
  });
}

/** What is no refusal. @throws KedgeError what a refusal says: calls that look end with it. */
function answered<T>(said: T | IntentRefusal): T {
  if (isRefusal(said)) throw thrownRefusal(said);
  return said;
}
