// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault, Reason} from "../IPaymentVault.sol";
import {VaultTest} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

contract RefundTest is VaultTest {
    bytes32 private constant FAILED = IPaymentVault.RefundFailed.selector;

    function testFuzz_pays_back_from_the_merchants_balance(bytes32 id, uint96 has, uint96 amount) public {
        has = uint96(bound(has, 1, TRANSACTION_CAP));
        amount = uint96(bound(amount, 0, has));
        credit(ALICE_SHOP, has);
        vm.expectEmit(address(vault));
        emit IPaymentVault.Refunded(id, ALICE_SHOP, address(usdc), address(0xD1), amount);
        refund(refundItem(id, ALICE_SHOP, address(0xD1), amount));
        vm.assertEq(usdc.balanceOf(address(0xD1)), amount, "payer has it back");
        vm.assertEq(balance(ALICE_SHOP), has - amount, "merchant has the rest");
        vm.assertTrue(vault.refundPaid(id), "recorded");
    }

    function testFuzz_a_refund_id_pays_once_in_a_call_and_over_calls(bytes32 id) public {
        credit(ALICE_SHOP, 1000);
        bytes memory one = refundItem(id, ALICE_SHOP, address(0xD1), 100);
        vm.recordLogs();
        refund(bytes.concat(one, one));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 1), Reason.DUPLICATE, "in a call");
        vm.recordLogs();
        refund(one);
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.DUPLICATE, "over calls");
        vm.assertEq(usdc.balanceOf(address(0xD1)), 100, "once");
    }

    function testFuzz_a_refund_that_fails_fails_alone_and_may_be_tried_again(uint8 position) public {
        credit(ALICE_SHOP, 1000);
        uint256 bad = position % 3;
        usdc.blacklist(address(uint160(0xD00 + bad)));
        bytes memory refunds;
        for (uint256 i = 0; i < 3; ++i) {
            refunds = bytes.concat(refunds, refundItem(bytes32(i + 1), ALICE_SHOP, address(uint160(0xD00 + i)), 100));
        }
        vm.recordLogs();
        refund(refunds);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(reasonAt(logs, FAILED, bad), Reason.BLACKLISTED, "reason");
        vm.assertEq(countOf(logs, FAILED), 1, "alone");
        vm.assertEq(balance(ALICE_SHOP), 800, "two of three");
        vm.assertEq(vault.refundPaid(bytes32(bad + 1)), false, "not recorded");
        usdc.unBlacklist(address(uint160(0xD00 + bad)));
        refund(refundItem(bytes32(bad + 1), ALICE_SHOP, address(uint160(0xD00 + bad)), 100));
        vm.assertEq(balance(ALICE_SHOP), 700, "tried again");
    }

    function testFuzz_more_than_the_balance_is_refused(uint96 has, uint96 more) public {
        has = uint96(bound(has, 0, 1e12));
        more = uint96(bound(more, uint256(has) + 1, type(uint96).max));
        if (has > 0) credit(ALICE_SHOP, has);
        vm.recordLogs();
        refund(refundItem(bytes32("r"), ALICE_SHOP, address(0xD1), more));
        vm.assertEq(
            reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INSUFFICIENT_MERCHANT_BALANCE, "reason"
        );
        vm.assertEq(balance(ALICE_SHOP), has, "untouched");
    }

    function test_a_refund_to_the_vault_itself_fails() public {
        credit(ALICE_SHOP, 100);
        vm.recordLogs();
        refund(refundItem(bytes32("r"), ALICE_SHOP, address(vault), 100));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.TRANSFER_FAILED, "reason");
        vm.assertEq(balance(ALICE_SHOP), 100, "untouched");
    }

    function testFuzz_bytes_that_do_not_end_with_a_refund_revert(uint8 length) public {
        vm.assume(length % 96 != 0);
        vm.prank(RELAYER);
        vm.expectRevert(IPaymentVault.MalformedItems.selector);
        vault.refund(address(usdc), 0, new bytes(length));
    }
}
