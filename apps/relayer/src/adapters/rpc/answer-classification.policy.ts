import type { BroadcastOutcome, RefusalReason } from '../../ports/broadcaster';

/** All that can come back from one attempt to hand bytes to a node. */
export type NodeAnswer =
  | { readonly kind: 'result' }
  /** A JSON-RPC error. There is no agreed code for most of them, so its text decides. */
  | { readonly kind: 'error'; readonly code: number; readonly message: string }
  /** An HTTP answer that is no JSON-RPC: something between us and the node spoke. */
  | { readonly kind: 'http'; readonly status: number }
  /** `not-sent`: no connection stood. `in-doubt`: timeout, reset, half an answer. */
  | { readonly kind: 'transport'; readonly sent: 'not-sent' | 'in-doubt'; readonly why: string };

export type NodeClient = 'geth' | 'reth' | 'erigon' | 'nethermind' | 'besu' | 'anvil' | 'gateway';

type Meaning = 'already-known' | 'nonce-used' | RefusalReason;

export interface Wording {
  /** Lower case. The answer is this, or begins with it and goes on with a delimiter (figures, a hash). */
  readonly text: string;
  readonly meaning: Meaning;
  readonly clients: readonly NodeClient[];
  /** Where the clients define it: repository-relative paths. */
  readonly source: string;
}

const GETH_POOL = 'go-ethereum core/txpool/errors.go';
const GETH_CORE = 'go-ethereum core/error.go';
const RETH = 'reth crates/rpc/rpc-eth-types/src/error/mod.rs';
const ERIGON = 'erigon txnprovider/txpool/txpoolcfg/txpoolcfg.go';
const NETHERMIND = 'nethermind src/Nethermind/Nethermind.TxPool/TxPoolErrorMessages.cs';
const NETHERMIND_CODES = 'nethermind src/Nethermind/Nethermind.TxPool/AcceptTxResult.cs before the phrases were aligned with geth';
const NETHERMIND_TX = 'nethermind src/Nethermind/Nethermind.Core/Messages/TxErrorMessages.cs';
const BESU = 'besu ethereum/api/src/main/java/org/hyperledger/besu/ethereum/api/jsonrpc/internal/response/RpcErrorType.java';
const ANVIL = 'foundry crates/anvil/src/eth/error.rs';

/**
 * What nodes say to `eth_sendRawTransaction`, and what it means. Compared with the beginning of the text, never with its
 * middle: a contract's revert reason may quote any of these.
 */
