/**
 * The front door of the boot tool for TypeScript: where its binary is.
 * It must not run it, nor look whether it is there: who starts it finds out and says so better.
 */
import { fileURLToPath } from 'node:url';

/** Absolute path of `kedge-boot`, where `make` puts it. `kedge-boot --help` is its manual. */
export const BOOT_BINARY = fileURLToPath(new URL('../build/kedge-boot', import.meta.url));
