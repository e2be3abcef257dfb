// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Reason} from "./IPaymentVault.sol";
import {IEpochFence, IExactPermit2Proxy, ITransfers} from "./ITransfers.sol";

/// @title Direct transfers
/// @notice Executes many signed payments from payers straight to payees in one transaction: EIP-3009 authorizations, and
/// Permit2 through the canonical x402 proxy. Nothing passes through this contract and it has no balance, no allowance
/// and no role anywhere: whoever takes it over can execute what payers have signed, which anyone can do anyway.
///
/// States: operating ⇄ frozen. The guardian freezes; only the governor unfreezes.
///
/// Isolation: each item is a call of its own with bounded gas whose answer is never copied. An item that fails emits its
/// reason and costs the others nothing; that includes an authorization that a third party has executed first, which is
/// always possible with `transferWithAuthorization`: the payee is paid, and the relayer finds the other transaction.
///
/// Why only relayers may call, though anyone may execute an authorization: reasons in the logs are acted on, so nobody
/// else may write them; factories are called from here, so that must not become a stranger's call; and the epoch means
/// something only where its owner is known.
///
/// The epoch is not kept here but read from the vault: one transaction of a promoted region fences both contracts, and
/// there is no moment at which only one of them is fenced.
contract Transfers is ITransfers, AccessControlDefaultAdminRules, ReentrancyGuardTransient {
    bytes32 public constant RELAYER_ROLE = keccak256("RELAYER_ROLE");
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    bytes32 public constant GOVERNOR_ROLE = keccak256("GOVERNOR_ROLE");

    /// As in the vault: USDC takes 46,000 for a key and up to 75,000 with a Safe's ERC-1271 check.
    uint256 public constant TRANSFER_ITEM_GAS = 150_000;
    /// Permit2 and the proxy add 20,000 to a transferFrom, a wallet's signature as above.
    uint256 public constant PERMIT2_ITEM_GAS = 200_000;
    /// Simple accounts take 170,000 to deploy, a Safe with modules 350,000.
    uint256 public constant DEPLOYMENT_GAS = 800_000;
    /// Gas of one question while a failure is classified.
    uint256 private constant QUERY_GAS = 30_000;
    /// EIP-150 keeps 1/64 back, and the reason and its log must be payable after an item.
    uint256 private constant TRANSFER_GAS_NEEDED = 212_400; // 150,000 * 64/63 + 60,000
    uint256 private constant PERMIT2_GAS_NEEDED = 273_200; // 200,000 * 64/63 + 70,000
    uint256 private constant DEPLOYMENT_GAS_NEEDED = 812_700; // 800,000 * 64/63

    uint256 private constant TRANSFER_HEADER = 98;
    uint256 private constant PERMIT2_HEADER = 96;

    bytes32 private constant TRANSFER_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    struct Item {
        address payer;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore; // Permit2: last second of validity
        bytes32 nonce;
        address to;
    }

    /// Whose `minEpoch` counts.
    IEpochFence public immutable fence;
    /// Zero where the chain has none: `permit2` then reverts.
    IExactPermit2Proxy private immutable _permit2Proxy;

    bool private _frozen;
    mapping(address factory => bool) private _walletFactories;

    constructor(
        address admin,
        uint48 adminDelaySeconds,
        address guardian,
        address governor,
        IEpochFence fence_,
        IExactPermit2Proxy proxy,
        address[] memory relayers
    ) AccessControlDefaultAdminRules(adminDelaySeconds, admin) {
        fence_.minEpoch(); // no fence, no contract
        fence = fence_;
        _permit2Proxy = proxy;
        _grantRole(GUARDIAN_ROLE, guardian);
        _grantRole(GOVERNOR_ROLE, governor);
        for (uint256 i = 0; i < relayers.length; ++i) {
            _grantRole(RELAYER_ROLE, relayers[i]);
        }
    }

    modifier operating(uint64 epoch) {
        _checkOperating(epoch);
        _;
    }

    function _checkOperating(uint64 epoch) private view {
        if (_frozen) revert TransfersAreFrozen();
        uint64 least = fence.minEpoch();
        if (epoch < least) revert StaleEpoch(epoch, least);
    }

    // ------------------------------------------------------------------------------------------------ EIP-3009

    /// @notice Executes each authorization. An item with a deployment has its payer's wallet deployed first (ERC-6492),
    /// when it has no code and the factory is on the list.
    function transfer(address token, uint64 epoch, bytes calldata items)
        external
        nonReentrant
        onlyRole(RELAYER_ROLE)
        operating(epoch)
    {
        if (token.code.length == 0) revert NotAContract(token);
        (uint256 count, uint256 amount) = _transferAll(token, items);
        emit Transferred(token, count, amount);
    }

    function _transferAll(address token, bytes calldata items) private returns (uint256 count, uint256 amount) {
        bytes memory frame = new bytes(292); // of the 65-byte form: 4 + 9 * 32
        uint256 at;
        uint256 index;
        while (at < items.length) {
            uint256 next = at + TRANSFER_HEADER;
            if (next > items.length) revert MalformedItems();
            uint256 length;
            uint256 deployment;
            assembly ("memory-safe") {
                let word := calldataload(add(add(items.offset, at), 66))
                length := and(shr(16, word), 0xffff)
                deployment := and(word, 0xffff)
            }
            next += length + deployment;
            if (next > items.length) revert MalformedItems();
            if (gasleft() < TRANSFER_GAS_NEEDED + (deployment == 0 ? 0 : DEPLOYMENT_GAS_NEEDED)) {
                revert InsufficientGas(index);
            }
            uint8 reason;
            if (deployment != 0) {
                reason = _deploy(address(bytes20(items[at:at + 20])), items[next - deployment:next]);
            }
            if (reason == 0) {
                (bool success, uint256 value) = _transferOne(token, items[at:next - deployment], frame);
                if (success) {
                    unchecked {
                        ++count;
                        amount += value; // 96 bits each
                    }
                } else {
                    reason = _reasonOfTransfer(token, items[at:next - deployment]);
                }
            }
            if (reason != 0) {
                emit TransferFailed(
                    address(bytes20(items[at:at + 20])), bytes32(items[at + 42:at + 74]), index, reason
                );
            }
            at = next;
            unchecked {
                ++index;
            }
        }
    }

    function _transferOne(address token, bytes calldata item, bytes memory frame)
        private
        returns (bool success, uint256 value)
    {
        address self = address(this);
        assembly ("memory-safe") {
            let from := item.offset
            let word := calldataload(from)
            let times := calldataload(add(from, 32))
            let to := shr(96, calldataload(add(from, 74)))
            let size := sub(item.length, 98)
            value := and(word, 0xffffffffffffffffffffffff)
            let at := add(frame, 32)
            let used := 292
            if iszero(eq(size, 65)) {
                // An ERC-1271 wallet's signature has any length. Beyond the free pointer, and nothing is allocated before the call.
                at := mload(0x40)
                used := add(260, and(add(size, 31), not(31)))
            }
            // transferWithAuthorization with (…,uint8,bytes32,bytes32) and with (…,bytes)
            mstore(at, shl(224, xor(0xe3ee160e, mul(xor(0xe3ee160e, 0xcf092995), iszero(eq(size, 65))))))
            mstore(add(at, 4), shr(96, word))
            mstore(add(at, 36), to)
            mstore(add(at, 68), value)
            mstore(add(at, 100), shr(216, times))
            mstore(add(at, 132), and(shr(176, times), 0xffffffffff))
            calldatacopy(add(at, 164), add(from, 42), 32)
            switch size
            case 65 {
                mstore(add(at, 196), byte(0, calldataload(add(from, 162))))
                calldatacopy(add(at, 228), add(from, 98), 64)
            }
            default {
                mstore(add(at, 196), 0xe0)
                mstore(add(at, 228), size)
                calldatacopy(add(at, 260), add(from, 98), size)
                mstore(add(add(at, 260), size), 0)
            }
            // To this contract nothing may go: it could never leave again.
            if iszero(eq(to, self)) {
                success := call(TRANSFER_ITEM_GAS, token, 0, at, used, 0, 32)
                // USDC answers nothing; a token that answers must answer true. At most one word is copied.
                success := and(success, or(iszero(returndatasize()), and(gt(returndatasize(), 31), eq(mload(0), 1))))
            }
        }
    }

    /// 0, or why nothing was called. What the factory does is not judged here: afterwards the wallet signs or it does not.
    function _deploy(address wallet, bytes calldata deployment) private returns (uint8) {
        if (wallet.code.length != 0) return 0;
        if (deployment.length < 20) return Reason.MALFORMED;
        address factory = address(bytes20(deployment[:20]));
        if (!_walletFactories[factory]) return Reason.NOT_ALLOWED;
        bytes memory data = deployment[20:];
        assembly ("memory-safe") {
            pop(call(DEPLOYMENT_GAS, factory, 0, add(data, 32), mload(data), 0, 0))
        }
        return 0;
    }

    function _header(bytes calldata item) private pure returns (Item memory) {
        return Item({
            payer: address(bytes20(item[0:20])),
            value: uint96(bytes12(item[20:32])),
            validAfter: uint40(bytes5(item[32:37])),
            validBefore: uint40(bytes5(item[37:42])),
            nonce: bytes32(item[42:74]),
            to: address(bytes20(item[74:94]))
        });
    }

    /// Asks the token what it would have objected to, in the token's own order of checks. Texts of reverts differ between
    /// tokens and may be a bomb; state is standard.
    function _reasonOfTransfer(address token, bytes calldata item) private view returns (uint8) {
        Item memory it = _header(item);
        if (it.to == address(this)) return Reason.MALFORMED;
        if (block.timestamp <= it.validAfter) return Reason.AUTHORIZATION_NOT_YET_VALID;
        if (block.timestamp >= it.validBefore) return Reason.AUTHORIZATION_EXPIRED;
        if (_ask(token, abi.encodeWithSignature("authorizationState(address,bytes32)", it.payer, it.nonce)) == 1) {
            return Reason.AUTHORIZATION_USED;
        }
        bool byKey = it.payer.code.length == 0;
        if (byKey && !_signedByKey(token, it, item[TRANSFER_HEADER:])) return Reason.INVALID_SIGNATURE;
        uint8 reason = _reasonOfToken(token, it);
        if (reason != 0) return reason;
        // A wallet's ERC-1271 answer is not asked for a second time: everything else is in order.
        return byKey ? Reason.TRANSFER_FAILED : Reason.INVALID_SIGNATURE;
    }

    /// What speaks against any movement of this money; 0 when nothing is found.
    function _reasonOfToken(address token, Item memory it) private view returns (uint8) {
        if (_ask(token, abi.encodeWithSignature("paused()")) == 1) return Reason.TOKEN_PAUSED;
        if (_ask(token, abi.encodeWithSignature("isBlacklisted(address)", it.payer)) == 1) return Reason.BLACKLISTED;
        if (_ask(token, abi.encodeWithSignature("isBlacklisted(address)", it.to)) == 1) return Reason.BLACKLISTED;
        if (_ask(token, abi.encodeWithSignature("balanceOf(address)", it.payer)) < it.value) {
            return Reason.INSUFFICIENT_FUNDS;
        }
        return 0;
    }

    function _signedByKey(address token, Item memory it, bytes calldata signature) private view returns (bool) {
        bytes32 domain = bytes32(_ask(token, abi.encodeWithSignature("DOMAIN_SEPARATOR()")));
        // No domain to check against: the signature is not what can be blamed.
        if (domain == bytes32(type(uint256).max)) return true;
        if (signature.length != 65) return false;
        bytes32 inner = keccak256(
            abi.encode(TRANSFER_TYPEHASH, it.payer, it.to, it.value, it.validAfter, it.validBefore, it.nonce)
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", domain, inner));
        address signer =
            ecrecover(digest, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));
        return signer != address(0) && signer == it.payer;
    }

    /// A view call's first word, or all ones when there is no answer (never equal to 1, never below a value).
    function _ask(address where, bytes memory question) private view returns (uint256 answer) {
        assembly ("memory-safe") {
            let success := staticcall(QUERY_GAS, where, add(question, 32), mload(question), 0, 32)
            answer := not(0)
            if and(success, gt(returndatasize(), 31)) { answer := mload(0) }
        }
    }

    // ------------------------------------------------------------------------------------------------- Permit2

    /// @notice Executes each permit through the canonical x402 proxy, which moves the owner's tokens to the payee that the
    /// owner signed for.
    function permit2(address token, uint64 epoch, bytes calldata items)
        external
        nonReentrant
        onlyRole(RELAYER_ROLE)
        operating(epoch)
    {
        if (token.code.length == 0) revert NotAContract(token);
        if (address(_permit2Proxy).code.length == 0) revert NotAContract(address(_permit2Proxy));
        uint256 at;
        uint256 index;
        while (at < items.length) {
            uint256 next = at + PERMIT2_HEADER;
            if (next > items.length) revert MalformedItems();
            next += uint16(bytes2(items[next - 2:next]));
            if (next > items.length) revert MalformedItems();
            if (gasleft() < PERMIT2_GAS_NEEDED) revert InsufficientGas(index);
            Item memory it = _header(items[at:next]);
            uint256 nonce = uint256(it.nonce);
            if (_permit2One(token, it, items[at + PERMIT2_HEADER:next])) {
                emit Permit2Transferred(it.payer, nonce, token, it.to, it.value);
            } else {
                emit Permit2Failed(it.payer, nonce, index, _reasonOfPermit2(token, it));
            }
            at = next;
            unchecked {
                ++index;
            }
        }
    }

    function _permit2One(address token, Item memory it, bytes calldata signature) private returns (bool success) {
        if (it.to == address(this)) return false;
        bytes memory call_ = abi.encodeCall(
            IExactPermit2Proxy.settle,
            (
                IExactPermit2Proxy.PermitTransferFrom(
                    IExactPermit2Proxy.TokenPermissions(token, it.value), uint256(it.nonce), it.validBefore
                ),
                it.payer,
                IExactPermit2Proxy.Witness(it.to, it.validAfter),
                signature
            )
        );
        address proxy = address(_permit2Proxy);
        assembly ("memory-safe") {
            success := call(PERMIT2_ITEM_GAS, proxy, 0, add(call_, 32), mload(call_), 0, 0)
        }
    }

    function _reasonOfPermit2(address token, Item memory it) private view returns (uint8) {
        if (it.to == address(this)) return Reason.MALFORMED;
        if (block.timestamp < it.validAfter) return Reason.AUTHORIZATION_NOT_YET_VALID;
        if (block.timestamp > it.validBefore) return Reason.AUTHORIZATION_EXPIRED;
        address permit2_ = _permit2Proxy.PERMIT2();
        uint256 nonce = uint256(it.nonce);
        uint256 word = _ask(permit2_, abi.encodeWithSignature("nonceBitmap(address,uint256)", it.payer, nonce >> 8));
        if (word & (1 << (nonce & 0xff)) != 0) return Reason.AUTHORIZATION_USED;
        if (_ask(token, abi.encodeWithSignature("allowance(address,address)", it.payer, permit2_)) < it.value) {
            return Reason.ALLOWANCE_REQUIRED;
        }
        uint8 reason = _reasonOfToken(token, it);
        // Nothing else is left that Permit2 or the proxy checks.
        return reason == 0 ? Reason.INVALID_SIGNATURE : reason;
    }

    // ---------------------------------------------------------------------------------------------- governance

    /// @notice A factory on the list is called by this contract with data that a payer chose: list only factories that
    /// do nothing but deploy wallets.
    function setWalletFactory(address factory, bool allowed) external onlyRole(GOVERNOR_ROLE) {
        if (allowed && factory.code.length == 0) revert NotAContract(factory);
        _walletFactories[factory] = allowed;
        emit WalletFactorySet(factory, allowed);
    }

    function freeze() external onlyRole(GUARDIAN_ROLE) {
        if (_frozen) revert TransfersAreFrozen();
        _frozen = true;
        emit Frozen(msg.sender);
    }

    function unfreeze() external onlyRole(GOVERNOR_ROLE) {
        if (!_frozen) revert TransfersAreNotFrozen();
        _frozen = false;
        emit Unfrozen(msg.sender);
    }

    function walletFactory(address factory) external view returns (bool allowed) {
        return _walletFactories[factory];
    }

    function frozen() external view returns (bool) {
        return _frozen;
    }

    function minEpoch() external view returns (uint64) {
        return fence.minEpoch();
    }

    function permit2Proxy() external view returns (address) {
        return address(_permit2Proxy);
    }
}
