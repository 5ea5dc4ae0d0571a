/**
 * `kedge intent devices`, `drift`, `plan`, `remedy` and `check`: how the devices of an appliance stand to its intent.
 * It must not parse the command line, nor judge a difference.
 */
import type { IntentDevicesClient, IntentPlanHead } from '@kedge/bus';

import { EXIT } from './exit-status.js';
import { refusalError } from './failure.js';
import { type IntentOptions, principalOf, show } from './intent.js';
import {
  deviceText,
  devicesText,
  driftsText,
  isAsIntended,
  unsettledText,
  planReplyText,
  remediedText,
} from './intent-devices-text.js';
import { withIntentDevices } from './target.js';

export interface IntentPlanOptions extends IntentOptions {
  readonly candidate?: boolean;
}

export interface IntentRemedyOptions extends IntentOptions {
  /** A data path; what differs there and below. */
  readonly path?: string;
}

async function all<T>(stream: AsyncIterable<T>): Promise<readonly T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** What differs, with values as they are and not as text in text. */
async function driftsOf(client: IntentDevicesClient, device: string, options: IntentOptions) {
  return (await all(client.listDrifts({ device }, { deadlineMs: options.timeout }))).map(
    ({ intended, actual, ...drift }) => ({
      ...drift,
      ...(intended === undefined ? {} : { intended: JSON.parse(intended) as unknown }),
      ...(actual === undefined ? {} : { actual: JSON.parse(actual) as unknown }),
    }),
  );
}

export function intentDevices(device: string | undefined, options: IntentOptions): Promise<number> {
  return withIntentDevices(options, async (client) => {
    const devices = await all(client.listDevices({ device: device ?? '' }, { deadlineMs: options.timeout }));
    const text = device === undefined ? devicesText(devices) : devices.map(deviceText).join('\n');
    show({ devices }, text, options.json);
    return EXIT.ok;
  });
}

/** Ends with 6 unless every device that is meant is as intended. */
export function intentDrift(device = '', options: IntentOptions): Promise<number> {
  return withIntentDevices(options, async (client) => {
    const drifts = await driftsOf(client, device, options);
    // A device that has left the inventory may still have differences; it is none of those that are listed then.
    const devices = (await all(client.listDevices({ device: '' }, { deadlineMs: options.timeout }))).filter(
      (each) => device === '' || each.device === device,
    );
    const asIntended = isAsIntended(devices, drifts);
    const text = [driftsText(drifts), unsettledText(devices)].filter((part) => part !== '').join('\n');
    show({ asIntended, devices, drifts }, text, options.json);
    return asIntended ? EXIT.ok : EXIT.failedCheck;
  });
}

/** Ends with 6 unless every device that was read is as intended. */
export function intentCheck(device = '', options: IntentOptions): Promise<number> {
  return withIntentDevices(options, async (client) => {
    const devices = await all(client.check({ device }, { deadlineMs: options.timeout }));
    const drifts = await driftsOf(client, device, options);
    const asIntended = isAsIntended(devices, drifts);
    const text = device === '' ? devicesText(devices) : devices.map(deviceText).join('\n');
    show(
      { asIntended, devices, drifts },
      drifts.length === 0 ? text : `${text}\n\n${driftsText(drifts)}`,
      options.json,
    );
    return asIntended ? EXIT.ok : EXIT.failedCheck;
  });
}

export function intentPlan(device: string, options: IntentPlanOptions): Promise<number> {
  return withIntentDevices(options, async (client) => {
    const source = options.candidate === true ? 'candidate' : 'running';
    let head: IntentPlanHead = { steps: 0, dormant: [], complete: true };
    const text: Uint8Array[] = [];
    const data: Uint8Array[] = [];
    for await (const part of client.plan({ device, source }, { deadlineMs: options.timeout })) {
      if (part.part === 'head') head = part.head;
      else if (part.part === 'text') text.push(part.text);
      else data.push(part.data);
    }
    const document: unknown =
      data.length === 0 ? { 'kedge-plan:plans': {} } : JSON.parse(Buffer.concat(data).toString('utf8'));
    const said = Buffer.concat(text).toString('utf8');
    show(document, planReplyText(device, source, head, said), options.json);
    return EXIT.ok;
  });
}

export function intentRemedy(device: string, options: IntentRemedyOptions): Promise<number> {
  return withIntentDevices(options, async (client) => {
    const request = { principal: principalOf(options), device, path: options.path ?? '' };
    const reply = await client.remedy(request, { deadlineMs: options.timeout });
    if (reply.outcome === 'refusal') throw refusalError(reply.refusal);
    const { remedied, device: view } = reply.remedied;
    show({ remedied, device: view }, remediedText(device, remedied, view), options.json);
    return EXIT.ok;
  });
}
