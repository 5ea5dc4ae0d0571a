/**
 * Where the reference forwarder's executable stands.
 * It must not start it: who runs it, as whom and with what belongs to the supervisor's configuration.
 */
import { fileURLToPath } from 'node:url';

/** Absolute path of `kedge-forwarder`, built by this package's Makefile. */
export const forwarderPath: string = fileURLToPath(new URL('../build/kedge-forwarder', import.meta.url));
