/**
 * The bridge's calls: kedge.governance.v1, on `internal/governance.sock`.
 * It must hold no logic; `Governance` answers.
 */
import type { FlowBatch, PlanReply, PlanRequest, ShowReply } from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Governance } from './governance.js';

@Controller()
export class GovernanceController {
  readonly #governance: Governance;

  constructor(governance: Governance) {
    this.#governance = governance;
  }

  @GrpcMethod('Governance', 'Show')
  show(): ShowReply {
    return this.#governance.show();
  }

  @GrpcMethod('Governance', 'Plan')
  plan(@Payload() request: PlanRequest): PlanReply {
    return this.#governance.plan(request);
  }

  @GrpcMethod('Governance', 'WatchFlows')
  watchFlows(@Payload() _request: unknown, @Ctx() { signal }: CallAuthority): AsyncIterable<FlowBatch> {
    return this.#governance.watchFlows(signal);
  }
}
