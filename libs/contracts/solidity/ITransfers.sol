// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Direct payments: from the payer straight to the payee, many in one transaction. See docs/services/transfers.md.
///
/// Packed call data (big endian, no padding):
///
///   transfer items   item* item = payer:20 value:12 validAfter:5 validBefore:5 nonce:32 to:20 length:2 deployment:2
///                                 signature:length [factory:20 factoryData:deployment-20]
///   permit2 items    item* item = owner:20 value:12 validAfter:5 deadline:5 nonce:32 to:20 length:2 signature:length
///
/// An executed EIP-3009 item is proved by the token's own AuthorizationUsed log. Permit2 logs nothing that names a payment,
/// so an executed Permit2 item has a log of this contract. Failed items announce themselves by index.
interface ITransfers {
    /// One for each `transfer` call: what its executed items come to.
    event Transferred(address indexed token, uint256 count, uint256 amount);
    event TransferFailed(address indexed payer, bytes32 indexed nonce, uint256 index, uint8 reason);
    event Permit2Transferred(address indexed owner, uint256 indexed nonce, address token, address to, uint256 amount);
    event Permit2Failed(address indexed owner, uint256 indexed nonce, uint256 index, uint8 reason);
    event WalletFactorySet(address indexed factory, bool allowed);
    event Frozen(address indexed by);
    event Unfrozen(address indexed by);

    error TransfersAreFrozen();
    error TransfersAreNotFrozen();
    /// The caller acts for a region that has lost its epoch.
    error StaleEpoch(uint64 epoch, uint64 minEpoch);
    /// A call to an address without code succeeds and moves nothing.
    error NotAContract(address where);
    error MalformedItems();
    /// Less gas left than the item may use: failing it would blame the payer for the relayer's gas limit.
    error InsufficientGas(uint256 index);

    function transfer(address token, uint64 epoch, bytes calldata items) external;
    function permit2(address token, uint64 epoch, bytes calldata items) external;

    function setWalletFactory(address factory, bool allowed) external;
    function freeze() external;
    function unfreeze() external;

    function walletFactory(address factory) external view returns (bool allowed);
    function frozen() external view returns (bool);
    function minEpoch() external view returns (uint64);
    function permit2Proxy() external view returns (address);
}

/// @notice Whatever knows the epoch below which a region's transactions must revert: the payment vault.
interface IEpochFence {
    function minEpoch() external view returns (uint64);
}

/// @notice The canonical x402 proxy of Permit2, as far as it is called here. Who calls it does not matter: the payee stands
/// in what the owner signed.
interface IExactPermit2Proxy {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct Witness {
        address to;
        uint256 validAfter;
    }

    function settle(
        PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external;

    function PERMIT2() external view returns (address);
}
