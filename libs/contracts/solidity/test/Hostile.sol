// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault} from "../IPaymentVault.sol";

enum Mood {
    Honest,
    SaysNothing,
    SaysFalse,
    Reverts,
    FeeFromRecipient,
    FeeFromSender,
    MovesNothing,
    MovesAndSaysFalse,
    ReturnBomb,
    BurnsGas,
    Reenters
}

/// A token of every bad habit. It checks no signature: who signed is USDC's business, what the vault does is the test's.
contract HostileToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(bytes32 => bool)) public authorizationState;
    Mood public mood;
    IPaymentVault public vault;
    bytes public attack;
    bool public attackSucceeded;
    bool public readDuringCall;

    function setMood(Mood next) external {
        mood = next;
    }

    function setAttack(IPaymentVault target, bytes calldata data) external {
        (vault, attack) = (target, data);
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32 nonce,
        uint8,
        bytes32,
        bytes32
    ) external {
        require(!authorizationState[from][nonce], "used");
        authorizationState[from][nonce] = true;
        _move(from, to, value);
        _answer(false);
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32 nonce,
        uint8,
        bytes32,
        bytes32
    ) external {
        require(!authorizationState[from][nonce], "used");
        authorizationState[from][nonce] = true;
        _move(from, to, value);
        _answer(false);
    }

    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
        _answer(true);
    }

    function _move(address from, address to, uint256 value) private {
        if (mood == Mood.Reverts) revert("no");
        if (mood == Mood.MovesNothing || mood == Mood.SaysFalse) return;
        require(balanceOf[from] >= value, "poor");
        uint256 fee = value / 100 + 1;
        balanceOf[from] -= mood == Mood.FeeFromSender ? value + fee : value;
        balanceOf[to] += mood == Mood.FeeFromRecipient ? value - fee : value;
    }

    function _answer(bool transfers) private {
        if (mood == Mood.ReturnBomb) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (mood == Mood.BurnsGas) {
            while (true) {}
        }
        if (mood == Mood.Reenters) {
            (attackSucceeded,) = address(vault).call(attack);
            (readDuringCall,) =
                address(vault).call(abi.encodeCall(IPaymentVault.merchantBalance, (address(this), bytes32(0))));
        }
        if (mood == Mood.SaysFalse || mood == Mood.MovesAndSaysFalse) {
            assembly {
                mstore(0, 0)
                return(0, 32)
            }
        }
        if (mood == Mood.SaysNothing || !transfers) return;
        assembly {
            mstore(0, 1)
            return(0, 32)
        }
    }
}

/// An ERC-1271 wallet that answers as told.
contract Wallet {
    uint8 public immutable habit;

    constructor(uint8 habit_) {
        habit = habit_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (habit == 1) return 0xffffffff;
        if (habit == 2) {
            while (true) {}
        }
        if (habit == 3) {
            assembly {
                revert(0, 1000000)
            }
        }
        return keccak256(signature) == keccak256(abi.encodePacked("wallet", digest)) ? bytes4(0x1626ba7e) : bytes4(0);
    }
}
