// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What the gas benchmark compares the vault with. Never deployed anywhere else.

interface IToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
    function transfer(address to, uint256 value) external returns (bool);
}

/// The usual way to pay many: take the sum, then loop. One failing recipient reverts all; no dedupe, no ledger.
contract DisperseLoop {
    function disperse(IToken token, address[] calldata recipients, uint256[] calldata values) external {
        uint256 total;
        for (uint256 i = 0; i < recipients.length; ++i) {
            total += values[i];
        }
        require(token.transferFrom(msg.sender, address(this), total));
        for (uint256 i = 0; i < recipients.length; ++i) {
            require(token.transfer(recipients[i], values[i]));
        }
    }
}
