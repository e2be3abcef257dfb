// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault, Reason} from "../IPaymentVault.sol";
import {HostileToken, Mood, Wallet} from "./Hostile.sol";
import {VaultTest} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

contract CollectTest is VaultTest {
    bytes32 private constant FAILED = IPaymentVault.CollectFailed.selector;

    function testFuzz_credits_each_merchant_with_what_its_payers_paid(uint96[5] memory values) public {
        for (uint256 i = 0; i < 5; ++i) {
            values[i] %= 1e15;
        }
        bytes memory a = bytes.concat(item(authorization(1, values[0])), item(authorization(2, values[1])));
        bytes memory b = bytes.concat(item(authorization(1, values[2])), item(authorization(3, values[3])));
        // The first merchant comes back in a second run of the same call.
        collect(
            bytes.concat(
                run(ALICE_SHOP, 2, a), run(BOB_SHOP, 2, b), run(ALICE_SHOP, 1, item(authorization(4, values[4])))
            )
        );
        vm.assertEq(balance(ALICE_SHOP), uint256(values[0]) + values[1] + values[4], "first merchant");
        vm.assertEq(balance(BOB_SHOP), uint256(values[2]) + values[3], "second merchant");
        vm.assertEq(usdc.balanceOf(address(vault)), balance(ALICE_SHOP) + balance(BOB_SHOP), "vault holds both");
    }

    function testFuzz_a_bad_item_fails_alone_with_its_reason(uint8 kind, uint8 position, uint96 value) public {
        value = uint96(bound(value, 1, 1e15));
        uint256 at = position % 3;
        (bytes memory bad, uint8 reason) = _bad(kind % 7, value);
        bytes memory items;
        uint256 expected;
        for (uint256 i = 0; i < 3; ++i) {
            if (i == at) {
                items = bytes.concat(items, bad);
            } else {
                items = bytes.concat(items, item(authorization(10 + i, uint96(1000 + i))));
                expected += 1000 + i;
            }
        }
        vm.recordLogs();
        collect(run(ALICE_SHOP, 3, items));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(balance(ALICE_SHOP), expected, "the others are credited");
        vm.assertEq(reasonAt(logs, FAILED, at), reason, "reason");
        vm.assertEq(countOf(logs, FAILED), 1, "one failure");
    }

    function _bad(uint8 kind, uint96 value) private returns (bytes memory, uint8) {
        Authorization memory a = authorization(99, value);
        if (kind == 0) {
            a.validBefore = uint40(block.timestamp);
            return (item(signed(payerKey(99), a)), Reason.AUTHORIZATION_EXPIRED);
        }
        if (kind == 1) {
            a.validAfter = uint40(block.timestamp);
            return (item(signed(payerKey(99), a)), Reason.AUTHORIZATION_NOT_YET_VALID);
        }
        if (kind == 2) {
            collect(run(BOB_SHOP, 1, item(a)));
            return (item(a), Reason.AUTHORIZATION_USED);
        }
        if (kind == 3) return (item(signed(payerKey(98), a)), Reason.INVALID_SIGNATURE);
        if (kind == 4) {
            a.value = value * 2 + 2;
            return (item(signed(payerKey(99), a)), Reason.INSUFFICIENT_FUNDS);
        }
        if (kind == 5) {
            usdc.blacklist(a.from);
            return (item(a), Reason.BLACKLISTED);
        }
        // A forged signature is called that even when the payer is poor, too.
        a.value = value * 2 + 2;
        return (item(signed(payerKey(98), a)), Reason.INVALID_SIGNATURE);
    }

    function testFuzz_a_changed_field_is_an_invalid_signature(uint8 field, uint96 by) public {
        Authorization memory a = authorization(1, 1000);
        by = uint96(bound(by, 1, 500));
        if (field % 4 == 0) a.value -= by;
        else if (field % 4 == 1) a.validBefore += uint40(by);
        else if (field % 4 == 2) a.nonce = bytes32(uint256(a.nonce) ^ by);
        else a.validAfter += uint40(by);
        vm.recordLogs();
        collect(run(ALICE_SHOP, 1, item(a)));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INVALID_SIGNATURE, "reason");
        vm.assertEq(balance(ALICE_SHOP), 0, "nothing credited");
    }

    function test_the_same_authorization_twice_in_a_call_is_collected_once() public {
        bytes memory one = item(authorization(1, 700));
        vm.recordLogs();
        collect(bytes.concat(run(ALICE_SHOP, 1, one), run(BOB_SHOP, 1, one)));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 1), Reason.AUTHORIZATION_USED, "second");
        vm.assertEq(balance(ALICE_SHOP), 700, "first");
        vm.assertEq(balance(BOB_SHOP), 0, "not twice");
    }

    function test_a_paused_token_fails_every_item_and_reverts_nothing() public {
        bytes memory items = bytes.concat(item(authorization(1, 5)), item(authorization(2, 6)));
        usdc.pause();
        vm.recordLogs();
        collect(run(ALICE_SHOP, 2, items));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(reasonAt(logs, FAILED, 0), Reason.TOKEN_PAUSED, "first");
        vm.assertEq(reasonAt(logs, FAILED, 1), Reason.TOKEN_PAUSED, "second");
    }

    function test_an_upper_s_and_a_wrong_v_are_invalid_signatures() public {
        Authorization memory a = authorization(1, 5);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(payerKey(1), digestOf(a));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        a.signature = abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
        bytes memory upper = item(a);
        a.signature = abi.encodePacked(r, s, v - 27);
        vm.recordLogs();
        collect(run(ALICE_SHOP, 2, bytes.concat(upper, item(a))));
        vm.assertEq(balance(ALICE_SHOP), 0, "nothing credited");
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 2, "both fail");
    }

    function testFuzz_a_wallet_pays_with_a_signature_of_any_length(uint16 extra) public {
        Wallet wallet = new Wallet(0);
        Authorization memory a = _walletAuthorization(wallet, 40);
        a.signature = abi.encodePacked("wallet", digestOf(a));
        // Beside it a wallet whose signature is garbage of any length.
        Authorization memory b = _walletAuthorization(new Wallet(0), 41);
        b.signature = new bytes(bound(extra, 0, 2000));
        vm.recordLogs();
        collect(run(ALICE_SHOP, 3, bytes.concat(item(b), item(a), item(authorization(1, 2)))));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INVALID_SIGNATURE, "garbage");
        vm.assertEq(balance(ALICE_SHOP), 42, "wallet and key");
    }

    function testFuzz_a_hostile_wallet_costs_the_others_nothing(uint8 habit) public {
        Wallet wallet = new Wallet(uint8(bound(habit, 1, 3)));
        Authorization memory a = _walletAuthorization(wallet, 40);
        a.signature = new bytes(97);
        bytes memory items = bytes.concat(item(a), item(authorization(1, 2)), item(authorization(2, 3)));
        vm.recordLogs();
        vm.prank(RELAYER);
        // A wallet may burn its item's bound and no more.
        vault.collect{gas: 260_000 + 3 * 158_000}(address(usdc), 0, run(ALICE_SHOP, 3, items));
        vm.assertEq(reasonAt(vm.getRecordedLogs(), FAILED, 0), Reason.INVALID_SIGNATURE, "hostile");
        vm.assertEq(balance(ALICE_SHOP), 5, "the others");
    }

    /// The worst call there is: every payer a wallet that burns all it gets, every merchant another. It must fit into what
    /// vault-codec.ts asks for, 260,000 + 163,000 an item, less the transaction's own 21,000 and call data.
    function test_a_full_call_of_hostile_wallets_fits_below_the_transaction_limit() public {
        bytes memory items;
        for (uint256 i = 0; i < 100; ++i) {
            Authorization memory a = _walletAuthorization(new Wallet(2), 40);
            a.signature = new bytes(97);
            items = bytes.concat(items, run(keccak256(abi.encode(i)), 1, item(a)));
        }
        items = bytes.concat(items, run(ALICE_SHOP, 1, item(authorization(1, 7))));
        vm.recordLogs();
        vm.prank(RELAYER);
        uint256 before = gasleft();
        vault.collect{gas: 260_000 + 100 * 163_000 - 21_000 - 100 * 3_600}(address(usdc), 0, items);
        vm.assertLe(before - gasleft(), 16_150_000, "gas of a hundred");
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 100, "all hostile ones fail");
        vm.assertEq(balance(ALICE_SHOP), 7, "the last one is collected");
    }

    function _walletAuthorization(Wallet wallet, uint96 value) private returns (Authorization memory a) {
        a.from = address(wallet);
        a.value = value;
        a.validBefore = uint40(block.timestamp + 1);
        a.nonce = keccak256(abi.encode(wallet));
        usdc.mint(a.from, value);
    }

    function testFuzz_too_little_gas_reverts_instead_of_blaming_an_item(uint32 gasLimit) public {
        bytes memory items;
        for (uint256 i = 0; i < 4; ++i) {
            items = bytes.concat(items, item(authorization(i, 10)));
        }
        gasLimit = uint32(bound(gasLimit, 100_000, 700_000));
        vm.recordLogs();
        vm.prank(RELAYER);
        try vault.collect{gas: gasLimit}(address(usdc), 0, run(ALICE_SHOP, 4, items)) {
            vm.assertEq(balance(ALICE_SHOP), 40, "all or nothing");
        } catch {
            vm.assertEq(balance(ALICE_SHOP), 0, "all or nothing");
        }
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 0, "nobody is blamed");
    }

    /// Enough for a key's payment, not for what a wallet may use: what comes first must not depend on who pays.
    function test_an_item_does_not_start_without_its_full_bound() public {
        bytes memory items = run(ALICE_SHOP, 1, item(authorization(1, 10)));
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.InsufficientGas.selector, uint256(0)));
        vault.collect{gas: 200_000}(address(usdc), 0, items);
    }

    function testFuzz_bytes_that_do_not_end_with_an_item_revert(uint16 cut) public {
        bytes memory items = run(ALICE_SHOP, 2, bytes.concat(item(authorization(1, 5)), item(authorization(2, 6))));
        uint256 length = bound(cut, 1, items.length - 1);
        assembly {
            mstore(items, length)
        }
        vm.prank(RELAYER);
        vm.expectRevert(IPaymentVault.MalformedItems.selector);
        vault.collect(address(usdc), 0, items);
    }

    function test_no_items_at_all_change_nothing() public {
        vm.recordLogs();
        collect("");
        vm.assertEq(vm.getRecordedLogs().length, 0, "no log");
    }

    function test_a_token_that_is_not_accepted_reverts() public {
        vm.prank(GOVERNOR);
        vault.setTokenRules(address(usdc), false, TRANSACTION_CAP, WINDOW_CAP, WINDOW);
        bytes memory items = run(ALICE_SHOP, 1, item(authorization(1, 5)));
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(IPaymentVault.TokenNotAccepted.selector, address(usdc)));
        vault.collect(address(usdc), 0, items);
    }

    function test_the_log_holds_each_run_with_amount_and_count() public {
        bytes memory items = bytes.concat(
            run(ALICE_SHOP, 2, bytes.concat(item(authorization(1, 5)), item(authorization(2, 6)))),
            run(BOB_SHOP, 1, item(authorization(3, 7)))
        );
        vm.expectEmit(address(vault));
        emit IPaymentVault.Collected(
            address(usdc),
            abi.encodePacked(ALICE_SHOP, uint128(11), uint16(2), BOB_SHOP, uint128(7), uint16(1))
        );
        collect(items);
    }

    // ----------------------------------------------------------------------------------------- hostile tokens

    function _hostile(Mood mood) private returns (HostileToken token, bytes memory items) {
        token = new HostileToken();
        token.setMood(mood);
        token.mint(payer(1), 1000);
        vm.prank(GOVERNOR);
        vault.setTokenRules(address(token), true, TRANSACTION_CAP, WINDOW_CAP, WINDOW);
        Authorization memory a;
        (a.from, a.value, a.validBefore, a.nonce) = (payer(1), 100, uint40(block.timestamp + 1), bytes32(uint256(1)));
        a.signature = new bytes(65);
        items = run(ALICE_SHOP, 1, item(a));
    }

    function testFuzz_a_token_that_takes_a_fee_or_moves_nothing_reverts_the_call(bool fee) public {
        (HostileToken token, bytes memory items) = _hostile(fee ? Mood.FeeFromRecipient : Mood.MovesNothing);
        vm.prank(RELAYER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPaymentVault.TokenNotConserved.selector, address(token), uint256(100), fee ? uint256(98) : uint256(0)
            )
        );
        vault.collect(address(token), 0, items);
    }

    function testFuzz_a_token_that_says_no_in_any_way_credits_nothing(uint8 which) public {
        Mood[4] memory moods = [Mood.SaysFalse, Mood.Reverts, Mood.ReturnBomb, Mood.BurnsGas];
        (HostileToken token, bytes memory items) = _hostile(moods[which % 4]);
        vm.recordLogs();
        vm.prank(RELAYER);
        vault.collect(address(token), 0, items);
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 0, "nothing credited");
        vm.assertEq(countOf(vm.getRecordedLogs(), FAILED), 1, "a failure");
    }

    function test_a_token_cannot_come_back_in_nor_read_balances_in_between() public {
        (HostileToken token, bytes memory items) = _hostile(Mood.Reenters);
        // The token is a relayer even: only the guard stands between.
        vm.prank(ADMIN);
        (bool granted,) = address(vault).call(
            abi.encodeWithSignature("grantRole(bytes32,address)", keccak256("RELAYER_ROLE"), address(token))
        );
        vm.assertTrue(granted, "granted");
        token.setAttack(vault, abi.encodeCall(IPaymentVault.collect, (address(token), 0, items)));
        vm.prank(RELAYER);
        vault.collect(address(token), 0, items);
        vm.assertEq(token.attackSucceeded(), false, "no way in");
        vm.assertEq(token.readDuringCall(), false, "no view");
        vm.assertEq(vault.merchantBalance(address(token), ALICE_SHOP), 100, "credited once");
    }
}
