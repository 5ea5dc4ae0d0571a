/**
 * The front door of the soak; `npm run soak` is its command.
 * It must not be used by anything that is shipped.
 */
export { judgeOrders, type Offence, type Order, type Sight } from './judge-orders.js';
export { type ActName, actsOf, type PlannedAct } from './plan.js';
export { soak, type SoakOptions, type SoakReport } from './soak.js';
