/**
 * Who may ask for what: policies behind the Authoriser contract, decided by Cedar.
 * It must not know how a request reached the appliance; channel and tier come in as proven facts.
 */
export { type Asking, askingSchema, requestOf } from './asking.js';
export { BUILT_IN_TIGHTENING } from './built-in.js';
export type { Candidate, PolicySet } from './candidate.js';
export { compiledEngine, engineRequest, type Fault, loadEngine, type Policy } from './cedar.js';
export {
  DEFAULT_AUTHORITY,
  type DeescalationAuthority,
  type LoosenRule,
  TIGHTEST_AUTHORITY,
} from './deescalation.js';
export { type AuthoriserOptions, type Explanation, PolicyAuthoriser } from './policy-authoriser.js';
export { type KeeperOptions, PolicyKeeper } from './policy-keeper.js';
export { authorisationSchema, policySourceOf, type PolicySource, SHIPPED_SETS } from './policy-source.js';
export { type PolicyTestResult, type PolicyTests, readPolicyTests, runPolicyTests } from './policy-tests.js';
export { slimmed } from './slim-request.js';
export { faultText, passed, tryPolicies } from './trial.js';
