/**
 * Servers that real clients speak with through the forwarder: TLS, HTTP, a TCP port that listens to anybody, DNS.
 * It must look at nothing that it is sent beyond what its answer needs. Usage: peers.mjs CERTIFICATE KEY READY.
 */
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { createServer as createTls } from 'node:tls';

const [certificate = '', key = '', ready = ''] = process.argv.slice(2);
const ANY = '0.0.0.0';
const names = createSocket('udp4');
// No such name: the question as it came, marked as a response with that code.
names.on('message', (question, from) => {
  const answer = Buffer.from(question);
  answer.writeUInt16BE(0x8183, 2);
  names.send(answer, from.port, from.address);
});
const listening = [
  [createTls({ cert: readFileSync(certificate), key: readFileSync(key) }, (socket) => socket.end('x')), 7443],
  [createHttp((_, response) => response.end('x')), 7080],
  [createTcp((socket) => socket.once('data', () => socket.end())), 7022],
].map(
  ([server, port]) =>
    new Promise((resolve) => {
      server.on('tlsClientError', () => undefined);
      server.listen(port, ANY, resolve);
    }),
);
listening.push(new Promise((resolve) => names.bind(7053, ANY, resolve)));
await Promise.all(listening);
writeFileSync(ready, '');
