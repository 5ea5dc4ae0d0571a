/**
 * The underlay's calls: kedge.underlay.v1, on a socket per channel and tier.
 * It must hold no logic; `Underlay` answers.
 */
import type {
  AskReply,
  AskRequest,
  ExecuteReply,
  ExecuteRequest,
  ListProposalsReply,
  ListRoutesReply,
  ListRoutesRequest,
  ProposalReply,
  ProposeRequest,
  UnderlayStatusReply,
  WithdrawRequest,
} from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Underlay } from './underlay.js';

@Controller()
export class UnderlayController {
  readonly #underlay: Underlay;

  constructor(underlay: Underlay) {
    this.#underlay = underlay;
  }

  @GrpcMethod('Underlay', 'Status')
  status(): UnderlayStatusReply {
    return this.#underlay.status();
  }

  @GrpcMethod('Underlay', 'Ask')
  ask(@Payload() request: AskRequest, @Ctx() call: CallAuthority): AskReply {
    return this.#underlay.ask(request, call);
  }

  @GrpcMethod('Underlay', 'Execute')
  execute(@Payload() request: ExecuteRequest, @Ctx() call: CallAuthority): Promise<ExecuteReply> {
    return this.#underlay.execute(request, call);
  }

  @GrpcMethod('Underlay', 'Propose')
  propose(@Payload() request: ProposeRequest, @Ctx() call: CallAuthority): Promise<ProposalReply> {
    return this.#underlay.propose(request, call);
  }

  @GrpcMethod('Underlay', 'ListProposals')
  listProposals(): ListProposalsReply {
    return this.#underlay.listProposals();
  }

  @GrpcMethod('Underlay', 'Withdraw')
  withdraw(@Payload() request: WithdrawRequest, @Ctx() call: CallAuthority): Promise<ProposalReply> {
    return this.#underlay.withdraw(request, call);
  }

  @GrpcMethod('Underlay', 'ListRoutes')
  listRoutes(@Payload() request: ListRoutesRequest): ListRoutesReply {
    return this.#underlay.listRoutes(request);
  }
}
