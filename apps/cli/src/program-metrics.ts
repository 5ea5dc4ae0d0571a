/**
 * The command for metrics: what it takes, and what its help says.
 * It must not do anything itself.
 */
import type { Command } from 'commander';

import { type Act, examples, EXITS, target } from './command-line.js';
import type { MetricsOptions } from './metrics.js';

/** Adds the command to the program. */
export function metricsCommand(program: Command, act: Act): void {
  target(program.command('metrics'))
    .description('what the services count: postures, budgets, packets, refusals, and how their processes do')
    .argument(
      '[service]',
      'posture-coordinator, vpp-bridge, overlay, underlay, intent or quartermaster; all without one',
    )
    .addHelpText(
      'after',
      `
With a service its metrics are printed as it tells them, in the text exposition format of Prometheus. Without one
every service's own are listed, without those that every process has. A service tells them on the Unix socket that
metrics.socket of its configuration names, here sock/metrics/SERVICE.sock, as http://localhost/metrics; with
metrics.port also on 127.0.0.1.
${examples('kedge metrics', 'kedge metrics vpp-bridge', 'kedge metrics --json | jq keys')}\n${EXITS}`,
    )
    .action(
      act((actions, service: string | undefined, options: MetricsOptions) =>
        actions.metricsShow(service, options),
      ),
    );
}
