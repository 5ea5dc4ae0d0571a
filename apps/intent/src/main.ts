/**
 * The process of the intent with the project's modules.
 * It must only start it.
 */
import { openIntentSchema } from '@kedge/intent-schema';

import { runIntent } from './intent-process.js';

await runIntent(({ modules: directory }) => openIntentSchema(directory === undefined ? {} : { directory }));
