// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault} from "../IPaymentVault.sol";
import {VaultTest} from "./VaultTest.sol";

contract EpochTest is VaultTest {
    function testFuzz_calls_of_a_lost_epoch_revert_and_those_of_the_current_one_pass(uint64 minimum, uint64 epoch)
        public
    {
        minimum = uint64(bound(minimum, 1, 1024));
        epoch = uint64(bound(epoch, 0, 2048));
        vm.prank(EPOCH_KEEPER);
        vault.raiseMinEpoch(minimum);
        bytes memory items = run(ALICE_SHOP, 1, item(authorization(1, 5)));
        bytes memory stale = abi.encodeWithSelector(IPaymentVault.StaleEpoch.selector, epoch, minimum);
        vm.startPrank(RELAYER);
        if (epoch < minimum) vm.expectRevert(stale);
        vault.collect(address(usdc), epoch, items);
        if (epoch < minimum) vm.expectRevert(stale);
        vault.settle(address(usdc), epoch, "b", "");
        if (epoch < minimum) vm.expectRevert(stale);
        vault.refund(address(usdc), epoch, "");
        vm.stopPrank();
        vm.assertEq(balance(ALICE_SHOP), epoch < minimum ? 0 : 5, "collected or not");
    }

    function testFuzz_the_epoch_only_rises_and_never_leaps(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, 1024));
        vm.startPrank(EPOCH_KEEPER);
        vault.raiseMinEpoch(first);
        if (second <= first) {
            vm.expectRevert(abi.encodeWithSelector(IPaymentVault.EpochNotRaised.selector, second, first));
        } else if (second - first > 1024) {
            vm.expectRevert(abi.encodeWithSelector(IPaymentVault.EpochStepTooLarge.selector, second, first));
        }
        vault.raiseMinEpoch(second);
        vm.stopPrank();
        vm.assertGe(vault.minEpoch(), first, "never falls");
    }
}
