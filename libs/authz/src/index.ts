/**
 * Who may ask for what: the authorisation table behind the Authoriser contract.
 * It must not know how a request reached the appliance; channel and tier come in as proven facts.
 */
export {
  DEFAULT_AUTHORITY,
  type DeescalationAuthority,
  type LoosenRule,
  SECOND_FACTOR_MAX_AGE_MS,
  tableAuthoriser,
} from './authorisation-table.js';
