// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault} from "../IPaymentVault.sol";
import {VaultTest} from "./VaultTest.sol";

/// Random sequences of everything that can happen to a vault, good and bad. The test contract is its own handler: forge
/// calls the functions named in targetSelectors in any order with any arguments.
contract InvariantsTest is VaultTest {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    bytes32[3] private _merchants = [keccak256("m1"), keccak256("m2"), keccak256("m3")];
    uint256 private constant CAP_WINDOW = 5_000_000;

    // What an honest bookkeeper would have written down.
    uint256 private _collected;
    uint256 private _paidOut;
    uint256 private _authorizationsUsedTwice;
    uint256 private _batchesPaidTwice;
    Authorization[] private _seen;
    bytes32[] private _batches;
    bytes32[] private _refunds;
    uint256[] private _outflowTimes;
    uint256[] private _outflows;

    function setUp() public override {
        super.setUp();
        vm.prank(GOVERNOR);
        vault.setTokenRules(address(usdc), true, 2_000_000, uint128(CAP_WINDOW), 1200);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        targets[0].selectors = new bytes4[](8);
        targets[0].selectors[0] = this.collectFresh.selector;
        targets[0].selectors[1] = this.collectAgain.selector;
        targets[0].selectors[2] = this.collectForged.selector;
        targets[0].selectors[3] = this.payOut.selector;
        targets[0].selectors[4] = this.payOutAgain.selector;
        targets[0].selectors[5] = this.payBack.selector;
        targets[0].selectors[6] = this.turnBlacklist.selector;
        targets[0].selectors[7] = this.wait_.selector;
    }

    function collectFresh(uint8 merchant, uint32 value) external {
        Authorization memory a = authorization(_seen.length, value % 3_000_000);
        _seen.push(a);
        collect(run(_merchants[merchant % 3], 1, item(a)));
        _collected += a.value;
    }

    function collectAgain(uint8 merchant, uint256 which) external {
        if (_seen.length == 0) return;
        uint256 before = usdc.balanceOf(address(vault));
        bytes memory old = item(_seen[which % _seen.length]);
        collect(run(_merchants[merchant % 3], 2, bytes.concat(old, old)));
        if (usdc.balanceOf(address(vault)) != before) ++_authorizationsUsedTwice;
    }

    function collectForged(uint8 merchant, uint32 value) external {
        Authorization memory a = authorization(7777, value % 3_000_000);
        collect(run(_merchants[merchant % 3], 1, item(signed(payerKey(8888), a))));
    }

    function payOut(uint8 merchant, uint32 first, uint32 second, uint8 to) external {
        bytes32 batchId = keccak256(abi.encode(_batches.length));
        _batches.push(batchId);
        _settle(batchId, merchant, first, second, to);
    }

    function payOutAgain(uint256 which, uint8 merchant, uint32 amount, uint8 to) external {
        if (_batches.length == 0) return;
        bytes memory payouts = run(_merchants[merchant % 3], 1, payout(_recipient(to), amount));
        vm.prank(RELAYER);
        try vault.settle(address(usdc), 0, _batches[which % _batches.length], payouts) {
            ++_batchesPaidTwice;
        } catch {}
    }

    function payBack(uint8 merchant, uint32 amount, uint8 to, bool again) external {
        bytes32 id = again && _refunds.length > 0
            ? _refunds[amount % _refunds.length]
            : keccak256(abi.encode("refund", _refunds.length));
        bool known = again && _refunds.length > 0 && vault.refundPaid(id);
        if (!again) _refunds.push(id);
        uint256 before = usdc.balanceOf(address(vault));
        refund(refundItem(id, _merchants[merchant % 3], _recipient(to), amount % 3_000_000));
        _flow(before - usdc.balanceOf(address(vault)));
        if (known && before != usdc.balanceOf(address(vault))) ++_batchesPaidTwice;
    }

    function turnBlacklist(uint8 to, bool on) external {
        if (on) usdc.blacklist(_recipient(to));
        else usdc.unBlacklist(_recipient(to));
    }

    function wait_(uint16 secondsToWait) external {
        vm.warp(block.timestamp + secondsToWait % 700);
        // Authorizations are good for an hour: what is seen again may be expired by then, which is one more way to fail.
    }

    function _settle(bytes32 batchId, uint8 merchant, uint32 first, uint32 second, uint8 to) private {
        bytes memory payouts = bytes.concat(
            run(_merchants[merchant % 3], 1, payout(_recipient(to), first % 3_000_000)),
            run(_merchants[(uint256(merchant) + 1) % 3], 1, payout(_recipient(uint256(to) + 1), second % 3_000_000))
        );
        uint256 before = usdc.balanceOf(address(vault));
        settle(batchId, payouts);
        _flow(before - usdc.balanceOf(address(vault)));
    }

    function _flow(uint256 amount) private {
        _paidOut += amount;
        _outflows.push(amount);
        _outflowTimes.push(block.timestamp);
    }

    function _recipient(uint256 number) private pure returns (address) {
        return address(uint160(0xE00 + number % 4));
    }

    function _owed() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; ++i) {
            sum += balance(_merchants[i]);
        }
    }

    function invariant_the_vault_holds_what_it_owes() public view {
        vm.assertGe(usdc.balanceOf(address(vault)), _owed(), "vault balance >= sum of merchant balances");
    }

    function invariant_every_unit_is_accounted_for() public view {
        vm.assertEq(_owed(), _collected - _paidOut, "balances are what came in less what went out");
    }

    function invariant_no_authorization_and_no_batch_id_is_used_twice() public view {
        vm.assertEq(_authorizationsUsedTwice, 0, "authorizations");
        vm.assertEq(_batchesPaidTwice, 0, "batches and refunds");
    }

    function invariant_caps_hold() public view {
        for (uint256 i = 0; i < _outflows.length; ++i) {
            vm.assertLe(_outflows[i], 2_000_000, "per transaction");
            uint256 sum;
            for (uint256 j = 0; j <= i; ++j) {
                if (_outflowTimes[j] + 1200 > _outflowTimes[i]) sum += _outflows[j];
            }
            vm.assertLe(sum, CAP_WINDOW, "per rolling window");
        }
    }
}
