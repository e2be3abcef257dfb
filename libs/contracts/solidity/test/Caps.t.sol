// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault, Reason} from "../IPaymentVault.sol";
import {VaultTest} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

contract CapsTest is VaultTest {
    bytes32 private constant FAILED = IPaymentVault.PayoutFailed.selector;
    uint256 private _batches;

    function _rules(uint120 perTransaction, uint128 perWindow, uint40 windowSeconds) private {
        vm.prank(GOVERNOR);
        vault.setTokenRules(address(usdc), true, perTransaction, perWindow, windowSeconds);
    }

    function _pay(uint256 amount) private returns (uint256 paid) {
        uint256 before = usdc.balanceOf(address(0xC1));
        settle(bytes32(++_batches), run(ALICE_SHOP, 1, payout(address(0xC1), amount)));
        paid = usdc.balanceOf(address(0xC1)) - before;
    }

    function testFuzz_a_transaction_pays_no_more_than_its_cap(uint96[4] memory amounts, uint96 cap) public {
        cap = uint96(bound(cap, 1, 1e12));
        _rules(cap, type(uint128).max, WINDOW);
        credit(ALICE_SHOP, 4e12);
        bytes memory payouts;
        uint256 expected;
        for (uint256 i = 0; i < 4; ++i) {
            amounts[i] = uint96(bound(amounts[i], 0, 1e12));
            payouts = bytes.concat(payouts, payout(address(uint160(0xC00 + i)), amounts[i]));
            if (expected + amounts[i] <= cap) expected += amounts[i];
        }
        vm.recordLogs();
        settle("b", run(ALICE_SHOP, 4, payouts));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 paid;
        for (uint256 i = 0; i < 4; ++i) {
            uint256 got = usdc.balanceOf(address(uint160(0xC00 + i)));
            paid += got;
            if (got == 0 && amounts[i] > 0) vm.assertEq(reasonAt(logs, FAILED, i), Reason.CAP_EXCEEDED, "reason");
        }
        vm.assertEq(paid, expected, "first come, first paid");
        vm.assertLe(paid, cap, "cap");
        vm.assertEq(balance(ALICE_SHOP), 4e12 - paid, "the rest stays");
    }

    /// Whatever the pattern of payouts: in any span of the window's length no more than the cap leaves.
    function testFuzz_no_window_holds_more_than_the_cap(uint32[12] memory waits, uint32[12] memory amounts) public {
        uint256 window = 1200;
        _rules(type(uint120).max, 1_000_000, uint40(window));
        credit(ALICE_SHOP, 1e12);
        uint256[12] memory times;
        uint256[12] memory paid;
        for (uint256 i = 0; i < 12; ++i) {
            vm.warp(block.timestamp + waits[i] % 900);
            times[i] = block.timestamp;
            paid[i] = _pay(amounts[i] % 600_000);
            uint256 sum;
            for (uint256 j = 0; j <= i; ++j) {
                if (times[j] + window > times[i]) sum += paid[j];
            }
            vm.assertLe(sum, 1_000_000, "rolling cap");
            vm.assertGe(vault.spentInWindow(address(usdc)), sum, "the count never forgets too early");
        }
    }

    function testFuzz_after_a_full_payment_nothing_leaves_for_a_whole_window(uint16 offset, uint16 wait) public {
        _rules(type(uint120).max, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        // Anywhere in a bucket, also on its last second.
        vm.warp(block.timestamp - block.timestamp % 100 + bound(offset, 0, 99));
        vm.assertEq(_pay(1000), 1000, "up to the cap");
        vm.warp(block.timestamp + bound(wait, 0, 1199));
        vm.assertEq(_pay(1), 0, "still the same window");
    }

    function test_the_last_second_of_a_window_is_still_in_it() public {
        _rules(type(uint120).max, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        vm.warp(block.timestamp - block.timestamp % 100 + 99);
        vm.assertEq(_pay(1000), 1000, "up to the cap");
        vm.warp(block.timestamp + 1199);
        vm.assertEq(_pay(1), 0, "still the same window");
    }

    function test_the_window_frees_what_is_old() public {
        _rules(type(uint120).max, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        vm.assertEq(_pay(1000), 1000, "up to the cap");
        vm.assertEq(_pay(1), 0, "not one more");
        vm.warp(block.timestamp + 1200 + 100);
        vm.assertEq(_pay(1000), 1000, "a window and a bucket later");
        vm.warp(block.timestamp + 365 days);
        vm.assertEq(vault.spentInWindow(address(usdc)), 0, "a year later");
        vm.assertEq(_pay(1000), 1000, "again");
    }

    function test_the_window_frees_old_payments_one_by_one() public {
        _rules(type(uint120).max, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        uint256 start = block.timestamp - block.timestamp % 100;
        vm.warp(start);
        vm.assertEq(_pay(600), 600, "first");
        vm.warp(start + 600);
        vm.assertEq(_pay(400), 400, "second");
        vm.warp(start + 1299);
        vm.assertEq(_pay(1), 0, "both count");
        vm.warp(start + 1300);
        vm.assertEq(vault.spentInWindow(address(usdc)), 400, "the second counts");
        vm.assertEq(_pay(601), 0, "not more than the first freed");
        vm.assertEq(_pay(600), 600, "what the first freed");
    }

    function test_refunds_count_against_the_same_caps() public {
        _rules(700, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        vm.recordLogs();
        refund(
            bytes.concat(
                refundItem("1", ALICE_SHOP, address(0xD1), 600), refundItem("2", ALICE_SHOP, address(0xD2), 101)
            )
        );
        vm.assertEq(
            reasonAt(vm.getRecordedLogs(), IPaymentVault.RefundFailed.selector, 1), Reason.CAP_EXCEEDED, "transaction"
        );
        vm.assertEq(_pay(401), 0, "window");
        vm.assertEq(_pay(400), 400, "what is left");
    }

    function testFuzz_changing_the_window_forgets_nothing(uint40 next) public {
        next = uint40(bound(next, 12, 30 days));
        _rules(type(uint120).max, 1000, 1200);
        credit(ALICE_SHOP, 10_000);
        _pay(900);
        _rules(type(uint120).max, 1000, next);
        vm.assertEq(vault.spentInWindow(address(usdc)), 900, "still counted");
        vm.assertEq(_pay(101), 0, "still capped");
    }

    function test_a_token_without_rules_pays_nothing_out() public {
        credit(ALICE_SHOP, 100);
        _rules(0, 0, WINDOW);
        vm.assertEq(_pay(1), 0, "closed");
    }

    function test_a_window_too_short_for_its_buckets_and_a_token_that_is_none_revert() public {
        vm.startPrank(GOVERNOR);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.WindowTooShort.selector, uint40(11)));
        vault.setTokenRules(address(usdc), true, 1, 1, 11);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.TokenBalanceUnreadable.selector, address(0xBEEF)));
        vault.setTokenRules(address(0xBEEF), true, 1, 1, WINDOW);
        vm.stopPrank();
    }
}
