/**
 * The intent's calls: kedge.intent.v1, on a socket per channel and tier.
 * It must hold no logic; `Intent` answers.
 */
import type {
  IntentAsking,
  IntentChangeMessage,
  IntentCommitRequest,
  IntentCompareRequest,
  IntentConfirmRequest,
  IntentEditRequest,
  IntentHistoryReply,
  IntentHistoryRequest,
  IntentLoadRequest,
  IntentLockRequest,
  IntentPiece,
  IntentReply,
  IntentRollbackRequest,
  IntentSourceRequest,
  IntentStatusReply,
  IntentUnlockRequest,
  IntentValidateReply,
} from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Intent } from './intent.js';

@Controller()
export class IntentController {
  readonly #intent: Intent;

  constructor(intent: Intent) {
    this.#intent = intent;
  }

  @GrpcMethod('Intent', 'Status')
  status(@Payload() _request: unknown, @Ctx() call: CallAuthority): IntentStatusReply {
    return this.#intent.status(call);
  }

  @GrpcMethod('Intent', 'Show')
  show(@Payload() request: IntentSourceRequest, @Ctx() call: CallAuthority): AsyncIterable<IntentPiece> {
    return this.#intent.show(request, call);
  }

  @GrpcMethod('Intent', 'History')
  history(@Payload() request: IntentHistoryRequest, @Ctx() call: CallAuthority): IntentHistoryReply {
    return this.#intent.history(request, call);
  }

  @GrpcMethod('Intent', 'Validate')
  validate(
    @Payload() request: IntentSourceRequest,
    @Ctx() call: CallAuthority,
  ): Promise<IntentValidateReply> {
    return this.#intent.validate(request, call);
  }

  @GrpcMethod('Intent', 'Compare')
  compare(
    @Payload() request: IntentCompareRequest,
    @Ctx() call: CallAuthority,
  ): AsyncIterable<IntentChangeMessage> {
    return this.#intent.compare(request, call);
  }

  @GrpcMethod('Intent', 'Load')
  load(@Payload() request: IntentLoadRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.load(request, call);
  }

  @GrpcMethod('Intent', 'Edit')
  edit(@Payload() request: IntentEditRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.edit(request, call);
  }

  @GrpcMethod('Intent', 'Discard')
  discard(@Payload() request: IntentAsking, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.discard(request, call);
  }

  @GrpcMethod('Intent', 'Lock')
  lock(@Payload() request: IntentLockRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.lock(request, call);
  }

  @GrpcMethod('Intent', 'Unlock')
  unlock(@Payload() request: IntentUnlockRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.unlock(request, call);
  }

  @GrpcMethod('Intent', 'Commit')
  commit(@Payload() request: IntentCommitRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.commit(request, call);
  }

  @GrpcMethod('Intent', 'Rollback')
  rollback(@Payload() request: IntentRollbackRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.rollback(request, call);
  }

  @GrpcMethod('Intent', 'Confirm')
  confirm(@Payload() request: IntentConfirmRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.confirm(request, call);
  }

  @GrpcMethod('Intent', 'Cancel')
  cancel(@Payload() request: IntentConfirmRequest, @Ctx() call: CallAuthority): Promise<IntentReply> {
    return this.#intent.cancel(request, call);
  }
}
