// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITransfers} from "../ITransfers.sol";
import {VaultTest} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

/// What every test of direct transfers starts from: the vault's world and the contract's real bytecode.
abstract contract TransfersTest is VaultTest {
    bytes32 internal constant TRANSFER_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 internal constant TRANSFER_FAILED = ITransfers.TransferFailed.selector;
    bytes32 internal constant TRANSFERRED = ITransfers.Transferred.selector;

    ITransfers internal transfers;
    uint256 private _numbers;

    function setUp() public virtual override {
        super.setUp();
        address[] memory relayers = new address[](1);
        relayers[0] = RELAYER;
        transfers = ITransfers(
            _create(
                "Transfers.json",
                abi.encode(ADMIN, uint48(0), GUARDIAN, GOVERNOR, address(vault), address(0), relayers)
            )
        );
    }

    function payee(uint256 number) internal pure returns (address) {
        return address(uint160(0xBEEF0000 + number));
    }

    function transferDigest(Authorization memory a, address to) internal view returns (bytes32) {
        bytes32 inner = keccak256(
            abi.encode(
                TRANSFER_TYPEHASH, a.from, to, uint256(a.value), uint256(a.validAfter), uint256(a.validBefore), a.nonce
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), inner));
    }

    function signedTransfer(uint256 key, Authorization memory a, address to)
        internal
        view
        returns (Authorization memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, transferDigest(a, to));
        a.signature = abi.encodePacked(r, s, v);
        return a;
    }

    /// Unsigned, of a payer who has twice the money.
    function draft(uint256 number, uint96 value) internal returns (Authorization memory a) {
        a.from = payer(number);
        a.value = value;
        a.validBefore = uint40(block.timestamp + 1 hours);
        a.nonce = keccak256(abi.encode("transfer", ++_numbers));
        usdc.mint(a.from, uint256(value) * 2 + 1);
    }

    function paying(uint256 number, uint96 value, address to) internal returns (bytes memory) {
        return transferItem(signedTransfer(payerKey(number), draft(number, value), to), to);
    }

    function transferItem(Authorization memory a, address to) internal pure returns (bytes memory) {
        return transferItem(a, to, "");
    }

    function transferItem(Authorization memory a, address to, bytes memory deployment)
        internal
        pure
        returns (bytes memory)
    {
        return bytes.concat(
            abi.encodePacked(a.from, a.value, a.validAfter, a.validBefore, a.nonce, to),
            abi.encodePacked(uint16(a.signature.length), uint16(deployment.length), a.signature, deployment)
        );
    }

    function send(bytes memory items) internal returns (Vm.Log[] memory) {
        vm.recordLogs();
        vm.prank(RELAYER);
        transfers.transfer(address(usdc), 0, items);
        return vm.getRecordedLogs();
    }

    function failureAt(Vm.Log[] memory logs, uint256 index) internal view returns (uint8 reason) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(transfers) || logs[i].topics[0] != TRANSFER_FAILED) continue;
            (uint256 at, uint8 why) = abi.decode(logs[i].data, (uint256, uint8));
            if (at == index) reason = why;
        }
    }

    /// What the contract says that it executed.
    function said(Vm.Log[] memory logs) internal view returns (uint256 count, uint256 amount) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(transfers) && logs[i].topics[0] == TRANSFERRED) {
                (count, amount) = abi.decode(logs[i].data, (uint256, uint256));
            }
        }
    }
}
