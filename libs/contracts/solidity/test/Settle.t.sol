// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault, Reason} from "../IPaymentVault.sol";
import {HostileToken, Mood} from "./Hostile.sol";
import {VaultTest} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

contract SettleTest is VaultTest {
    bytes32 private constant FAILED = IPaymentVault.PayoutFailed.selector;
    bytes32 private constant BATCH = keccak256("batch");

    function testFuzz_pays_out_of_each_merchants_balance(uint96 a, uint96 b, uint96 paidA, uint96 paidB) public {
        a = uint96(bound(a, 1, TRANSACTION_CAP / 2));
        b = uint96(bound(b, 1, TRANSACTION_CAP / 2));
        paidA = uint96(bound(paidA, 0, a));
        paidB = uint96(bound(paidB, 0, b));
        credit(ALICE_SHOP, a);
        credit(BOB_SHOP, b);
        settle(
            BATCH,
            bytes.concat(
                run(ALICE_SHOP, 1, payout(address(0xB0A), paidA)), run(BOB_SHOP, 1, payout(address(0xB0B), paidB))
            )
        );
        vm.assertEq(balance(ALICE_SHOP), a - paidA, "first keeps the rest");
        vm.assertEq(balance(BOB_SHOP), b - paidB, "second keeps the rest");
        vm.assertEq(usdc.balanceOf(address(0xB0A)), paidA, "first paid");
        vm.assertEq(usdc.balanceOf(address(0xB0B)), paidB, "second paid");
        vm.assertTrue(vault.batchSettled(BATCH), "batch recorded");
    }

    function testFuzz_a_blacklisted_recipient_fails_alone_and_its_money_stays(uint8 position) public {
        credit(ALICE_SHOP, 1000);
        uint256 bad = position % 5;
        bytes memory payouts;
        for (uint256 i = 0; i < 5; ++i) {
            payouts = bytes.concat(payouts, payout(address(uint160(0xC00 + i)), 100 + i));
        }
        usdc.blacklist(address(uint160(0xC00 + bad)));
        vm.recordLogs();
        settle(BATCH, run(ALICE_SHOP, 5, payouts));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(reasonAt(logs, FAILED, bad), Reason.BLACKLISTED, "reason");
        vm.assertEq(countOf(logs, FAILED), 1, "alone");
        vm.assertEq(balance(ALICE_SHOP), 1000 - 510 + 100 + bad, "stays with the merchant");
        for (uint256 i = 0; i < 5; ++i) {
            vm.assertEq(usdc.balanceOf(address(uint160(0xC00 + i))), i == bad ? 0 : 100 + i, "recipient");
        }
    }

    function testFuzz_more_than_the_balance_is_refused_and_less_still_paid(uint96 has, uint96 wants) public {
        has = uint96(bound(has, 2, 1e12));
        wants = uint96(bound(wants, uint256(has) + 1, type(uint96).max));
        credit(ALICE_SHOP, has);
        vm.recordLogs();
        settle(BATCH, run(ALICE_SHOP, 2, bytes.concat(payout(address(0xC1), wants), payout(address(0xC2), has))));
        vm.assertEq(
            reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INSUFFICIENT_MERCHANT_BALANCE, "reason"
        );
        vm.assertEq(usdc.balanceOf(address(0xC2)), has, "the last unit can be paid");
        vm.assertEq(balance(ALICE_SHOP), 0, "empty");
    }

    function test_one_merchant_never_pays_with_anothers_money() public {
        credit(ALICE_SHOP, 500);
        vm.recordLogs();
        settle(BATCH, run(BOB_SHOP, 1, payout(address(0xC1), 1)));
        vm.assertEq(
            reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INSUFFICIENT_MERCHANT_BALANCE, "reason"
        );
        vm.assertEq(balance(ALICE_SHOP), 500, "untouched");
    }

    function testFuzz_a_batch_id_pays_once(bytes32 batchId, uint96 amount) public {
        amount = uint96(bound(amount, 1, 1e11));
        credit(ALICE_SHOP, amount * 2);
        bytes memory payouts = run(ALICE_SHOP, 1, payout(address(0xC1), amount));
        settle(batchId, payouts);
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.BatchAlreadySettled.selector, batchId));
        vault.settle(address(usdc), 0, batchId, payouts);
        vm.assertEq(usdc.balanceOf(address(0xC1)), amount, "once");
    }

    function test_a_payout_to_the_vault_itself_or_to_nobody_fails() public {
        credit(ALICE_SHOP, 500);
        vm.recordLogs();
        settle(
            BATCH,
            run(
                ALICE_SHOP,
                3,
                bytes.concat(payout(address(vault), 10), payout(address(0), 10), payout(address(0xC1), 10))
            )
        );
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(countOf(logs, FAILED), 2, "both");
        vm.assertEq(balance(ALICE_SHOP), 490, "only the third");
    }

    function test_a_paused_token_fails_every_payout() public {
        credit(ALICE_SHOP, 500);
        usdc.pause();
        vm.recordLogs();
        settle(BATCH, run(ALICE_SHOP, 1, payout(address(0xC1), 10)));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.TOKEN_PAUSED, "reason");
        vm.assertEq(balance(ALICE_SHOP), 500, "stays");
    }

    function testFuzz_bytes_that_do_not_end_with_a_payout_revert(uint8 cut) public {
        credit(ALICE_SHOP, 500);
        bytes memory payouts =
            run(ALICE_SHOP, 2, bytes.concat(payout(address(0xC1), 10), payout(address(0xC2), 10)));
        uint256 length = bound(cut, 1, payouts.length - 1);
        assembly {
            mstore(payouts, length)
        }
        vm.prank(RELAYER);
        vm.expectRevert(IPaymentVault.MalformedItems.selector);
        vault.settle(address(usdc), 0, BATCH, payouts);
        vm.assertEq(vault.batchSettled(BATCH), false, "the id is free again");
    }

    function testFuzz_too_little_gas_reverts_instead_of_failing_a_payout(uint32 gasLimit) public {
        credit(ALICE_SHOP, 500);
        bytes memory payouts;
        for (uint256 i = 0; i < 4; ++i) {
            payouts = bytes.concat(payouts, payout(address(uint160(0xC00 + i)), 10));
        }
        gasLimit = uint32(bound(gasLimit, 80_000, 400_000));
        vm.recordLogs();
        vm.prank(RELAYER);
        try vault.settle{gas: gasLimit}(address(usdc), 0, BATCH, run(ALICE_SHOP, 4, payouts)) {
            vm.assertEq(balance(ALICE_SHOP), 460, "all or nothing");
        } catch {
            vm.assertEq(balance(ALICE_SHOP), 500, "all or nothing");
        }
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 0, "nobody is blamed");
    }

    function test_a_payout_does_not_start_without_its_full_bound() public {
        credit(ALICE_SHOP, 500);
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.InsufficientGas.selector, uint256(0)));
        vault.settle{gas: 125_000}(address(usdc), 0, BATCH, run(ALICE_SHOP, 1, payout(address(0xC1), 10)));
    }

    function test_the_log_holds_each_run_with_amount_and_count() public {
        credit(ALICE_SHOP, 500);
        credit(BOB_SHOP, 500);
        vm.expectEmit(address(vault));
        emit IPaymentVault.Settled(
            BATCH,
            address(usdc),
            abi.encodePacked(ALICE_SHOP, uint128(30), uint16(2), BOB_SHOP, uint128(5), uint16(1))
        );
        settle(
            BATCH,
            bytes.concat(
                run(ALICE_SHOP, 2, bytes.concat(payout(address(0xC1), 10), payout(address(0xC2), 20))),
                run(BOB_SHOP, 2, bytes.concat(payout(address(0xC3), 501), payout(address(0xC4), 5)))
            )
        );
    }

    // ----------------------------------------------------------------------------------------- hostile tokens

    function _funded() private returns (HostileToken token) {
        token = new HostileToken();
        token.mint(payer(1), 1000);
        vm.startPrank(GOVERNOR);
        vault.setTokenRules(address(token), true, TRANSACTION_CAP, WINDOW_CAP, WINDOW);
        vm.stopPrank();
        Authorization memory a;
        (a.from, a.value, a.validBefore, a.nonce) = (payer(1), 1000, uint40(block.timestamp + 1), bytes32(uint256(1)));
        a.signature = new bytes(65);
        vm.prank(RELAYER);
        vault.collect(address(token), 0, run(ALICE_SHOP, 1, item(a)));
    }

    function testFuzz_a_token_that_says_no_in_any_way_leaves_the_money_with_the_merchant(uint8 which) public {
        HostileToken token = _funded();
        Mood[4] memory moods = [Mood.SaysFalse, Mood.Reverts, Mood.ReturnBomb, Mood.BurnsGas];
        token.setMood(moods[which % 4]);
        vm.recordLogs();
        vm.prank(RELAYER);
        vault.settle{gas: 1_000_000}(
            address(token), 0, BATCH, run(ALICE_SHOP, 2, bytes.concat(payout(address(0xC1), 10), payout(address(0xC2), 9)))
        );
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 2, "both fail");
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 1000, "stays");
    }

    /// 260,000 + 82,500 a payout is what vault-codec.ts asks for, less the transaction's own 21,000 and call data.
    function test_a_full_batch_of_hostile_payouts_fits_below_the_transaction_limit() public {
        HostileToken token = _funded();
        token.setMood(Mood.BurnsGas);
        bytes memory payouts;
        for (uint256 i = 0; i < 200; ++i) {
            payouts = bytes.concat(payouts, run(ALICE_SHOP, 1, payout(address(uint160(0xC00 + i)), 1)));
        }
        vm.recordLogs();
        vm.prank(RELAYER);
        vault.settle{gas: 260_000 + 200 * 82_500 - 21_000 - 200 * 1_056}(address(token), 0, BATCH, payouts);
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 200, "all fail");
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 1000, "stays");
    }

    function test_a_token_that_answers_nothing_pays() public {
        HostileToken token = _funded();
        token.setMood(Mood.SaysNothing);
        vm.prank(RELAYER);
        vault.settle(address(token), 0, BATCH, run(ALICE_SHOP, 1, payout(address(0xC1), 10)));
        vm.assertEq(token.balanceOf(address(0xC1)), 10, "paid");
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 990, "debited");
    }

    function test_a_token_that_says_no_and_pays_all_the_same_reverts_the_call() public {
        HostileToken token = _funded();
        token.setMood(Mood.MovesAndSaysFalse);
        vm.prank(RELAYER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPaymentVault.TokenNotConserved.selector, address(token), uint256(1000), uint256(990)
            )
        );
        vault.settle(address(token), 0, BATCH, run(ALICE_SHOP, 1, payout(address(0xC1), 10)));
        vm.assertEq(vault.batchSettled(BATCH), false, "the id is free again");
    }

    function test_a_token_that_takes_more_than_asked_reverts_the_call() public {
        HostileToken token = _funded();
        token.setMood(Mood.FeeFromSender);
        vm.prank(RELAYER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPaymentVault.TokenNotConserved.selector, address(token), uint256(990), uint256(989)
            )
        );
        vault.settle(address(token), 0, BATCH, run(ALICE_SHOP, 1, payout(address(0xC1), 10)));
    }

    function testFuzz_a_token_cannot_come_back_in(uint8 door) public {
        HostileToken token = _funded();
        token.setMood(Mood.Reenters);
        vm.prank(ADMIN);
        (bool granted,) = address(vault).call(
            abi.encodeWithSignature("grantRole(bytes32,address)", keccak256("RELAYER_ROLE"), address(token))
        );
        vm.assertTrue(granted, "granted");
        bytes memory payouts = run(ALICE_SHOP, 1, payout(address(0xC1), 600));
        token.setAttack(
            vault,
            door % 2 == 0
                ? abi.encodeCall(IPaymentVault.settle, (address(token), 0, keccak256("other"), payouts))
                : abi.encodeCall(
                    IPaymentVault.refund,
                    (address(token), 0, refundItem(keccak256("r"), ALICE_SHOP, address(0xC1), 600))
                )
        );
        vm.prank(RELAYER);
        vault.settle(address(token), 0, BATCH, payouts);
        vm.assertEq(token.attackSucceeded(), false, "no way in");
        vm.assertEq(token.readDuringCall(), false, "no view");
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 400, "paid once");
    }
}
