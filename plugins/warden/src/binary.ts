/**
 * Where `make` puts the warden.
 * It must not look whether it is there: who starts it finds out and says so better.
 */
import { fileURLToPath } from 'node:url';

/** Absolute path of `kedge-warden`. `kedge-warden --help` is its manual. */
export const WARDEN_BINARY = fileURLToPath(new URL('../build/kedge-warden', import.meta.url));
