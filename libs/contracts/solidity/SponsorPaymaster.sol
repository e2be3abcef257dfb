// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymaster} from "@account-abstraction/contracts/interfaces/IPaymaster.sol";
import {IStakeManager} from "@account-abstraction/contracts/interfaces/IStakeManager.sol";
import {PackedUserOperation} from "@account-abstraction/contracts/interfaces/PackedUserOperation.sol";
import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Sponsor paymaster
/// @notice Pays for user operations whose terms our signer has signed. One contract per entry point; v0.7 and v0.8 call it
/// alike. See docs/services/sponsor-paymaster.md and libs/chain/src/sponsor-paymaster.ts, which has the same layout.
///
/// What is signed: who (sender, nonce), what (hashes of init code and call data), where (chain, paymaster, entry point), until
/// when, and a maximum of every gas field and of the whole cost. Gas fields are capped and not fixed, because bundlers and
/// wallets adjust them after the signature; without a cap whoever sends the operation chooses what the sponsor pays: a large
/// preVerificationGas goes straight to the bundler, a large unused limit costs a tenth of it.
///
/// paymasterAndData: paymaster:20 verificationGasLimit:16 postOpGasLimit:16, then
///   validUntil:6 validAfter:6 sponsorshipKey:32 sponsorKey:32
///   verificationGas:8 callGas:8 preVerificationGas:8 paymasterVerificationGas:8 paymasterPostOpGas:8 fee:8 priorityFee:8
///   cost:16 signature:65
///
/// Each sponsorship is used once: it binds the sender's nonce, which the entry point spends.
///
/// It reads its own storage while it validates and returns a context, so ERC-7562 wants it staked.
contract SponsorPaymaster is IPaymaster, AccessControlDefaultAdminRules, EIP712 {
    bytes32 public constant GOVERNOR_ROLE = keccak256("GOVERNOR_ROLE");
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    bytes32 public constant TREASURY_ROLE = keccak256("TREASURY_ROLE");

    /// `postOp` takes 6,000; with less than this it could run out of gas, and the sponsor would pay for an operation that is
    /// undone and leaves no log here.
    uint256 public constant POST_OP_GAS_MIN = 20_000;
    /// What the entry point does after it has told `postOp` the cost so far, beside the limits that are counted below.
    uint256 private constant ENTRY_POINT_GAS = 15_000;

    uint256 private constant DATA_AT = 52;
    uint256 private constant SIGNATURE_AT = 200; // 52 + 148
    uint256 private constant LENGTH = 265; // 200 + 65

    bytes32 private constant SPONSORSHIP_TYPEHASH = keccak256(
        "Sponsorship(bytes32 sponsorshipKey,bytes32 sponsorKey,address entryPoint,address sender,uint256 nonce,bytes32 initCodeHash,bytes32 callDataHash,"
        "uint48 validUntil,uint48 validAfter,uint64 verificationGasMax,uint64 callGasMax,uint64 preVerificationGasMax,uint64 paymasterVerificationGasMax,"
        "uint64 paymasterPostOpGasMax,uint64 feePerGasMax,uint64 priorityFeePerGasMax,uint128 costMax)"
    );

    /// The gas fields in the order in which their caps are signed.
    enum Field {
        VerificationGasLimit,
        CallGasLimit,
        PreVerificationGas,
        PaymasterVerificationGasLimit,
        PaymasterPostOpGasLimit,
        MaxFeePerGas,
        MaxPriorityFeePerGas
    }

    struct Context {
        bytes32 sponsorshipKey;
        bytes32 sponsorKey;
        address sender;
        uint256 maxCost;
        uint256 laterGas;
    }

    /// What the sponsor is charged: `actualGasCost` is what the entry point had counted when `postOp` ran; `costAtMost` bounds
    /// what it takes in the end, this call and the penalty for unused gas included. Its own event has the exact figure.
    event Sponsored(
        bytes32 indexed sponsorshipKey,
        bytes32 indexed sponsorKey,
        address indexed sender,
        uint256 actualGasCost,
        uint256 costAtMost
    );
    event SignerSet(address indexed signer, uint48 until);
    event CostPerOperationMaxSet(uint128 costMax);
    event Paused(address indexed by);
    event Unpaused(address indexed by);

    error NotEntryPoint(address caller);
    error PaymasterIsPaused();
    error PaymasterIsNotPaused();
    error MalformedPaymasterData(uint256 length);
    error NoEnd();
    error CapExceeded(Field field, uint256 value, uint256 cap);
    error PostOpGasTooLow(uint256 limit);
    error CostExceeded(uint256 maxCost, uint256 cap);
    error NoSigner();

    IStakeManager public immutable entryPoint;

    bool private _paused;
    uint128 private _costPerOperationMax;
    /// Until when a key's signatures count; 0 for a key that is no signer. Two keys overlap while one takes over.
    mapping(address signer => uint48 until) private _signers;

    constructor(
        IStakeManager entryPoint_,
        address admin,
        uint48 adminDelaySeconds,
        address governor,
        address guardian,
        address treasury,
        address signer,
        uint128 costPerOperationMax_
    ) AccessControlDefaultAdminRules(adminDelaySeconds, admin) EIP712("SponsorPaymaster", "1") {
        entryPoint_.balanceOf(address(this)); // no entry point, no paymaster
        entryPoint = entryPoint_;
        _grantRole(GOVERNOR_ROLE, governor);
        _grantRole(GUARDIAN_ROLE, guardian);
        _grantRole(TREASURY_ROLE, treasury);
        _setSigner(signer, type(uint48).max);
        _setCostPerOperationMax(costPerOperationMax_);
    }

    modifier onlyEntryPoint() {
        if (msg.sender != address(entryPoint)) revert NotEntryPoint(msg.sender);
        _;
    }

    // ---------------------------------------------------------------------------------------------- validation

    /// @inheritdoc IPaymaster
    /// @dev Reverts (AA33) name what is wrong; a wrong signature is answered as such, so that estimates with a stub pass.
    function validatePaymasterUserOp(PackedUserOperation calldata userOp, bytes32, uint256 maxCost)
        external
        view
        onlyEntryPoint
        returns (bytes memory context, uint256 validationData)
    {
        if (_paused) revert PaymasterIsPaused();
        bytes calldata data = userOp.paymasterAndData;
        if (data.length != LENGTH) revert MalformedPaymasterData(data.length);
        uint48 validUntil = uint48(bytes6(data[DATA_AT:58]));
        if (validUntil == 0) revert NoEnd();
        _checkCaps(userOp, data[128:184]);
        uint256 costMax = uint128(bytes16(data[184:200]));
        if (costMax > _costPerOperationMax) costMax = _costPerOperationMax;
        if (maxCost > costMax) revert CostExceeded(maxCost, costMax);

        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(getHash(userOp), data[SIGNATURE_AT:]);
        uint48 signerUntil = problem == ECDSA.RecoverError.NoError ? _signers[signer] : 0;
        if (signerUntil != 0 && signerUntil < validUntil) validUntil = signerUntil;
        // aggregator (1: signature failed) ‖ validUntil ‖ validAfter, as ERC-4337 packs it.
        validationData = (signerUntil == 0 ? 1 : 0) | (uint256(validUntil) << 160)
            | (uint256(uint48(bytes6(data[58:64]))) << 208);
        uint256 postOpGas = uint128(bytes16(data[36:52]));
        context = abi.encode(
            Context({
                sponsorshipKey: bytes32(data[64:96]),
                sponsorKey: bytes32(data[96:128]),
                sender: userOp.sender,
                maxCost: maxCost,
                laterGas: postOpGas + uint128(uint256(userOp.accountGasLimits)) / 10 + ENTRY_POINT_GAS
            })
        );
    }

    function _checkCaps(PackedUserOperation calldata userOp, bytes calldata caps) private pure {
        bytes calldata data = userOp.paymasterAndData;
        uint256 postOpGas = uint128(bytes16(data[36:52]));
        if (postOpGas < POST_OP_GAS_MIN) revert PostOpGasTooLow(postOpGas);
        _checkCap(Field.VerificationGasLimit, uint256(userOp.accountGasLimits) >> 128, caps);
        _checkCap(Field.CallGasLimit, uint128(uint256(userOp.accountGasLimits)), caps);
        _checkCap(Field.PreVerificationGas, userOp.preVerificationGas, caps);
        _checkCap(Field.PaymasterVerificationGasLimit, uint128(bytes16(data[20:36])), caps);
        _checkCap(Field.PaymasterPostOpGasLimit, postOpGas, caps);
        _checkCap(Field.MaxFeePerGas, uint128(uint256(userOp.gasFees)), caps);
        _checkCap(Field.MaxPriorityFeePerGas, uint256(userOp.gasFees) >> 128, caps);
    }

    function _checkCap(Field field, uint256 value, bytes calldata caps) private pure {
        uint256 at = uint256(field) * 8;
        uint256 cap = uint64(bytes8(caps[at:at + 8]));
        if (value > cap) revert CapExceeded(field, value, cap);
    }

    /// @notice What the signer signs for this operation with the terms that its `paymasterAndData` holds.
    function getHash(PackedUserOperation calldata userOp) public view returns (bytes32) {
        bytes calldata data = userOp.paymasterAndData;
        bytes memory caps = abi.encode(
            uint64(bytes8(data[128:136])),
            uint64(bytes8(data[136:144])),
            uint64(bytes8(data[144:152])),
            uint64(bytes8(data[152:160])),
            uint64(bytes8(data[160:168])),
            uint64(bytes8(data[168:176])),
            uint64(bytes8(data[176:184])),
            uint128(bytes16(data[184:200]))
        );
        bytes memory subject = abi.encode(
            SPONSORSHIP_TYPEHASH,
            bytes32(data[64:96]),
            bytes32(data[96:128]),
            address(entryPoint),
            userOp.sender,
            userOp.nonce,
            keccak256(userOp.initCode),
            keccak256(userOp.callData),
            uint48(bytes6(data[DATA_AT:58])),
            uint48(bytes6(data[58:64]))
        );
        return _hashTypedDataV4(keccak256(bytes.concat(subject, caps)));
    }

    /// @inheritdoc IPaymaster
    function postOp(PostOpMode, bytes calldata context, uint256 actualGasCost, uint256 actualUserOpFeePerGas)
        external
        onlyEntryPoint
    {
        Context memory it = abi.decode(context, (Context));
        uint256 atMost = actualGasCost + it.laterGas * actualUserOpFeePerGas;
        emit Sponsored(
            it.sponsorshipKey, it.sponsorKey, it.sender, actualGasCost, atMost < it.maxCost ? atMost : it.maxCost
        );
    }

    // ---------------------------------------------------------------------------------------------- governance

    /// @notice `until` is the last second at which the key's signatures count: `type(uint48).max` for a new key, a near time
    /// for the one that it takes over from, 0 at once for a stolen one.
    function setSigner(address signer, uint48 until) external onlyRole(GOVERNOR_ROLE) {
        _setSigner(signer, until);
    }

    function _setSigner(address signer, uint48 until) private {
        if (signer == address(0)) revert NoSigner();
        _signers[signer] = until;
        emit SignerSet(signer, until);
    }

    function setCostPerOperationMax(uint128 costMax) external onlyRole(GOVERNOR_ROLE) {
        _setCostPerOperationMax(costMax);
    }

    function _setCostPerOperationMax(uint128 costMax) private {
        _costPerOperationMax = costMax;
        emit CostPerOperationMaxSet(costMax);
    }

    function pause() external onlyRole(GUARDIAN_ROLE) {
        if (_paused) revert PaymasterIsPaused();
        _paused = true;
        emit Paused(msg.sender);
    }

    function unpause() external onlyRole(GOVERNOR_ROLE) {
        if (!_paused) revert PaymasterIsNotPaused();
        _paused = false;
        emit Unpaused(msg.sender);
    }

    // ------------------------------------------------------------------------------------------------ treasury

    /// @notice Anyone may pay in; only the treasury takes out.
    function deposit() external payable {
        entryPoint.depositTo{value: msg.value}(address(this));
    }

    function withdrawTo(address payable to, uint256 amount) external onlyRole(TREASURY_ROLE) {
        entryPoint.withdrawTo(to, amount);
    }

    function addStake(uint32 unstakeDelaySeconds) external payable onlyRole(TREASURY_ROLE) {
        entryPoint.addStake{value: msg.value}(unstakeDelaySeconds);
    }

    function unlockStake() external onlyRole(TREASURY_ROLE) {
        entryPoint.unlockStake();
    }

    function withdrawStake(address payable to) external onlyRole(TREASURY_ROLE) {
        entryPoint.withdrawStake(to);
    }

    // --------------------------------------------------------------------------------------------------- views

    function paused() external view returns (bool) {
        return _paused;
    }

    function signerUntil(address signer) external view returns (uint48) {
        return _signers[signer];
    }

    function costPerOperationMax() external view returns (uint128) {
        return _costPerOperationMax;
    }

    function getDeposit() external view returns (uint256) {
        return entryPoint.balanceOf(address(this));
    }
}
