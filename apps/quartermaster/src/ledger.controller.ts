/**
 * The ledger's calls: kedge.ledger.v1.Ledger and Intake.
 * It must hold no logic; `Quartermaster` answers.
 */
import type {
  Batch,
  EraseReply,
  EraseRequest,
  ExportPiece,
  ExportRequest,
  GetCheckpointReply,
  GetCheckpointRequest,
  Kept,
  LedgerStatusReply,
  ProveReply,
  ProveRequest,
  QueryReply,
  QueryRequest,
  TailReply,
  TailRequest,
} from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Quartermaster } from './quartermaster.js';

@Controller()
export class LedgerController {
  readonly #quartermaster: Quartermaster;

  constructor(quartermaster: Quartermaster) {
    this.#quartermaster = quartermaster;
  }

  @GrpcMethod('Intake', 'Deliver')
  deliver(@Payload() batches: AsyncIterable<Batch>, @Ctx() call: CallAuthority): AsyncIterable<Kept> {
    return this.#quartermaster.deliver(batches, call);
  }

  @GrpcMethod('Ledger', 'Query')
  query(@Payload() request: QueryRequest, @Ctx() call: CallAuthority): Promise<QueryReply> {
    return this.#quartermaster.query(request, call);
  }

  @GrpcMethod('Ledger', 'Tail')
  tail(@Payload() request: TailRequest, @Ctx() call: CallAuthority): AsyncIterable<TailReply> {
    return this.#quartermaster.tail(request, call);
  }

  @GrpcMethod('Ledger', 'Prove')
  prove(@Payload() request: ProveRequest, @Ctx() call: CallAuthority): ProveReply {
    return this.#quartermaster.prove(request, call);
  }

  @GrpcMethod('Ledger', 'GetCheckpoint')
  checkpoint(@Payload() request: GetCheckpointRequest, @Ctx() call: CallAuthority): GetCheckpointReply {
    return this.#quartermaster.checkpoint(request, call);
  }

  @GrpcMethod('Ledger', 'Status')
  status(@Payload() _request: unknown, @Ctx() call: CallAuthority): LedgerStatusReply {
    return this.#quartermaster.status(call);
  }

  @GrpcMethod('Ledger', 'Erase')
  erase(@Payload() request: EraseRequest, @Ctx() call: CallAuthority): Promise<EraseReply> {
    return this.#quartermaster.erase(request, call);
  }

  @GrpcMethod('Ledger', 'Export')
  export(@Payload() request: ExportRequest, @Ctx() call: CallAuthority): AsyncIterable<ExportPiece> {
    return this.#quartermaster.export(request, call);
  }
}
