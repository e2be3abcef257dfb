/**
 * What `invalidReason` and `errorReason` can say. Clients compare these strings, so the words are those that the x402 SDK's
 * own facilitator answers (npm @x402/evm 2.27), not those of the specification's text, which differ.
 */
export const SDK_REASONS = {
  assetNotDeployed: 'asset_not_deployed_contract',
  invalidScheme: 'invalid_exact_evm_scheme',
  networkMismatch: 'invalid_exact_evm_network_mismatch',
  missingDomain: 'invalid_exact_evm_missing_eip712_domain',
  recipientMismatch: 'invalid_exact_evm_recipient_mismatch',
  invalidSignature: 'invalid_exact_evm_signature',
  validBefore: 'invalid_exact_evm_payload_authorization_valid_before',
  validAfter: 'invalid_exact_evm_payload_authorization_valid_after',
  /** Version 1. */
  authorizationValue: 'invalid_exact_evm_authorization_value',
  /** Version 2. */
  valueMismatch: 'invalid_exact_evm_payload_authorization_value_mismatch',
  transactionFailed: 'invalid_exact_evm_transaction_failed',
  tokenNameMismatch: 'invalid_exact_evm_token_name_mismatch',
  tokenVersionMismatch: 'invalid_exact_evm_token_version_mismatch',
  eip3009NotSupported: 'invalid_exact_evm_eip3009_not_supported',
  nonceUsed: 'invalid_exact_evm_nonce_already_used',
  insufficientBalance: 'invalid_exact_evm_insufficient_balance',
  simulationFailed: 'invalid_exact_evm_transaction_simulation_failed',
  factoryNotAllowed: 'eip6492_factory_not_allowed',
  walletDeploymentFailed: 'smart_wallet_deployment_failed',
  unsupportedPayload: 'unsupported_payload_type',
  permit2Spender: 'invalid_permit2_spender',
  permit2Recipient: 'invalid_permit2_recipient_mismatch',
  permit2Deadline: 'permit2_deadline_expired',
  permit2NotYetValid: 'permit2_not_yet_valid',
  permit2Amount: 'permit2_amount_mismatch',
  permit2Token: 'permit2_token_mismatch',
  permit2Signature: 'invalid_permit2_signature',
  permit2Allowance: 'permit2_allowance_required',
  permit2SimulationFailed: 'permit2_simulation_failed',
  permit2Balance: 'permit2_insufficient_balance',
  permit2ProxyMissing: 'permit2_proxy_not_deployed',
  permit2Nonce: 'permit2_invalid_nonce',
  /** Broadcast or about to be: the outcome is open. Post the identical payload again. */
  pending: 'settlement_pending',
} as const;

/** Where the SDK's facilitator throws instead of answering. Words of the protocol's version 1, which has them for this. */
export const PROTOCOL_REASONS = {
  invalidVersion: 'invalid_x402_version',
  unsupportedScheme: 'unsupported_scheme',
  invalidNetwork: 'invalid_network',
  invalidPayload: 'invalid_payload',
  invalidRequirements: 'invalid_payment_requirements',
} as const;

/** Refusals that the SDK does not know: what this facilitator asks for beside the chain. Documented in docs/x402.md. */
export const OWN_REASONS = {
  screeningRejected: 'screening_rejected',
  screeningHold: 'screening_hold',
  sponsorBudget: 'sponsor_budget_exceeded',
  sponsorRefused: 'sponsor_refused',
  relayRefused: 'relay_refused',
  /** Nothing was sent, nothing will be: post the identical payload again later. Comes with HTTP 503. */
  unavailable: 'facilitator_unavailable',
  identifierInvalid: 'payment_identifier_invalid',
  identifierConflict: 'payment_identifier_conflict',
  unsupportedAsset: 'unsupported_asset',
  unsupportedAuthorization: 'unsupported_authorization',
  permit2NotOffered: 'permit2_not_offered',
} as const;