export const WORDINGS: readonly Wording[] = [
  { text: 'already known', meaning: 'already-known', clients: ['geth', 'reth', 'erigon', 'nethermind'], source: `${GETH_POOL}; ${RETH}; ${ERIGON}; ${NETHERMIND}` },
  { text: 'existing txn with same hash', meaning: 'already-known', clients: ['erigon'], source: ERIGON },
  { text: 'alreadyknown', meaning: 'already-known', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'known transaction', meaning: 'already-known', clients: ['besu', 'geth'], source: `${BESU}; go-ethereum before 1.9.8` },
  { text: 'transaction already imported', meaning: 'already-known', clients: ['anvil'], source: ANVIL },

  { text: 'nonce too low', meaning: 'nonce-used', clients: ['geth', 'reth', 'erigon', 'nethermind', 'besu', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${ERIGON}; ${NETHERMIND}; ${BESU}; ${ANVIL}` },
  { text: 'oldnonce', meaning: 'nonce-used', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'mined', meaning: 'nonce-used', clients: ['erigon'], source: ERIGON },

  { text: 'replacement transaction underpriced', meaning: 'REPLACEMENT_UNDERPRICED', clients: ['geth', 'reth', 'erigon', 'nethermind', 'besu', 'anvil'], source: `${GETH_POOL}; ${RETH}; ${ERIGON}; ${NETHERMIND}; ${BESU}; ${ANVIL}` },
  { text: 'could not replace existing tx', meaning: 'REPLACEMENT_UNDERPRICED', clients: ['erigon'], source: ERIGON },
  { text: 'replacementnotallowed', meaning: 'REPLACEMENT_UNDERPRICED', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'future transaction tries to replace pending', meaning: 'REPLACEMENT_UNDERPRICED', clients: ['geth'], source: GETH_POOL },

  { text: 'transaction underpriced', meaning: 'FEE_TOO_LOW', clients: ['geth', 'reth', 'nethermind'], source: `${GETH_POOL}; ${RETH}; ${NETHERMIND}` },
  { text: 'underpriced', meaning: 'FEE_TOO_LOW', clients: ['erigon'], source: ERIGON },
  { text: 'fee too low', meaning: 'FEE_TOO_LOW', clients: ['erigon'], source: ERIGON },
  { text: 'feetoolow', meaning: 'FEE_TOO_LOW', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'feetoolowtocompete', meaning: 'FEE_TOO_LOW', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'max fee per gas less than block base fee', meaning: 'FEE_TOO_LOW', clients: ['geth', 'reth', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${ANVIL}` },
  { text: 'transaction gas price below minimum', meaning: 'FEE_TOO_LOW', clients: ['geth'], source: 'go-ethereum core/txpool/errors.go (ErrTxGasPriceTooLow)' },
  { text: 'transaction priority fee below minimum required priority fee', meaning: 'FEE_TOO_LOW', clients: ['reth'], source: RETH },
  { text: 'gas price below configured minimum gas price', meaning: 'FEE_TOO_LOW', clients: ['besu'], source: BESU },
  { text: 'gas price below current base fee', meaning: 'FEE_TOO_LOW', clients: ['besu'], source: BESU },

  { text: 'tx fee', meaning: 'FEE_ABOVE_NODE_CAP', clients: ['geth', 'reth', 'erigon'], source: `go-ethereum internal/ethapi/api.go; ${RETH}; erigon rpc/jsonrpc/send_transaction.go` },
  { text: 'transaction fee cap exceeded', meaning: 'FEE_ABOVE_NODE_CAP', clients: ['besu'], source: BESU },

  { text: 'insufficient funds for gas * price + value', meaning: 'INSUFFICIENT_FUNDS', clients: ['geth', 'reth', 'nethermind', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${NETHERMIND}; ${ANVIL}` },
  { text: 'insufficient funds for transfer', meaning: 'INSUFFICIENT_FUNDS', clients: ['geth', 'reth', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${ANVIL}` },
  { text: 'insufficient funds', meaning: 'INSUFFICIENT_FUNDS', clients: ['erigon'], source: ERIGON },
  { text: 'insufficientfunds', meaning: 'INSUFFICIENT_FUNDS', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'upfront cost exceeds account balance', meaning: 'INSUFFICIENT_FUNDS', clients: ['besu'], source: BESU },

  { text: 'nonce too high', meaning: 'NONCE_TOO_HIGH', clients: ['geth', 'reth', 'nethermind', 'besu', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${NETHERMIND}; ${BESU}; ${ANVIL}` },
  { text: 'noncegap', meaning: 'NONCE_TOO_HIGH', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'nonce too far in future', meaning: 'NONCE_TOO_HIGH', clients: ['nethermind'], source: NETHERMIND },
  { text: 'transaction nonce is too distant from current sender nonce', meaning: 'NONCE_TOO_HIGH', clients: ['besu'], source: BESU },
  { text: 'an invalid transaction with a lower nonce exists', meaning: 'NONCE_TOO_HIGH', clients: ['besu'], source: BESU },

  { text: 'transaction gas limit too high', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['geth'], source: 'go-ethereum core/error.go (ErrGasLimitTooHigh, EIP-7825)' },
  { text: 'exceeds block gas limit', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['geth', 'reth'], source: `${GETH_POOL}; ${RETH}` },
  { text: 'exceeds max transaction gas limit', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['reth'], source: RETH },
  { text: 'gas limit too high', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['reth'], source: RETH },
  { text: 'gas limit is too high', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['erigon'], source: ERIGON },
  { text: 'gas limit reached', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['geth', 'nethermind'], source: `${GETH_CORE}; ${NETHERMIND}` },
  { text: 'gaslimitexceeded', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['nethermind'], source: NETHERMIND_CODES },
  { text: 'txgaslimitcapexceeded', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['nethermind'], source: NETHERMIND_TX },
  { text: 'transaction gas limit exceeds block gas limit', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['besu'], source: BESU },
  { text: 'transaction gas limit is greater than the block gas limit', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['anvil'], source: ANVIL },
  { text: 'intrinsic gas too high', meaning: 'GAS_LIMIT_TOO_HIGH', clients: ['anvil', 'reth'], source: `${ANVIL}; ${RETH}` },

  { text: 'intrinsic gas too low', meaning: 'INTRINSIC_GAS_TOO_LOW', clients: ['geth', 'reth', 'nethermind', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${NETHERMIND_TX}; ${ANVIL}` },
  { text: 'intrinsicgas', meaning: 'INTRINSIC_GAS_TOO_LOW', clients: ['erigon'], source: ERIGON },
  { text: 'intrinsic gas exceeds gas limit', meaning: 'INTRINSIC_GAS_TOO_LOW', clients: ['besu'], source: BESU },
  { text: 'insufficient gas for floor data gas cost', meaning: 'INTRINSIC_GAS_TOO_LOW', clients: ['geth'], source: 'go-ethereum core/error.go (ErrFloorDataGas, EIP-7623)' },

  { text: 'txpool is full', meaning: 'POOL_FULL', clients: ['geth', 'reth'], source: `go-ethereum core/txpool/legacypool/legacypool.go; ${RETH}` },
  { text: 'pending sub-pool is full', meaning: 'POOL_FULL', clients: ['erigon'], source: ERIGON },
  { text: 'basefee sub-pool is full', meaning: 'POOL_FULL', clients: ['erigon'], source: ERIGON },
  { text: 'queued sub-pool is full', meaning: 'POOL_FULL', clients: ['erigon'], source: ERIGON },
  { text: 'account limit exceeded', meaning: 'ACCOUNT_LIMIT', clients: ['geth'], source: GETH_POOL },
  { text: 'spammer', meaning: 'ACCOUNT_LIMIT', clients: ['erigon'], source: ERIGON },
  { text: 'address already reserved', meaning: 'ACCOUNT_LIMIT', clients: ['geth', 'reth'], source: `${GETH_POOL}; ${RETH}` },
  { text: 'pending transaction type conflict', meaning: 'ACCOUNT_LIMIT', clients: ['nethermind'], source: NETHERMIND },

  { text: 'in-flight transaction limit reached for delegated accounts', meaning: 'DELEGATED_IN_FLIGHT_LIMIT', clients: ['geth'], source: 'go-ethereum core/txpool/errors.go (ErrInflightTxLimitReached)' },
  { text: 'gapped-nonce tx from delegated accounts', meaning: 'DELEGATED_IN_FLIGHT_LIMIT', clients: ['geth'], source: 'go-ethereum core/txpool/legacypool/legacypool.go' },
  { text: 'delegation nonce gap', meaning: 'DELEGATED_IN_FLIGHT_LIMIT', clients: ['nethermind'], source: NETHERMIND },
  { text: 'delegation authority has pending transaction', meaning: 'DELEGATED_IN_FLIGHT_LIMIT', clients: ['nethermind'], source: NETHERMIND },

  { text: 'invalid sender', meaning: 'INVALID_SIGNATURE', clients: ['geth', 'reth', 'erigon'], source: `${GETH_POOL}; ${RETH}; ${ERIGON}` },
  { text: 'invalid transaction signature', meaning: 'INVALID_SIGNATURE', clients: ['reth'], source: RETH },
  { text: 'failed to recover sender', meaning: 'INVALID_SIGNATURE', clients: ['nethermind'], source: NETHERMIND },
  { text: 'invalidtxsignature', meaning: 'INVALID_SIGNATURE', clients: ['nethermind'], source: NETHERMIND_TX },
  { text: 'invalid signature', meaning: 'INVALID_SIGNATURE', clients: ['besu'], source: BESU },
  { text: 'sender not an eoa', meaning: 'SENDER_NOT_EOA', clients: ['geth', 'nethermind', 'anvil'], source: `${GETH_CORE}; ${NETHERMIND}; ${ANVIL}` },
  { text: 'sender is not an eoa', meaning: 'SENDER_NOT_EOA', clients: ['reth'], source: RETH },

  { text: 'invalid chain id', meaning: 'WRONG_CHAIN', clients: ['reth', 'erigon', 'anvil'], source: `${RETH}; erigon rpc/jsonrpc/send_transaction.go; ${ANVIL}` },
  { text: 'invalid sender: invalid chain id for signer', meaning: 'WRONG_CHAIN', clients: ['geth'], source: 'go-ethereum core/types/transaction_signing.go' },
  { text: 'invalidtxchainid', meaning: 'WRONG_CHAIN', clients: ['nethermind'], source: NETHERMIND_TX },
  { text: 'wrong chainid', meaning: 'WRONG_CHAIN', clients: ['besu'], source: BESU },

  { text: 'failed to decode transaction', meaning: 'MALFORMED', clients: ['anvil'], source: ANVIL },
  { text: 'failed to decode signed transaction', meaning: 'MALFORMED', clients: ['reth'], source: RETH },
  { text: 'empty transaction data', meaning: 'MALFORMED', clients: ['reth', 'anvil'], source: `${RETH}; ${ANVIL}` },
  { text: 'max priority fee per gas higher than max fee per gas', meaning: 'MALFORMED', clients: ['geth', 'reth', 'anvil'], source: `${GETH_CORE}; ${RETH}; ${ANVIL}` },
  { text: 'max priority fee per gas exceeds max fee per gas', meaning: 'MALFORMED', clients: ['besu'], source: BESU },
  { text: 'transaction type not supported', meaning: 'MALFORMED', clients: ['geth', 'reth'], source: `go-ethereum core/types/transaction.go; ${RETH}` },
  { text: 'invalid transaction type', meaning: 'MALFORMED', clients: ['besu'], source: BESU },
  { text: 'oversized data', meaning: 'TOO_LARGE', clients: ['geth', 'reth', 'erigon'], source: `${GETH_POOL}; ${RETH}; ${ERIGON}` },
  { text: 'transaction too large', meaning: 'TOO_LARGE', clients: ['nethermind'], source: NETHERMIND },

  { text: 'execution reverted', meaning: 'REVERTED', clients: ['geth', 'reth', 'besu', 'anvil'], source: `go-ethereum core/vm/errors.go; ${RETH}; ${BESU}; ${ANVIL}` },
  { text: 'node is syncing', meaning: 'NODE_SYNCING', clients: ['nethermind'], source: NETHERMIND },
  { text: 'initial sync is still in progress', meaning: 'NODE_SYNCING', clients: ['besu'], source: BESU },
  { text: 'transaction pool not enabled', meaning: 'NODE_SYNCING', clients: ['besu'], source: BESU },
  { text: 'method not found', meaning: 'METHOD_UNAVAILABLE', clients: ['besu', 'reth', 'anvil'], source: `JSON-RPC 2.0, 5.1; ${BESU}` },
  { text: 'the method eth_sendrawtransaction does not exist/is not available', meaning: 'METHOD_UNAVAILABLE', clients: ['geth', 'erigon'], source: 'go-ethereum rpc/errors.go' },
  { text: 'too many requests', meaning: 'RATE_LIMITED', clients: ['gateway'], source: 'RFC 6585, 4' },
  { text: 'rate limit exceeded', meaning: 'RATE_LIMITED', clients: ['gateway'], source: 'hosted endpoints; EIP-1474 code -32005' },
  { text: 'limit exceeded', meaning: 'RATE_LIMITED', clients: ['gateway'], source: 'EIP-1474, code -32005' },
];

/** Erigon sends `RESULT_NAME: text` (rpc/jsonrpc/send_transaction.go; the names are those of its txpool.proto). */
const ERIGON_PREFIX = /^(?:ALREADY_EXISTS|FEE_TOO_LOW|STALE|INVALID|INTERNAL_ERROR): /;

/** What may follow a known text: figures, a hash, a detail. A letter would make it another word. */
const DELIMITER = /^[\s:;,.([-]/;

/** Longest first, so that "invalid sender: invalid chain id" is not taken for a bad signature. */
const LONGEST_FIRST: readonly Wording[] = [...WORDINGS].sort((a, b) => b.text.length - a.text.length);

function wordingOf(message: string): Wording | undefined {
  const text = message.trim().replace(ERIGON_PREFIX, '').toLowerCase();
  return LONGEST_FIRST.find((it) => text === it.text || (text.startsWith(it.text) && DELIMITER.test(text.slice(it.text.length))));
}

/** HTTP answers from before any node: 401, 403, 404, 405, 413, 415 (RFC 9110, 15.5). Others may come from behind one. */
const NOT_FORWARDED: ReadonlySet<number> = new Set([401, 403, 404, 405, 413, 415]);

/** A node's answer as an outcome. What is not known to mean something means `unknown`, which the chain resolves. Pure. */
export function classify(answer: NodeAnswer): BroadcastOutcome {
  switch (answer.kind) {
    case 'result':
      return { outcome: 'accepted' };
    case 'transport':
      return answer.sent === 'not-sent' ? { outcome: 'refused', reason: 'UNREACHABLE', why: answer.why } : { outcome: 'unknown', why: answer.why };
    case 'http': {
      const why = `HTTP ${answer.status}`;
      // RFC 6585: the server did not process the request.
      if (answer.status === 429) return { outcome: 'refused', reason: 'RATE_LIMITED', why };
      return NOT_FORWARDED.has(answer.status) ? { outcome: 'refused', reason: 'ENDPOINT_REFUSED', why } : { outcome: 'unknown', why };
    }
    case 'error': {
      const why = `${answer.message.slice(0, 300)} (${answer.code})`;
      const wording = wordingOf(answer.message);
      if (wording === undefined) return { outcome: 'unknown', why };
      if (wording.meaning === 'already-known') return { outcome: 'already-known' };
      if (wording.meaning === 'nonce-used') return { outcome: 'nonce-used', why };
      return { outcome: 'refused', reason: wording.meaning, why };
    }
  }
}

/** Most telling first: who has the bytes, then what may be, then what is used up, then who does not want them. */
const RANK: Readonly<Record<BroadcastOutcome['outcome'], number>> = { accepted: 0, 'already-known': 1, unknown: 2, 'nonce-used': 3, refused: 4 };

/**
 * One outcome of several endpoints' for the same bytes. One that has them suffices. Else, one that may have them makes it
 * unknown: a refusal elsewhere proves nothing about it. Else a used nonce. Refused only when all refuse; the reason is the
 * first endpoint's that has one beyond not being there.
 */
export function mergeOutcomes(outcomes: readonly BroadcastOutcome[]): BroadcastOutcome {
  const sorted = [...outcomes].sort((a, b) => RANK[a.outcome] - RANK[b.outcome]);
  const [first] = sorted;
  if (first === undefined) return { outcome: 'refused', reason: 'UNREACHABLE', why: 'no endpoint is available' };
  if (first.outcome !== 'refused') return first;
  return outcomes.find((it) => it.outcome === 'refused' && !ABSENT.has(it.reason)) ?? first;
}

const ABSENT: ReadonlySet<RefusalReason> = new Set(['UNREACHABLE', 'RATE_LIMITED', 'ENDPOINT_REFUSED', 'METHOD_UNAVAILABLE', 'NODE_SYNCING']);
