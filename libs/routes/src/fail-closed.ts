/**
 * The fixed command with which the warden cuts a path's routes without any service of Kedge's.
 * It must not run it.
 */
import { fileURLToPath } from 'node:url';
import type { RouteMode } from '@kedge/posture';

/** The program `kedge-cut`, built by `make` in this package. */
export const CUT_BINARY = fileURLToPath(new URL('../build/kedge-cut', import.meta.url));

/**
 * Command line for `fail-closed.PATH` of the warden: rules that prohibit everything but the guard table stand,
 * then every route of the mode is withdrawn. Idempotent; needs CAP_NET_ADMIN, and CAP_SYS_ADMIN with `netns`.
 *
 * @param netns absolute path of a network namespace (/run/netns/NAME); absent = the warden's own.
 */
export function failClosedCommand(mode: RouteMode, netns?: string): string {
  return [CUT_BINARY, mode, ...(netns === undefined ? [] : [netns])].join(' ');
}
