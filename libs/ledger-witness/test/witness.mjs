/**
 * A witness as a process of its own, to be killed: `witness.mjs DIRECTORY KEY-FILE LOG-KEY`. Prints its address.
 * Must not do anything that a witness does not do.
 */
import { verifierOf } from '@kedge/ledger';
import { openWitness, readWitnessKey, serveWitness } from '@kedge/ledger-witness';

const [directory, keyFile, log] = process.argv.slice(2);
const witness = await openWitness({
  directory,
  signer: readWitnessKey(keyFile),
  logs: [verifierOf(log)],
  nowMs: () => Date.now(),
});
const { url } = await serveWitness({ witness, host: '127.0.0.1', port: 0 });
process.stdout.write(`${url}\n`);
