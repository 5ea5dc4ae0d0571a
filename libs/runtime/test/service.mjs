/**
 * A service for the tests of this package: a real Nest application on a real board, in a process of its own.
 * It must use nothing but the front doors.
 */
import 'reflect-metadata';
import {
  BOARD,
  BoardTransport,
  loadConfig,
  metricsSchema,
  openMetrics,
  postureEntrances,
  runService,
  UnixGrpcTransport,
} from '@kedge/runtime';
import { PostureBoard, postureService } from '@kedge/bus';
import { createSegment } from '@kedge/shared-memory-ipc';
import { Controller, Module } from '@nestjs/common';
import { Ctx, EventPattern, GrpcMethod, Payload } from '@nestjs/microservices';
import { z } from 'zod';

const say = (what) =>
  process.stdout.write(`SAID ${JSON.stringify(what, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}\n`);
const state = { epoch: 1n, level: 5, target: 5, failClosed: [], services: [], atNs: 1n, alarms: [] };

class Door {
  onDecided(event, context) {
    say({ event: context.event, epoch: event.epoch, to: event.to, initial: event.initial });
    if (event.to === 1) throw new Error('cannot handle lockdown');
  }
  get(_request, call) {
    return { ...state, alarms: [call.channel, call.tier] };
  }
  set(request) {
    if (request.reason === 'reject')
      setImmediate(() => void Promise.reject(new Error('nobody waits for this')));
    if (request.reason === 'hang') for (;;);
    return { outcome: 'waiting', waiting: { behindEpoch: 1n } };
  }
  reloadAccords() {
    return { outcome: 'waiting', waiting: { behindEpoch: 1n } };
  }
  reloadPolicies() {
    return { outcome: 'refusal', refusal: {} };
  }
  async *watch(_request, call) {
    yield { ...state, alarms: [call.tier] };
    await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
  }
  history() {
    return { transitions: [] };
  }
  transition() {
    return { outcome: 'refusal', refusal: {} };
  }
}
const decorate = (name, ...decorators) => {
  const descriptor = Object.getOwnPropertyDescriptor(Door.prototype, name);
  for (const decorator of decorators) decorator(Door.prototype, name, descriptor);
  Payload()(Door.prototype, name, 0);
  Ctx()(Door.prototype, name, 1);
};
decorate('onDecided', EventPattern('posture.decided', BOARD));
for (const [name, rpc] of [
  ['get', 'Get'],
  ['set', 'Set'],
  ['reloadAccords', 'ReloadAccords'],
  ['reloadPolicies', 'ReloadPolicies'],
  ['watch', 'Watch'],
  ['history', 'History'],
  ['transition', 'Transition'],
])
  decorate(name, GrpcMethod('Posture', rpc));
Controller()(Door);
class Root {}
Module({ controllers: [Door] })(Root);

await runService({
  name: 'example',
  stopMs: 2_000,
  start: async ({ argv, logger }) => {
    const {
      directory,
      sockets,
      closeMs,
      metrics: settings,
    } = loadConfig(
      z.strictObject({
        directory: z.string(),
        sockets: z.string(),
        closeMs: z.int().default(0),
        metrics: metricsSchema.optional(),
      }),
      argv,
    );
    const metrics = openMetrics(settings);
    metrics?.counter({ name: 'kedge_example_total', help: 'Examples.', labels: ['kind'] })(
      { kind: 'a"b\n' },
      2,
    );
    metrics?.histogram({ name: 'kedge_example_seconds', help: 'How long.', labels: [], buckets: [0.001, 1] })(
      {},
      0.5,
    );
    metrics?.read(() => [
      {
        type: 'gauge',
        name: 'kedge_example_level',
        help: 'Level.',
        labels: ['of'],
        samples: Array.from({ length: 1_030 }, (_, of) => ({ labels: { of: String(of) }, value: 2n })),
      },
    ]);
    const heart = createSegment({ directory, name: 'tables', kind: 'tables' });
    const board = new PostureBoard({ directory, owners: { posture: process.getuid() }, realtime: false });
    return {
      module: Root,
      heart,
      metrics,
      transports: [
        new BoardTransport({
          board,
          onFailure: (event, error) => {
            throw error;
          },
        }),
        new UnixGrpcTransport({
          services: [postureService],
          entrances: postureEntrances(sockets),
          graceMs: 200,
        }),
      ],
      close: async () => {
        board.close();
        heart.close();
        await new Promise((resolve) => setTimeout(resolve, closeMs));
        logger.info('closed');
      },
    };
  },
});
