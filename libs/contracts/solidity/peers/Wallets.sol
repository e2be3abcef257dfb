// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// Smart wallets for local chains: payers whose signature is checked by ERC-1271, deployed on the way by ERC-6492. Never
// deployed anywhere else.

/// A wallet whose one owner signs for it with a key: r ‖ s ‖ v over the hash that is asked about.
contract OwnedWallet {
    address public immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        // One byte more than a key's signature, as wallets put their validator in front: tokens must take any length.
        if (signature.length != 66) return 0xffffffff;
        address signer =
            ecrecover(digest, uint8(signature[65]), bytes32(signature[1:33]), bytes32(signature[33:65]));
        return signer != address(0) && signer == owner ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    function execute(address to, bytes calldata data) external {
        require(msg.sender == owner, "not the owner");
        (bool success, bytes memory answer) = to.call(data);
        if (!success) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}

contract OwnedWalletFactory {
    function create(address owner, bytes32 salt) external returns (address wallet) {
        wallet = addressOf(owner, salt);
        if (wallet.code.length == 0) new OwnedWallet{salt: salt}(owner);
    }

    function addressOf(address owner, bytes32 salt) public view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(OwnedWallet).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, code)))));
    }
}
