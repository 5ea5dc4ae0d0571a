/**
 * The bridge's calls: kedge.governance.v1, on `internal/governance.sock`.
 * It must hold no logic; `Governance` answers.
 */
import type { PlanReply, PlanRequest, ShowReply } from '@kedge/bus';
import { Controller } from '@nestjs/common';
import { GrpcMethod, Payload } from '@nestjs/microservices';

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
}
