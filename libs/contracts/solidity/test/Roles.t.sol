// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault} from "../IPaymentVault.sol";
import {IRoles, VaultTest} from "./VaultTest.sol";

contract RolesTest is VaultTest {
    /// Each door opens for its role and for no other holder.
    function testFuzz_each_function_has_exactly_one_role(uint8 who, uint8 what) public {
        address[6] memory callers = [ADMIN, GUARDIAN, GOVERNOR, EPOCH_KEEPER, RELAYER, address(0x57A)];
        address caller = callers[who % 6];
        (bytes memory call, address holder, bytes32 role) = _door(what % 7);
        vm.prank(caller);
        (bool success, bytes memory answer) = address(vault).call(call);
        vm.assertEq(success, caller == holder, "only the holder");
        if (!success) {
            vm.assertTrue(
                keccak256(answer)
                    == keccak256(
                        abi.encodeWithSignature("AccessControlUnauthorizedAccount(address,bytes32)", caller, role)
                    ),
                "says which role"
            );
        }
    }

    function _door(uint8 what) private returns (bytes memory, address, bytes32) {
        address token = address(usdc);
        if (what == 0) return (abi.encodeCall(vault.collect, (token, 0, "")), RELAYER, keccak256("RELAYER_ROLE"));
        if (what == 1) return (abi.encodeCall(vault.settle, (token, 0, "b", "")), RELAYER, keccak256("RELAYER_ROLE"));
        if (what == 2) return (abi.encodeCall(vault.refund, (token, 0, "")), RELAYER, keccak256("RELAYER_ROLE"));
        if (what == 3) return (abi.encodeCall(vault.freeze, ()), GUARDIAN, keccak256("GUARDIAN_ROLE"));
        if (what == 4) {
            vm.prank(GUARDIAN);
            vault.freeze();
            return (abi.encodeCall(vault.unfreeze, ()), GOVERNOR, keccak256("GOVERNOR_ROLE"));
        }
        if (what == 5) return (abi.encodeCall(vault.raiseMinEpoch, (1)), EPOCH_KEEPER, keccak256("EPOCH_ROLE"));
        return (
            abi.encodeCall(vault.setTokenRules, (token, true, 1, 1, WINDOW)), GOVERNOR, keccak256("GOVERNOR_ROLE")
        );
    }

    function testFuzz_only_the_admin_grants_and_revokes(uint8 who, address stranger) public {
        vm.assume(stranger != RELAYER);
        address[5] memory others = [GUARDIAN, GOVERNOR, EPOCH_KEEPER, RELAYER, address(0x57A)];
        bytes32 role = keccak256("RELAYER_ROLE");
        vm.prank(others[who % 5]);
        (bool success,) = address(vault).call(abi.encodeCall(IRoles.grantRole, (role, stranger)));
        vm.assertEq(success, false, "others cannot");
        vm.startPrank(ADMIN);
        IRoles(address(vault)).grantRole(role, stranger);
        vm.assertTrue(IRoles(address(vault)).hasRole(role, stranger), "granted");
        IRoles(address(vault)).revokeRole(role, RELAYER);
        vm.stopPrank();
        vm.prank(RELAYER);
        (success,) = address(vault).call(abi.encodeCall(IPaymentVault.collect, (address(usdc), 0, "")));
        vm.assertEq(success, false, "a revoked relayer is out at once");
    }

    function test_the_admin_role_is_not_granted_but_handed_over() public {
        vm.prank(ADMIN);
        (bool success,) =
            address(vault).call(abi.encodeCall(IRoles.grantRole, (bytes32(0), address(0x57A))));
        vm.assertEq(success, false, "two steps");
    }
}
