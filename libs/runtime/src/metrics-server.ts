/**
 * HTTP for whoever scrapes: GET /metrics on a Unix socket, and on loopback where the configuration says so.
 * It must not stop a service: what cannot be served is said, and the service goes on.
 */
import { placeSocket, takeLock, verifySocketPlace } from '@kedge/bus';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import type { Logger } from './logging.js';
import { METRICS_TYPE, type OpenMetrics } from './metrics.js';

/** Who scrapes comes alone; more at once than this is a fault of theirs. */
const MAX_CONNECTIONS = 8;
/** A request that takes longer than this to arrive is cut. */
const REQUEST_MS = 2_000;
const MAX_HEADER_BYTES = 8_192;
/** A service has other things to do when it has just begun to serve; nobody waits for metrics. */
const BEGIN_AFTER_MS = 1_000;

/** Metrics that are being served. */
export interface MetricsServer {
  /** Cuts every connection and takes the socket away. */
  close(): Promise<void>;
}

/**
 * Serves metrics by their settings a second from now, each way by itself: one that fails is logged and left out.
 * Socket and lock follow the rules of all sockets (`BUS_*` in docs/errors.md); its mode is 0660.
 */
export function serveMetrics(metrics: OpenMetrics, logger: Logger): MetricsServer {
  const { socket, port } = metrics.settings;
  const answer = (local: boolean) => (request: IncomingMessage, response: ServerResponse) => {
    void reply(metrics, request, response, local).catch((error: unknown) => {
      logger.warn({ err: error }, 'metrics could not be told');
      if (response.headersSent) response.destroy();
      else end(response, 500, 'the metrics could not be read; the log of the service says why\n');
    });
  };
  const closes: (() => Promise<void>)[] = [];
  const attempt = async (where: string, start: () => Promise<() => Promise<void>>): Promise<void> => {
    try {
      closes.push(await start());
    } catch (error) {
      logger.error({ err: error, where }, 'metrics are not served');
    }
  };
  const begin = async (): Promise<void> => {
    await attempt(socket, () => onSocket(server(answer(true)), socket));
    if (port !== undefined) {
      await attempt(`127.0.0.1:${String(port)}`, async () => {
        const http = server(answer(false));
        await listen(http, { host: '127.0.0.1', port });
        return () => cut(http);
      });
    }
    await metrics.load().catch((error: unknown) => {
      logger.error({ err: error }, 'metrics cannot be counted');
    });
  };
  let begun: Promise<void> | undefined;
  const later = setTimeout(() => {
    begun = begin();
  }, BEGIN_AFTER_MS).unref();
  return {
    close: async () => {
      clearTimeout(later);
      await begun;
      await Promise.all(closes.splice(0).map((close) => close()));
    },
  };
}

async function reply(
  metrics: OpenMetrics,
  request: IncomingMessage,
  response: ServerResponse,
  local: boolean,
): Promise<void> {
  // A page in somebody's browser must not read them by a name of its own that leads to loopback.
  if (!local && !/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) {
    end(response, 421, 'ask for localhost\n');
    return;
  }
  if (request.url !== '/metrics') {
    end(response, 404, 'there is /metrics, and nothing else\n');
    return;
  }
  if (request.method !== 'GET') {
    response.setHeader('Allow', 'GET');
    end(response, 405, 'metrics are read, with GET\n');
    return;
  }
  const text = await metrics.text();
  response.setHeader('Content-Type', METRICS_TYPE);
  response.end(text);
}

function end(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.end(text);
}

function server(answer: (request: IncomingMessage, response: ServerResponse) => void): Server {
  const http = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
    answer,
  );
  http.maxConnections = MAX_CONNECTIONS;
  // Neither a scrape nor the wait for one keeps a service alive that has nothing else to do.
  http.unref();
  return http;
}

async function onSocket(http: Server, path: string): Promise<() => Promise<void>> {
  await verifySocketPlace(path);
  const lock = await takeLock(`${path}.lock`);
  try {
    const placed = await placeSocket(path, 0o660, (staging) => listen(http, { path: staging }));
    return async () => {
      await placed.remove();
      await cut(http);
      await lock.release();
    };
  } catch (error) {
    await cut(http);
    await lock.release();
    throw error;
  }
}

function listen(http: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', reject);
    http.listen(where, () => {
      http.off('error', reject);
      resolve();
    });
  });
}

function cut(http: Server): Promise<void> {
  return new Promise((resolve) => {
    http.close(() => {
      resolve();
    });
    http.closeAllConnections();
  });
}
