/**
 * The overlay's calls: kedge.overlay.v1, on `internal/overlay.sock`.
 * It must hold no logic; `Overlay` answers.
 */
import type {
  AddRoutesRequest,
  EditReply,
  ListRoutesReply,
  ListRoutesRequest,
  OverlayStatusReply,
  RemoveRoutesRequest,
} from '@kedge/bus';
import type { CallAuthority } from '@kedge/runtime';
import { Controller } from '@nestjs/common';
import { Ctx, GrpcMethod, Payload } from '@nestjs/microservices';

import { Overlay } from './overlay.js';

@Controller()
export class OverlayController {
  readonly #overlay: Overlay;

  constructor(overlay: Overlay) {
    this.#overlay = overlay;
  }

  @GrpcMethod('Overlay', 'AddRoutes')
  addRoutes(@Payload() request: AddRoutesRequest, @Ctx() call: CallAuthority): Promise<EditReply> {
    return this.#overlay.addRoutes(request, call);
  }

  @GrpcMethod('Overlay', 'RemoveRoutes')
  removeRoutes(@Payload() request: RemoveRoutesRequest, @Ctx() call: CallAuthority): Promise<EditReply> {
    return this.#overlay.removeRoutes(request, call);
  }

  @GrpcMethod('Overlay', 'ListRoutes')
  listRoutes(@Payload() request: ListRoutesRequest): ListRoutesReply {
    return this.#overlay.listRoutes(request);
  }

  @GrpcMethod('Overlay', 'Status')
  status(): OverlayStatusReply {
    return this.#overlay.status();
  }
}
