/**
 * Ends established flows towards what is prohibited.
 * It must not end a flow towards what a level allows, nor hide what it could not end.
 */
import type { ToolOptions } from './ip.js';
import type { RouteWorld } from './route-world.js';

/** What became of established flows. */
export interface FlowsEnded {
  /** Sockets destroyed, and whether this kernel can. */
  readonly sockets: { readonly supported: boolean; readonly ended: number; readonly left: number };
  /** Entries of connection tracking removed, and whether this kernel and system can. */
  readonly tracked: { readonly supported: boolean; readonly ended: number; readonly left: number };
  /** What could not be done, one sentence each. */
  readonly remarks: readonly string[];
}

/** Ends what the guard table of `world` does not lead to; does nothing where it does not protect. */
export function endFlows(_world: RouteWorld, _options: ToolOptions = {}): Promise<FlowsEnded> {
  return Promise.resolve({
    sockets: { supported: false, ended: 0, left: 0 },
    tracked: { supported: false, ended: 0, left: 0 },
    remarks: ['not built yet'],
  });
}
