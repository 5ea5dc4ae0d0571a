/**
 * The one module of the quartermaster.
 * It must hold nothing but the wiring of its controller.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { LedgerController } from './ledger.controller.js';
import { Quartermaster } from './quartermaster.js';

@Module({})
export class QuartermasterModule {
  static around(quartermaster: Quartermaster): DynamicModule {
    return {
      module: QuartermasterModule,
      controllers: [LedgerController],
      providers: [{ provide: Quartermaster, useValue: quartermaster }],
    };
  }
}
