// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault} from "../IPaymentVault.sol";
import {VaultTest} from "./VaultTest.sol";

contract FreezeTest is VaultTest {
    function testFuzz_nothing_moves_while_frozen(uint8 which) public {
        credit(ALICE_SHOP, 100);
        bytes memory items = run(ALICE_SHOP, 1, item(authorization(1, 5)));
        vm.prank(GUARDIAN);
        vault.freeze();
        vm.assertTrue(vault.frozen(), "frozen");
        vm.prank(RELAYER);
        vm.expectRevert(IPaymentVault.VaultIsFrozen.selector);
        if (which % 3 == 0) vault.collect(address(usdc), 0, items);
        else if (which % 3 == 1) vault.settle(address(usdc), 0, "b", run(ALICE_SHOP, 1, payout(address(0xC1), 1)));
        else vault.refund(address(usdc), 0, refundItem("r", ALICE_SHOP, address(0xD1), 1));
        vm.assertEq(balance(ALICE_SHOP), 100, "balances can still be read");
    }

    function test_only_the_governor_unfreezes() public {
        vm.prank(GUARDIAN);
        vault.freeze();
        vm.prank(GUARDIAN);
        vm.expectRevert(
            abi.encodeWithSignature(
                "AccessControlUnauthorizedAccount(address,bytes32)", GUARDIAN, keccak256("GOVERNOR_ROLE")
            )
        );
        vault.unfreeze();
        vm.prank(GOVERNOR);
        vault.unfreeze();
        vm.assertEq(vault.frozen(), false, "operating");
        credit(ALICE_SHOP, 5);
        vm.assertEq(balance(ALICE_SHOP), 5, "collects again");
    }

    function test_freezing_twice_and_unfreezing_what_is_not_frozen_revert() public {
        vm.prank(GOVERNOR);
        vm.expectRevert(IPaymentVault.VaultIsNotFrozen.selector);
        vault.unfreeze();
        vm.prank(GUARDIAN);
        vault.freeze();
        vm.prank(GUARDIAN);
        vm.expectRevert(IPaymentVault.VaultIsFrozen.selector);
        vault.freeze();
    }
}
