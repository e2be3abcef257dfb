// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Why one item of a batch failed. The numbers are those of `settlement.relayer.v1.IntentReason`, so that a
/// log needs no table on its way to a fact. They are part of the interface: never renumber, only add.
library Reason {
    uint8 internal constant MALFORMED = 6;
    uint8 internal constant AUTHORIZATION_EXPIRED = 7;
    uint8 internal constant AUTHORIZATION_NOT_YET_VALID = 8;
    uint8 internal constant AUTHORIZATION_USED = 9;
    uint8 internal constant INVALID_SIGNATURE = 10;
    uint8 internal constant INSUFFICIENT_FUNDS = 11;
    uint8 internal constant BLACKLISTED = 12;
    uint8 internal constant TOKEN_PAUSED = 13;
    uint8 internal constant CAP_EXCEEDED = 14;
    uint8 internal constant INSUFFICIENT_MERCHANT_BALANCE = 16;
    uint8 internal constant TRANSFER_FAILED = 17;
    uint8 internal constant DUPLICATE = 18;
    uint8 internal constant NOT_ALLOWED = 21;
    uint8 internal constant ALLOWANCE_REQUIRED = 26;
}

/// @notice Holds collected stablecoins per merchant and pays them out. See docs/services/payment-vault.md.
///
/// Packed call data (big endian, no padding), so that an item costs few bytes:
///
///   collect items   run*    run    = merchantKey:32 count:2 item{count}
///                           item   = payer:20 value:12 validAfter:5 validBefore:5 nonce:32 length:2 signature:length
///   settle payouts  run*    run    = merchantKey:32 count:2 payout{count}
///                           payout = to:20 amount:12
///   refund items    refund* refund = refundId:32 merchantKey:32 to:20 amount:12
///
/// The packed log fields `credits` and `debits` are entries of merchantKey:32 amount:16 count:2, one per run in which
/// something succeeded. The k-th successful item of the transaction is the k-th Transfer log of the token into
/// (out of) the vault; failed items announce themselves by index. So balances and the fate of each item follow from
/// logs alone.
interface IPaymentVault {
    event Collected(address indexed token, bytes credits);
    event CollectFailed(address indexed payer, bytes32 indexed nonce, uint256 index, uint8 reason);
    event Settled(bytes32 indexed batchId, address indexed token, bytes debits);
    event PayoutFailed(bytes32 indexed batchId, uint256 index, uint8 reason);
    event Refunded(
        bytes32 indexed refundId, bytes32 indexed merchantKey, address indexed token, address to, uint256 amount
    );
    event RefundFailed(bytes32 indexed refundId, uint256 index, uint8 reason);
    event Frozen(address indexed by);
    event Unfrozen(address indexed by);
    event MinEpochRaised(uint64 minEpoch);
    event TokenRulesSet(
        address indexed token, bool accepted, uint120 perTransactionMax, uint128 perWindowMax, uint40 windowSeconds
    );

    /// The guardian has frozen the vault: nothing moves until the governor unfreezes it.
    error VaultIsFrozen();
    error VaultIsNotFrozen();
    /// The caller acts for a region that has lost its epoch.
    error StaleEpoch(uint64 epoch, uint64 minEpoch);
    error EpochNotRaised(uint64 epoch, uint64 minEpoch);
    /// One call raises the epoch by at most `MAX_EPOCH_STEP`, lest a stolen key locks every region out for ever.
    error EpochStepTooLarge(uint64 epoch, uint64 minEpoch);
    error TokenNotAccepted(address token);
    /// The packed bytes do not end where the last item ends.
    error MalformedItems();
    /// Less gas left than the item may use: failing the item would blame the payer for the relayer's gas limit.
    error InsufficientGas(uint256 index);
    error BatchAlreadySettled(bytes32 batchId);
    /// The vault's token balance moved by something else than the transfers it asked for (a fee on transfer, a lie).
    error TokenNotConserved(address token, uint256 expected, uint256 actual);
    error TokenBalanceUnreadable(address token);
    error WindowTooShort(uint40 windowSeconds);

    function collect(address token, uint64 epoch, bytes calldata items) external;
    function settle(address token, uint64 epoch, bytes32 batchId, bytes calldata payouts) external;
    function refund(address token, uint64 epoch, bytes calldata refunds) external;

    function freeze() external;
    function unfreeze() external;
    function raiseMinEpoch(uint64 epoch) external;
    function setTokenRules(
        address token,
        bool accepted,
        uint120 perTransactionMax,
        uint128 perWindowMax,
        uint40 windowSeconds
    ) external;

    function merchantBalance(address token, bytes32 merchantKey) external view returns (uint256);
    function batchSettled(bytes32 batchId) external view returns (bool);
    function refundPaid(bytes32 refundId) external view returns (bool);
    function frozen() external view returns (bool);
    function minEpoch() external view returns (uint64);
    function tokenRules(address token)
        external
        view
        returns (bool accepted, uint120 perTransactionMax, uint128 perWindowMax, uint40 windowSeconds);
    function spentInWindow(address token) external view returns (uint256);
}
