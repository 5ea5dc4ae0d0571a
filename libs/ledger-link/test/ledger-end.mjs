/**
 * An intake of the ledger in a process of its own: writes what it is sent into a file, one line a record, and says what
 * is durable there. Started anew it goes on where the file ends.
 * It must not say that it keeps what a kill could take.
 */
import { intakeService, provide, serveUnix } from '@kedge/bus';
import { decodeRecord } from '@kedge/ledger';
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';

const [socket, path] = process.argv.slice(2);
const file = openSync(path, 'a+');
const text = readFileSync(path, 'utf8');
const whole = text.slice(0, text.lastIndexOf('\n') + 1);
ftruncateSync(file, Buffer.byteLength(whole));
const cursors = new Map();
for (const line of whole.split('\n').filter((each) => each !== '')) {
  const [spool, sequence] = line.split(' ');
  cursors.set(spool, BigInt(sequence));
}
const deliver = async function* (batches) {
  for await (const { spool, first, records } of batches) {
    const cursor = cursors.get(spool) ?? 0n;
    if (records.length > 0 && first > cursor + 1n) throw new Error(`a gap before ${first}`);
    let lines = '';
    for (const [index, bytes] of records.entries()) {
      const sequence = first + BigInt(index);
      if (sequence > cursor) lines += `${spool} ${sequence} ${decodeRecord(bytes).id}\n`;
    }
    writeSync(file, lines);
    fsyncSync(file);
    const upTo = records.length === 0 ? cursor : first + BigInt(records.length) - 1n;
    if (upTo > cursor) cursors.set(spool, upTo);
    yield { spool, upTo: cursors.get(spool) ?? 0n };
  }
};
const server = await serveUnix({ path: socket, services: [provide(intakeService, { deliver })] });
process.stdout.write('serving\n');
process.on('SIGTERM', () => {
  void server.close(100).then(() => {
    closeSync(file);
    process.exit(0);
  });
});
