/**
 * The peer of the posture path: the same order carried by a gRPC call over a Unix socket.
 * Must not touch the board. Run as a process of its own it is the server: `grpc-peer.js SOCKET`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

interface ApplyClient extends grpc.Client {
  Apply(
    order: { word: string },
    done: (error: grpc.ServiceError | null, stamp: { seen_at_ns: string }) => void,
  ): void;
}

const proto = fileURLToPath(new URL('../proto/apply.proto', import.meta.url));

function loadApply(): grpc.ServiceClientConstructor {
  const definition = loadSync(proto, { keepCase: true, longs: String });
  const service = definition['kedge.bench.Apply'];
  if (service === undefined || !('Apply' in service))
    throw new Error(`${proto}: expected service kedge.bench.Apply`);
  return grpc.makeGenericClientConstructor(service, 'Apply');
}

async function serve(socket: string): Promise<void> {
  const server = new grpc.Server();
  server.addService(loadApply().service, {
    Apply: (_call: unknown, done: (error: null, stamp: { seen_at_ns: string }) => void) => {
      done(null, { seen_at_ns: process.hrtime.bigint().toString() });
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
  process.stdout.write('ready\n');
}

/** Nanoseconds from the caller's decision to the server's stamp, `samples` times, 1 ms apart. */
export async function grpcSamples(socket: string, samples: number, cpu: number): Promise<number[]> {
  const server = spawn(
    'taskset',
    ['-c', String(cpu), process.execPath, fileURLToPath(import.meta.url), socket],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    await once(server.stdout, 'data');
    const client = new (loadApply())(
      `unix:${socket}`,
      grpc.credentials.createInsecure(),
    ) as unknown as ApplyClient;
    const taken: number[] = [];
    for (let i = 0; i < samples; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const decided = process.hrtime.bigint();
      const seen = await new Promise<bigint>((resolve, reject) => {
        client.Apply({ word: String(i) }, (error, stamp) => {
          if (error) reject(error);
          else resolve(BigInt(stamp.seen_at_ns));
        });
      });
      taken.push(Number(seen - decided));
    }
    client.close();
    return taken;
  } finally {
    server.kill('SIGKILL');
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] !== undefined)
  await serve(process.argv[2]);
