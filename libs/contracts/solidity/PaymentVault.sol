// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IPaymentVault, Reason} from "./IPaymentVault.sol";

/// @title Payment vault
/// @notice Collects signed EIP-3009 payments into one balance per merchant and token, pays merchants out in batches
/// and refunds payers. No proxy: a new version is a new address, and payers sign for that address.
///
/// States: operating ⇄ frozen. The guardian freezes; only the governor unfreezes.
///
/// Isolation: each item is a call of its own with bounded gas whose answer is never copied. An item that fails emits
/// its reason and costs the others nothing. What would make the *whole* call wrong (frozen, stale epoch, a batch id
/// seen before, a token that does not conserve) reverts.
///
/// Order of effects: inside `collect` and `settle` balances are written after the token calls of a run, because that
/// makes one storage write out of many. The transient guard covers every function that writes and every view that
/// reads balances, so no one can act on, or see, the state between.
///
/// Room left: batches above the cap with k-of-n approvals become a function of their own (`settle` answers
/// CAP_EXCEEDED for what exceeds it), payee delay becomes a check of `to` per run beside the balance check, and
/// merchants' own withdrawal reads the same `_accounts`.
contract PaymentVault is IPaymentVault, AccessControlDefaultAdminRules, ReentrancyGuardTransient {
    bytes32 public constant RELAYER_ROLE = keccak256("RELAYER_ROLE");
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    bytes32 public constant GOVERNOR_ROLE = keccak256("GOVERNOR_ROLE");
    bytes32 public constant EPOCH_ROLE = keccak256("EPOCH_ROLE");

    uint64 public constant MAX_EPOCH_STEP = 1024;

    /// Gas that one authorization may use. USDC takes 46,000 for a key and up to 75,000 with a Safe's ERC-1271 check;
    /// 100 hostile wallets that burn all of it still fit below EIP-7825's 16,777,216.
    uint256 public constant COLLECT_ITEM_GAS = 150_000;
    /// Gas that one transfer may use. USDC takes 34,000 to a new holder; 200 hostile ones still fit below EIP-7825.
    uint256 public constant PAYOUT_ITEM_GAS = 75_000;
    /// Gas of one question while a failure is classified.
    uint256 private constant QUERY_GAS = 30_000;
    /// EIP-150 keeps 1/64 of the gas back, and what follows an item (its log, the run's write, up to five questions)
    /// must be payable: an item starts only with this much beyond its own bound.
    uint256 private constant COLLECT_GAS_NEEDED = 202_400; // 150,000 * 64/63 + 50,000
    uint256 private constant PAYOUT_GAS_NEEDED = 126_200; // 75,000 * 64/63 + 50,000

    /// The rolling window is made of this many buckets and counts one more, so that whatever span of the window's
    /// length one looks at, it holds no more than the cap. The price: an amount leaves the count up to 1/12 late.
    uint256 private constant WINDOW_BUCKETS = 12;
    uint256 private constant RING = WINDOW_BUCKETS + 1;

    /// How a payout leaves the fast path of `settle`.
    uint8 private constant NONE = 0;
    uint8 private constant NO_ROOM = 1;
    uint8 private constant NO_GAS = 2;
    uint8 private constant NOT_TRANSFERRED = 3;

    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    struct TokenRules {
        bool accepted;
        uint120 perTransactionMax;
        uint128 perWindowMax;
    }

    struct Window {
        uint128 spent;
        uint40 lastBucket;
        uint40 bucketSeconds;
    }

    struct Bucket {
        uint128 id;
        uint128 amount;
    }

    bool private _frozen;
    uint64 private _minEpoch;

    mapping(address token => TokenRules) private _rules;
    mapping(address token => Window) private _windows;
    mapping(address token => Bucket[RING]) private _rings;
    /// Balance plus one, 0 for a merchant never credited. A slot that never returns to zero costs 5,000 gas to write
    /// instead of 22,100: a merchant's balance is emptied by every settlement and filled again the same day.
    mapping(address token => mapping(bytes32 merchantKey => uint256)) private _accounts;
    mapping(bytes32 batchId => bool) private _settled;
    mapping(bytes32 refundId => bool) private _refunded;

    constructor(
        address admin,
        uint48 adminDelaySeconds,
        address guardian,
        address governor,
        address epochKeeper,
        address[] memory relayers
    ) AccessControlDefaultAdminRules(adminDelaySeconds, admin) {
        _grantRole(GUARDIAN_ROLE, guardian);
        _grantRole(GOVERNOR_ROLE, governor);
        _grantRole(EPOCH_ROLE, epochKeeper);
        for (uint256 i = 0; i < relayers.length; ++i) {
            _grantRole(RELAYER_ROLE, relayers[i]);
        }
    }

    modifier operating(uint64 epoch) {
        _checkOperating(epoch);
        _;
    }

    function _checkOperating(uint64 epoch) private view {
        if (_frozen) revert VaultIsFrozen();
        if (epoch < _minEpoch) revert StaleEpoch(epoch, _minEpoch);
    }

    // ------------------------------------------------------------------------------------------------ collect

    /// @notice Takes each authorization's value into the vault and credits the run's merchant.
    /// Sort items by merchant: every run costs one storage write.
    function collect(address token, uint64 epoch, bytes calldata items)
        external
        nonReentrant
        onlyRole(RELAYER_ROLE)
        operating(epoch)
    {
        if (!_rules[token].accepted) revert TokenNotAccepted(token);
        uint256 balanceBefore = _ownBalance(token);
        uint256 total = _collectRuns(token, items);
        uint256 balanceAfter = _ownBalance(token);
        unchecked {
            // More than expected is somebody's gift; less is a fee on transfer or a lie.
            if (balanceAfter < balanceBefore + total) {
                revert TokenNotConserved(token, balanceBefore + total, balanceAfter);
            }
        }
    }

    function _collectRuns(address token, bytes calldata items) private returns (uint256 total) {
        mapping(bytes32 => uint256) storage accounts = _accounts[token];
        uint256 at;
        uint256 end;
        uint256 frame; // call frame of the 65-byte form: 4 + 9 * 32 bytes, in 320
        uint256 logAt; // the event's data: offset, length, packed credits
        uint256 tail; // where the next credit goes
        assembly ("memory-safe") {
            at := items.offset
            end := add(at, items.length)
            frame := mload(0x40)
            // receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)
            mstore(frame, shl(224, 0xef55bec6))
            mstore(add(frame, 36), address())
            logAt := add(frame, 320)
            tail := add(logAt, 64)
        }
        uint256 index;
        while (at < end) {
            bytes32 merchantKey;
            uint256 left;
            uint256 amount;
            uint256 credited;
            assembly ("memory-safe") {
                merchantKey := calldataload(at)
                left := shr(240, calldataload(add(at, 32)))
                at := add(at, 34)
            }
            while (left != 0) {
                if (gasleft() < COLLECT_GAS_NEEDED) revert InsufficientGas(index);
                uint256 item = at;
                bool success;
                assembly ("memory-safe") {
                    let word := calldataload(item)
                    let value := and(word, 0xffffffffffffffffffffffff)
                    let times := calldataload(add(item, 32))
                    let size := shr(240, calldataload(add(item, 74)))
                    at := add(add(item, 76), size)
                    switch size
                    case 65 {
                        mstore(add(frame, 4), shr(96, word))
                        mstore(add(frame, 68), value)
                        mstore(add(frame, 100), shr(216, times))
                        mstore(add(frame, 132), and(shr(176, times), 0xffffffffff))
                        calldatacopy(add(frame, 164), add(item, 42), 32)
                        mstore(add(frame, 196), byte(0, calldataload(add(item, 140))))
                        calldatacopy(add(frame, 228), add(item, 76), 64)
                        success := call(COLLECT_ITEM_GAS, token, 0, frame, 292, 0, 32)
                    }
                    default {
                        // An ERC-1271 wallet's signature has any length: the frame goes behind the credits.
                        let long := and(add(tail, 63), not(31))
                        // receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)
                        mstore(long, shl(224, 0x88b7ab63))
                        mstore(add(long, 4), shr(96, word))
                        mstore(add(long, 36), address())
                        mstore(add(long, 68), value)
                        mstore(add(long, 100), shr(216, times))
                        mstore(add(long, 132), and(shr(176, times), 0xffffffffff))
                        calldatacopy(add(long, 164), add(item, 42), 32)
                        mstore(add(long, 196), 0xe0)
                        mstore(add(long, 228), size)
                        calldatacopy(add(long, 260), add(item, 76), size)
                        mstore(add(add(long, 260), size), 0)
                        success := call(COLLECT_ITEM_GAS, token, 0, long, add(260, and(add(size, 31), not(31))), 0, 32)
                    }
                    // USDC answers nothing; a token that answers must answer true. At most one word is copied.
                    success :=
                        and(
                            success,
                            or(iszero(returndatasize()), and(gt(returndatasize(), 31), eq(mload(0), 1)))
                        )
                    amount := add(amount, mul(success, value)) // at most 65,535 items of 96 bits
                    credited := add(credited, success)
                }
                if (!success) _collectFailed(token, item, index);
                unchecked {
                    ++index;
                    --left;
                }
            }
            if (credited != 0) {
                unchecked {
                    uint256 stored = accounts[merchantKey];
                    accounts[merchantKey] = (stored == 0 ? 1 : stored) + amount;
                    total += amount;
                }
                assembly ("memory-safe") {
                    mstore(tail, merchantKey)
                    mstore(add(tail, 32), or(shl(128, amount), shl(112, credited)))
                    tail := add(tail, 50)
                }
            }
        }
        if (at != end) revert MalformedItems();
        bytes32 topic = Collected.selector;
        assembly ("memory-safe") {
            let size := sub(sub(tail, logAt), 64)
            if size {
                mstore(logAt, 32)
                mstore(add(logAt, 32), size)
                mstore(tail, 0)
                log2(logAt, add(64, and(add(size, 31), not(31))), topic, token)
            }
        }
    }

    function _collectFailed(address token, uint256 item, uint256 index) private {
        address payer;
        bytes32 nonce;
        assembly ("memory-safe") {
            payer := shr(96, calldataload(item))
            nonce := calldataload(add(item, 42))
            // The long frame may lie beyond the free pointer: nothing below allocates over what is still needed, since
            // the frame is rewritten per item and the pointer is restored.
        }
        uint8 reason = _reasonOfCollect(token, item, payer, nonce);
        bytes32 topic = CollectFailed.selector;
        assembly ("memory-safe") {
            mstore(0, index)
            mstore(32, reason)
            log3(0, 64, topic, payer, nonce)
        }
    }

    /// Asks the token what it would have objected to, in the token's own order of checks. Text of reverts differs between
    /// tokens and may be a bomb; state is standard. Uses scratch memory only: the caller's buffers lie at the free pointer.
    function _reasonOfCollect(address token, uint256 item, address payer, bytes32 nonce)
        private
        view
        returns (uint8)
    {
        uint256 validAfter;
        uint256 validBefore;
        uint256 value;
        assembly ("memory-safe") {
            value := and(calldataload(item), 0xffffffffffffffffffffffff)
            validAfter := shr(216, calldataload(add(item, 32)))
            validBefore := shr(216, calldataload(add(item, 37)))
        }
        if (block.timestamp <= validAfter) return Reason.AUTHORIZATION_NOT_YET_VALID;
        if (block.timestamp >= validBefore) return Reason.AUTHORIZATION_EXPIRED;
        // authorizationState(address,bytes32)
        if (_ask(token, 0xe94a0102, uint256(uint160(payer)), uint256(nonce), 68) == 1) {
            return Reason.AUTHORIZATION_USED;
        }
        if (payer.code.length == 0 && !_signedByKey(token, item, payer)) return Reason.INVALID_SIGNATURE;
        uint8 reason = _reasonOfTransfer(token, payer);
        if (reason != Reason.TRANSFER_FAILED) return reason;
        // balanceOf(address)
        if (_ask(token, 0x70a08231, uint256(uint160(payer)), 0, 36) < value) return Reason.INSUFFICIENT_FUNDS;
        // A wallet's ERC-1271 answer is not asked for a second time: everything else is in order.
        return payer.code.length == 0 ? Reason.TRANSFER_FAILED : Reason.INVALID_SIGNATURE;
    }

    function _reasonOfTransfer(address token, address other) private view returns (uint8) {
        // paused()
        if (_ask(token, 0x5c975abb, 0, 0, 4) == 1) return Reason.TOKEN_PAUSED;
        // isBlacklisted(address)
        if (_ask(token, 0xfe575a87, uint256(uint160(other)), 0, 36) == 1) return Reason.BLACKLISTED;
        if (_ask(token, 0xfe575a87, uint256(uint160(address(this))), 0, 36) == 1) return Reason.BLACKLISTED;
        return Reason.TRANSFER_FAILED;
    }

    /// A view call's first word, or all ones when there is no answer (never equal to 1, never below a value).
    function _ask(address token, uint32 selector, uint256 first, uint256 second, uint256 size)
        private
        view
        returns (uint256 answer)
    {
        assembly ("memory-safe") {
            // 68 bytes: 28..96 of the scratch space would touch the free pointer at 64, which is put back.
            let pointer := mload(0x40)
            mstore(0, selector)
            mstore(32, first)
            mstore(64, second)
            let success := staticcall(QUERY_GAS, token, 28, size, 0, 32)
            answer := not(0)
            if and(success, gt(returndatasize(), 31)) { answer := mload(0) }
            mstore(0x40, pointer)
        }
    }

    function _signedByKey(address token, uint256 item, address payer) private view returns (bool) {
        // DOMAIN_SEPARATOR()
        bytes32 domain = bytes32(_ask(token, 0x3644e515, 0, 0, 4));
        // No domain to check against: the signature is not what can be blamed.
        if (domain == bytes32(type(uint256).max)) return true;
        bytes32 typehash = RECEIVE_TYPEHASH;
        uint256 signer;
        uint256 size;
        assembly ("memory-safe") {
            // Far above every buffer of the caller: the batch's logs take less than a byte per byte of call data.
            let pointer := mload(0x40)
            let far := add(add(pointer, 1024), and(add(calldatasize(), 31), not(31)))
            mstore(far, typehash)
            mstore(add(far, 32), payer)
            mstore(add(far, 64), address())
            mstore(add(far, 96), and(calldataload(item), 0xffffffffffffffffffffffff))
            mstore(add(far, 128), shr(216, calldataload(add(item, 32))))
            mstore(add(far, 160), shr(216, calldataload(add(item, 37))))
            mstore(add(far, 192), calldataload(add(item, 42)))
            let structHash := keccak256(far, 224)
            mstore(far, shl(240, 0x1901))
            mstore(add(far, 2), domain)
            mstore(add(far, 34), structHash)
            mstore(far, keccak256(far, 66))
            size := shr(240, calldataload(add(item, 74)))
            mstore(add(far, 32), byte(0, calldataload(add(item, 140))))
            calldatacopy(add(far, 64), add(item, 76), 64)
            mstore(0, 0)
            pop(staticcall(QUERY_GAS, 1, far, 128, 0, 32))
            signer := mload(0)
        }
        return size == 65 && signer == uint256(uint160(payer)) && payer != address(0);
    }

    // ------------------------------------------------------------------------------------------------- settle

    /// @notice Pays a batch. The same batch id never pays twice; a payout that fails stays in its merchant's balance
    /// and goes into a batch of its own.
    function settle(address token, uint64 epoch, bytes32 batchId, bytes calldata payouts)
        external
        nonReentrant
        onlyRole(RELAYER_ROLE)
        operating(epoch)
    {
        if (_settled[batchId]) revert BatchAlreadySettled(batchId);
        _settled[batchId] = true;
        uint256 allowance = _outflowAllowance(token);
        uint256 balanceBefore = _ownBalance(token);
        uint256 total = _settleRuns(token, batchId, payouts, allowance);
        _checkOutflow(token, balanceBefore, total);
        _recordOutflow(token, total);
    }

    /// What a settlement carries from run to run. In memory, so that the stack is left to the loop over payouts.
    struct Progress {
        uint256 end;
        uint256 index; // of the run's first payout
        uint256 allowance;
        uint256 total;
        uint256 logAt; // the event's data: offset, length, packed debits
        uint256 tail; // where the next debit goes
        bytes32 merchantKey;
        uint256 runStart;
        uint256 stored; // balance plus one
        uint256 roomBefore;
        uint256 failures;
        bytes32 batchId;
    }

    function _settleRuns(address token, bytes32 batchId, bytes calldata payouts, uint256 allowance)
        private
        returns (uint256)
    {
        Progress memory p;
        uint256 at;
        uint256 frame; // transfer(address,uint256): 68 bytes, in 96
        assembly ("memory-safe") {
            at := payouts.offset
            mstore(p, add(at, payouts.length))
            frame := mload(0x40)
            mstore(frame, shl(224, 0xa9059cbb)) // clears the 12 bytes above the recipient, too
        }
        p.allowance = allowance;
        p.batchId = batchId;
        p.logAt = frame + 96;
        p.tail = frame + 160;
        while (at < p.end) {
            uint256 runEnd;
            uint256 room;
            {
                bytes32 merchantKey;
                assembly ("memory-safe") {
                    merchantKey := calldataload(at)
                    runEnd := shl(5, shr(240, calldataload(add(at, 32))))
                    at := add(at, 34)
                    runEnd := add(at, runEnd)
                }
                uint256 stored = _accounts[token][merchantKey];
                // One bound for both: what the merchant has, and what the caps still allow.
                room = stored == 0 ? 0 : stored - 1;
                if (room > p.allowance) room = p.allowance;
                (p.merchantKey, p.runStart, p.stored, p.roomBefore, p.failures) = (merchantKey, at, stored, room, 0);
            }
            while (at < runEnd) {
                uint8 failure = NONE;
                assembly ("memory-safe") {
                    // The path of a payout that succeeds, some 200 gas beside the token's own. It leaves the loop on any other.
                    for {} lt(at, runEnd) { at := add(at, 32) } {
                        let word := calldataload(at)
                        let amount := and(word, 0xffffffffffffffffffffffff)
                        if gt(amount, room) {
                            failure := NO_ROOM
                            break
                        }
                        if lt(gas(), PAYOUT_GAS_NEEDED) {
                            failure := NO_GAS
                            break
                        }
                        // The word is recipient and amount: written 12 bytes early, its amount is overwritten by the next line.
                        mstore(add(frame, 16), word)
                        mstore(add(frame, 36), amount)
                        // A transfer to the vault itself would take from the merchant and pay nobody.
                        if eq(shr(96, word), address()) {
                            failure := NOT_TRANSFERRED
                            break
                        }
                        if iszero(call(PAYOUT_ITEM_GAS, token, 0, frame, 68, 0, 32)) {
                            failure := NOT_TRANSFERRED
                            break
                        }
                        // A token that answers must answer true; one without an answer has not reverted.
                        if iszero(and(gt(returndatasize(), 31), eq(mload(0), 1))) {
                            if returndatasize() {
                                failure := NOT_TRANSFERRED
                                break
                            }
                        }
                        room := sub(room, amount)
                    }
                }
                if (failure != NONE) {
                    _payoutFailed(token, p, at, failure, room);
                    at += 32;
                }
            }
            _closeRun(token, p, at, room);
        }
        if (at != p.end) revert MalformedItems();
        _logSettled(token, p);
        return p.total;
    }

    function _closeRun(address token, Progress memory p, uint256 at, uint256 room) private {
        unchecked {
            uint256 count = (at - p.runStart) / 32;
            p.index += count;
            uint256 paidCount = count - p.failures;
            if (paidCount == 0) return;
            uint256 paid = p.roomBefore - room;
            _accounts[token][p.merchantKey] = p.stored - paid;
            p.allowance -= paid;
            p.total += paid;
            uint256 tail = p.tail;
            bytes32 merchantKey = p.merchantKey;
            assembly ("memory-safe") {
                mstore(tail, merchantKey)
                mstore(add(tail, 32), or(shl(128, paid), shl(112, paidCount)))
            }
            p.tail = tail + 50;
        }
    }

    function _logSettled(address token, Progress memory p) private {
        (uint256 logAt, uint256 tail, bytes32 batchId) = (p.logAt, p.tail, p.batchId);
        bytes32 topic = Settled.selector;
        assembly ("memory-safe") {
            let size := sub(sub(tail, logAt), 64)
            mstore(logAt, 32)
            mstore(add(logAt, 32), size)
            mstore(tail, 0)
            log3(logAt, add(64, and(add(size, 31), not(31))), topic, batchId, token)
        }
    }

    /// The word at `at` is the payout that failed; `room` is what was left before it.
    function _payoutFailed(address token, Progress memory p, uint256 at, uint8 failure, uint256 room) private {
        uint256 word;
        assembly ("memory-safe") {
            word := calldataload(at)
        }
        unchecked {
            uint256 index = p.index + (at - p.runStart) / 32;
            if (failure == NO_GAS) revert InsufficientGas(index);
            uint8 reason;
            if (failure == NO_ROOM) {
                // `stored` is balance plus one.
                bool tooMuch = uint96(word) + (p.roomBefore - room) >= p.stored;
                reason = tooMuch ? Reason.INSUFFICIENT_MERCHANT_BALANCE : Reason.CAP_EXCEEDED;
            } else {
                reason = _reasonOfTransfer(token, address(uint160(word >> 96)));
            }
            ++p.failures;
            bytes32 topic = PayoutFailed.selector;
            bytes32 batchId = p.batchId;
            assembly ("memory-safe") {
                // Scratch space only: the frame and the debits lie at the free pointer.
                mstore(0, index)
                mstore(32, reason)
                log2(0, 64, topic, batchId)
            }
        }
    }

    // ------------------------------------------------------------------------------------------------- refund

    /// @notice Pays back to payers from their merchants' balances. The same refund id never pays twice; one that failed
    /// may be tried again.
    function refund(address token, uint64 epoch, bytes calldata refunds)
        external
        nonReentrant
        onlyRole(RELAYER_ROLE)
        operating(epoch)
    {
        if (refunds.length % 96 != 0) revert MalformedItems();
        uint256 allowance = _outflowAllowance(token);
        uint256 balanceBefore = _ownBalance(token);
        uint256 total;
        for (uint256 at = 0; at < refunds.length; at += 96) {
            bytes32 refundId = bytes32(refunds[at:at + 32]);
            bytes32 merchantKey = bytes32(refunds[at + 32:at + 64]);
            address to = address(bytes20(refunds[at + 64:at + 84]));
            uint256 amount = uint96(bytes12(refunds[at + 84:at + 96]));
            if (gasleft() < PAYOUT_GAS_NEEDED) revert InsufficientGas(at / 96);
            uint8 reason = _refundOne(token, refundId, merchantKey, to, amount, allowance - total);
            if (reason == 0) {
                total += amount;
                emit Refunded(refundId, merchantKey, token, to, amount);
            } else {
                emit RefundFailed(refundId, at / 96, reason);
            }
        }
        _checkOutflow(token, balanceBefore, total);
        _recordOutflow(token, total);
    }

    /// 0, or why not.
    function _refundOne(
        address token,
        bytes32 refundId,
        bytes32 merchantKey,
        address to,
        uint256 amount,
        uint256 allowance
    ) private returns (uint8) {
        if (_refunded[refundId]) return Reason.DUPLICATE;
        uint256 stored = _accounts[token][merchantKey];
        if (amount >= stored) return Reason.INSUFFICIENT_MERCHANT_BALANCE;
        if (amount > allowance) return Reason.CAP_EXCEEDED;
        _refunded[refundId] = true;
        _accounts[token][merchantKey] = stored - amount;
        if (to != address(this) && _transfer(token, to, amount)) return 0;
        _refunded[refundId] = false;
        _accounts[token][merchantKey] = stored;
        return _reasonOfTransfer(token, to);
    }

    function _transfer(address token, address to, uint256 amount) private returns (bool success) {
        assembly ("memory-safe") {
            let frame := mload(0x40)
            mstore(frame, shl(224, 0xa9059cbb))
            mstore(add(frame, 4), to)
            mstore(add(frame, 36), amount)
            success := call(PAYOUT_ITEM_GAS, token, 0, frame, 68, 0, 32)
            success :=
                and(success, or(iszero(returndatasize()), and(gt(returndatasize(), 31), eq(mload(0), 1))))
        }
    }

    // --------------------------------------------------------------------------------------------------- caps

    function _outflowAllowance(address token) private view returns (uint256) {
        TokenRules memory rules = _rules[token];
        uint256 spent = _spentInWindow(token);
        uint256 free = spent < rules.perWindowMax ? rules.perWindowMax - spent : 0;
        return free < rules.perTransactionMax ? free : rules.perTransactionMax;
    }

    function _spentInWindow(address token) private view returns (uint256 spent) {
        Window memory window = _windows[token];
        if (window.bucketSeconds == 0) return 0;
        spent = window.spent;
        uint256 bucket = block.timestamp / window.bucketSeconds;
        uint256 last = window.lastBucket;
        if (bucket >= last + RING) return 0;
        // Buckets that were counted at `last` and are too old at `bucket`.
        for (uint256 id = last; id < bucket; ++id) {
            if (id < WINDOW_BUCKETS) continue;
            Bucket memory old = _rings[token][(id - WINDOW_BUCKETS) % RING];
            if (old.id == id - WINDOW_BUCKETS) spent -= old.amount;
        }
    }

    function _recordOutflow(address token, uint256 amount) private {
        if (amount == 0) return;
        Window storage window = _windows[token];
        uint256 bucket = block.timestamp / window.bucketSeconds;
        uint256 spent = _spentInWindow(token) + amount;
        Bucket storage entry = _rings[token][bucket % RING];
        uint256 already = entry.id == bucket ? entry.amount : 0;
        // Both are bounded by perWindowMax, a uint128.
        (entry.id, entry.amount) = (uint128(bucket), uint128(already + amount));
        (window.spent, window.lastBucket) = (uint128(spent), uint40(bucket));
    }

    /// The vault never loses more than it debited.
    function _checkOutflow(address token, uint256 balanceBefore, uint256 total) private view {
        uint256 balanceAfter = _ownBalance(token);
        if (balanceAfter + total < balanceBefore) {
            revert TokenNotConserved(token, balanceBefore - total, balanceAfter);
        }
    }

    function _ownBalance(address token) private view returns (uint256 held) {
        bool answered;
        assembly ("memory-safe") {
            mstore(0, 0x70a08231)
            mstore(32, address())
            // Two statements: Yul evaluates arguments from the right, and the size is known after the call only.
            answered := staticcall(gas(), token, 28, 36, 0, 32)
            answered := and(answered, gt(returndatasize(), 31))
            held := mload(0)
        }
        if (!answered) revert TokenBalanceUnreadable(token);
    }

    // ---------------------------------------------------------------------------------------------- governance

    function freeze() external onlyRole(GUARDIAN_ROLE) {
        if (_frozen) revert VaultIsFrozen();
        _frozen = true;
        emit Frozen(msg.sender);
    }

    function unfreeze() external onlyRole(GOVERNOR_ROLE) {
        if (!_frozen) revert VaultIsNotFrozen();
        _frozen = false;
        emit Unfrozen(msg.sender);
    }

    function raiseMinEpoch(uint64 epoch) external onlyRole(EPOCH_ROLE) {
        uint64 current = _minEpoch;
        if (epoch <= current) revert EpochNotRaised(epoch, current);
        if (epoch - current > MAX_EPOCH_STEP) revert EpochStepTooLarge(epoch, current);
        _minEpoch = epoch;
        emit MinEpochRaised(epoch);
    }

    /// @notice `accepted` opens `collect` only: merchants are paid out of a token that is no longer accepted. A cap of 0
    /// stops the outflow. Changing the window's length keeps what was spent, counted as if it were spent now.
    function setTokenRules(
        address token,
        bool accepted,
        uint120 perTransactionMax,
        uint128 perWindowMax,
        uint40 windowSeconds
    ) external nonReentrant onlyRole(GOVERNOR_ROLE) {
        if (windowSeconds < WINDOW_BUCKETS) revert WindowTooShort(windowSeconds);
        _ownBalance(token); // not a token, not a rule
        uint40 bucketSeconds = uint40((uint256(windowSeconds) + WINDOW_BUCKETS - 1) / WINDOW_BUCKETS);
        Window storage window = _windows[token];
        if (bucketSeconds != window.bucketSeconds) {
            uint256 spent = _spentInWindow(token);
            delete _rings[token];
            window.bucketSeconds = bucketSeconds;
            window.spent = 0;
            _recordOutflow(token, spent);
        }
        _rules[token] = TokenRules(accepted, perTransactionMax, perWindowMax);
        emit TokenRulesSet(token, accepted, perTransactionMax, perWindowMax, windowSeconds);
    }

    // -------------------------------------------------------------------------------------------------- views

    /// @notice Minor units of `token` that the vault owes the merchant. Reverts inside a token's callback.
    function merchantBalance(address token, bytes32 merchantKey) external view nonReentrantView returns (uint256) {
        uint256 stored = _accounts[token][merchantKey];
        return stored == 0 ? 0 : stored - 1;
    }

    function batchSettled(bytes32 batchId) external view returns (bool) {
        return _settled[batchId];
    }

    function refundPaid(bytes32 refundId) external view returns (bool) {
        return _refunded[refundId];
    }

    function frozen() external view returns (bool) {
        return _frozen;
    }

    function minEpoch() external view returns (uint64) {
        return _minEpoch;
    }

    function tokenRules(address token)
        external
        view
        returns (bool accepted, uint120 perTransactionMax, uint128 perWindowMax, uint40 windowSeconds)
    {
        TokenRules memory rules = _rules[token];
        return (
            rules.accepted,
            rules.perTransactionMax,
            rules.perWindowMax,
            uint40(uint256(_windows[token].bucketSeconds) * WINDOW_BUCKETS)
        );
    }

    /// @notice What counts against the rolling cap now.
    function spentInWindow(address token) external view returns (uint256) {
        return _spentInWindow(token);
    }
}
