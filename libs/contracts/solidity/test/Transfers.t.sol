// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Reason} from "../IPaymentVault.sol";
import {ITransfers} from "../ITransfers.sol";
import {HostileToken, Mood, Wallet} from "./Hostile.sol";
import {TransfersTest} from "./TransfersTest.sol";
import {IRoles} from "./VaultTest.sol";
import {Vm} from "./Vm.sol";

interface IUsdcTransfer {
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}

/// Deploys wallets, and misbehaves as told.
contract Factory {
    uint8 public habit;
    address public target;
    bytes public attack;
    bool public attackSucceeded;

    function setHabit(uint8 next) external {
        habit = next;
    }

    function setAttack(address target_, bytes calldata data) external {
        (target, attack) = (target_, data);
    }

    function create(bytes32 salt) external returns (address) {
        if (habit == 1) revert("no");
        if (habit == 2) {
            while (true) {}
        }
        if (habit == 3) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (habit == 4) (attackSucceeded,) = target.call(attack);
        return address(new Wallet{salt: salt}(0));
    }

    function addressOf(bytes32 salt) external view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(Wallet).creationCode, abi.encode(uint8(0))));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, code)))));
    }
}

contract TransfersUsdcTest is TransfersTest {
    function testFuzz_pays_every_payee_what_its_payer_signed(uint96[6] memory values) public {
        bytes memory items;
        uint256 sum;
        for (uint256 i = 0; i < 6; ++i) {
            values[i] %= 1e15;
            items = bytes.concat(items, paying(i, values[i], payee(i % 4)));
            sum += values[i];
        }
        (uint256 count, uint256 amount) = said(send(items));
        vm.assertEq(count, 6, "all");
        vm.assertEq(amount, sum, "sum");
        vm.assertEq(usdc.balanceOf(payee(0)), uint256(values[0]) + values[4], "first payee");
        vm.assertEq(usdc.balanceOf(payee(3)), values[3], "last payee");
        vm.assertEq(usdc.balanceOf(address(transfers)), 0, "holds nothing");
    }

    function testFuzz_a_bad_item_fails_alone_with_its_reason(uint8 kind, uint8 position, uint96 value) public {
        value = uint96(bound(value, 1, 1e15));
        uint256 at = position % 3;
        (bytes memory bad, uint8 reason) = _bad(kind % 9, value);
        bytes memory items;
        for (uint256 i = 0; i < 3; ++i) {
            items = bytes.concat(items, i == at ? bad : paying(10 + i, 1000, payee(1)));
        }
        Vm.Log[] memory logs = send(items);
        vm.assertEq(usdc.balanceOf(payee(1)), 2000, "the others are paid");
        vm.assertEq(failureAt(logs, at), reason, "reason");
        (uint256 count, uint256 amount) = said(logs);
        vm.assertEq(count, 2, "count");
        vm.assertEq(amount, 2000, "amount");
    }

    function _bad(uint8 kind, uint96 value) private returns (bytes memory, uint8) {
        address to = payee(2);
        Authorization memory a = draft(99, value);
        if (kind == 0) {
            a.validBefore = uint40(block.timestamp);
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.AUTHORIZATION_EXPIRED);
        }
        if (kind == 1) {
            a.validAfter = uint40(block.timestamp);
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.AUTHORIZATION_NOT_YET_VALID);
        }
        if (kind == 2) {
            // A stranger was first, as anybody may be.
            a = signedTransfer(payerKey(99), a, to);
            IUsdcTransfer(address(usdc)).transferWithAuthorization(
                a.from, to, a.value, a.validAfter, a.validBefore, a.nonce, a.signature
            );
            return (transferItem(a, to), Reason.AUTHORIZATION_USED);
        }
        if (kind == 3) return (transferItem(signedTransfer(payerKey(98), a, to), to), Reason.INVALID_SIGNATURE);
        if (kind == 4) {
            a.value = value * 2 + 2;
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.INSUFFICIENT_FUNDS);
        }
        if (kind == 5) {
            usdc.blacklist(a.from);
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.BLACKLISTED);
        }
        if (kind == 6) {
            usdc.blacklist(to);
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.BLACKLISTED);
        }
        if (kind == 7) {
            // What came here could never leave.
            to = address(transfers);
            return (transferItem(signedTransfer(payerKey(99), a, to), to), Reason.MALFORMED);
        }
        // Signed for somebody else.
        return (transferItem(signedTransfer(payerKey(99), a, payee(3)), to), Reason.INVALID_SIGNATURE);
    }

    function testFuzz_a_changed_field_moves_nothing(uint8 field, uint96 by) public {
        Authorization memory a = signedTransfer(payerKey(1), draft(1, 1000), payee(1));
        by = uint96(bound(by, 1, 500));
        address to = payee(1);
        if (field % 5 == 0) a.value -= by;
        else if (field % 5 == 1) a.validBefore += uint40(by);
        else if (field % 5 == 2) a.nonce = bytes32(uint256(a.nonce) ^ by);
        else if (field % 5 == 3) a.validAfter += uint40(by);
        else to = address(uint160(to) + uint160(by));
        Vm.Log[] memory logs = send(transferItem(a, to));
        vm.assertEq(failureAt(logs, 0), Reason.INVALID_SIGNATURE, "reason");
        vm.assertEq(usdc.balanceOf(to), 0, "nothing moved");
    }

    function test_the_same_authorization_is_executed_once() public {
        bytes memory one = paying(1, 700, payee(1));
        Vm.Log[] memory logs = send(bytes.concat(one, one));
        vm.assertEq(failureAt(logs, 1), Reason.AUTHORIZATION_USED, "second");
        vm.assertEq(failureAt(send(one), 0), Reason.AUTHORIZATION_USED, "later");
        vm.assertEq(usdc.balanceOf(payee(1)), 700, "once");
    }

    /// A signature for the vault's kind of authorization is none for a direct transfer.
    function test_an_authorization_to_receive_is_no_authorization_to_transfer() public {
        Authorization memory a = authorization(1, 500);
        vm.assertEq(failureAt(send(transferItem(a, address(vault))), 0), Reason.INVALID_SIGNATURE, "reason");
        vm.assertEq(usdc.balanceOf(address(vault)), 0, "not past the ledger");
    }

    function testFuzz_a_hostile_wallet_costs_the_others_nothing(uint8 habit, uint16 length) public {
        Wallet wallet = new Wallet(uint8(bound(habit, 1, 3)));
        Authorization memory a = _walletAuthorization(address(wallet), 40);
        a.signature = new bytes(bound(length, 0, 2000));
        bytes memory items = bytes.concat(transferItem(a, payee(1)), paying(1, 2, payee(1)), paying(2, 3, payee(1)));
        Vm.Log[] memory logs = send(items);
        vm.assertEq(failureAt(logs, 0), Reason.INVALID_SIGNATURE, "hostile");
        vm.assertEq(usdc.balanceOf(payee(1)), 5, "the others");
    }

    function test_a_wallet_pays_with_its_own_signature() public {
        Authorization memory a = _walletAuthorization(address(new Wallet(0)), 40);
        a.signature = abi.encodePacked("wallet", transferDigest(a, payee(1)));
        (uint256 count,) = said(send(bytes.concat(transferItem(a, payee(1)), paying(1, 2, payee(1)))));
        vm.assertEq(count, 2, "both");
        vm.assertEq(usdc.balanceOf(payee(1)), 42, "wallet and key");
    }

    function _walletAuthorization(address wallet, uint96 value) private returns (Authorization memory a) {
        a.from = wallet;
        a.value = value;
        a.validBefore = uint40(block.timestamp + 1);
        a.nonce = keccak256(abi.encode(wallet));
        usdc.mint(a.from, value);
    }

    // ------------------------------------------------------------------------------------------------ ERC-6492

    function testFuzz_a_wallet_is_deployed_on_the_way_by_a_listed_factory_only(bool listed, bytes32 salt) public {
        Factory factory = new Factory();
        if (listed) {
            vm.prank(GOVERNOR);
            transfers.setWalletFactory(address(factory), true);
        }
        bytes memory item = _deploying(factory, salt, 40);
        Vm.Log[] memory logs = send(bytes.concat(item, paying(1, 2, payee(1))));
        vm.assertEq(usdc.balanceOf(payee(1)), listed ? 42 : 2, "paid");
        vm.assertEq(failureAt(logs, 0), listed ? 0 : Reason.NOT_ALLOWED, "reason");
        vm.assertEq(factory.addressOf(salt).code.length != 0, listed, "called only when listed");
    }

    function testFuzz_a_hostile_factory_costs_the_others_nothing(uint8 habit) public {
        Factory factory = new Factory();
        vm.prank(GOVERNOR);
        transfers.setWalletFactory(address(factory), true);
        factory.setHabit(uint8(bound(habit, 1, 3)));
        bytes memory item = _deploying(factory, "salt", 40);
        Vm.Log[] memory logs = send(bytes.concat(item, paying(1, 2, payee(1))));
        vm.assertEq(failureAt(logs, 0), Reason.INVALID_SIGNATURE, "no wallet, no signature");
        vm.assertEq(usdc.balanceOf(payee(1)), 2, "the others");
    }

    function test_a_factory_cannot_come_back_in() public {
        Factory factory = new Factory();
        vm.startPrank(GOVERNOR);
        transfers.setWalletFactory(address(factory), true);
        vm.stopPrank();
        vm.startPrank(ADMIN);
        // Even one that is a relayer: the guard holds, not the role.
        IRoles(address(transfers)).grantRole(keccak256("RELAYER_ROLE"), address(factory));
        vm.stopPrank();
        factory.setHabit(4);
        bytes memory inner = paying(3, 9, payee(2));
        factory.setAttack(address(transfers), abi.encodeCall(ITransfers.transfer, (address(usdc), 0, inner)));
        send(_deploying(factory, "salt", 40));
        vm.assertEq(factory.attackSucceeded(), false, "refused");
        vm.assertEq(usdc.balanceOf(payee(2)), 0, "nothing by the back door");
        vm.assertEq(usdc.balanceOf(payee(1)), 40, "the item itself is paid");
    }

    function test_a_wallet_that_stands_is_not_deployed_again() public {
        Factory factory = new Factory();
        bytes memory item = _deploying(factory, "salt", 40);
        factory.create("salt");
        // Not even listed: the factory is not needed.
        Vm.Log[] memory logs = send(item);
        vm.assertEq(failureAt(logs, 0), 0, "paid");
        vm.assertEq(usdc.balanceOf(payee(1)), 40, "paid");
    }

    function _deploying(Factory factory, bytes32 salt, uint96 value) private returns (bytes memory) {
        Authorization memory a = _walletAuthorization(factory.addressOf(salt), value);
        a.signature = abi.encodePacked("wallet", transferDigest(a, payee(1)));
        return transferItem(
            a, payee(1), abi.encodePacked(address(factory), abi.encodeCall(Factory.create, (salt)))
        );
    }

    // --------------------------------------------------------------------------------------------- whole calls

    /// The worst call there is: every payer a wallet that burns all it gets. It must fit into what transfers-codec.ts asks for,
    /// 270,000 + 164,000 an item, less the transaction's own 21,000 and call data.
    function test_a_full_call_of_hostile_wallets_fits_below_the_transaction_limit() public {
        bytes memory items;
        for (uint256 i = 0; i < 99; ++i) {
            Authorization memory a = _walletAuthorization(address(new Wallet(2)), 40);
            a.signature = new bytes(97);
            items = bytes.concat(items, transferItem(a, payee(1)));
        }
        items = bytes.concat(items, paying(1, 7, payee(1)));
        vm.recordLogs();
        vm.prank(RELAYER);
        transfers.transfer{gas: 270_000 + 100 * 164_000 - 21_000 - 100 * 3_300}(address(usdc), 0, items);
        (uint256 count,) = said(vm.getRecordedLogs());
        vm.assertEq(count, 1, "the last one is paid");
        vm.assertEq(usdc.balanceOf(payee(1)), 7, "the last one is paid");
    }

    function testFuzz_too_little_gas_reverts_instead_of_blaming_an_item(uint32 gasLimit) public {
        bytes memory items;
        for (uint256 i = 0; i < 4; ++i) {
            items = bytes.concat(items, paying(i, 10, payee(1)));
        }
        vm.recordLogs();
        vm.prank(RELAYER);
        try transfers.transfer{gas: bound(gasLimit, 100_000, 700_000)}(address(usdc), 0, items) {
            vm.assertEq(usdc.balanceOf(payee(1)), 40, "all or nothing");
        } catch {
            vm.assertEq(usdc.balanceOf(payee(1)), 0, "all or nothing");
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertEq(failureAt(logs, i), 0, "nobody is blamed");
        }
    }

    function testFuzz_bytes_that_do_not_end_with_an_item_revert(uint16 cut) public {
        bytes memory items = bytes.concat(paying(1, 5, payee(1)), paying(2, 6, payee(1)));
        uint256 length = bound(cut, 1, items.length - 1);
        // The first item may end just there.
        if (length == items.length / 2) length -= 1;
        assembly {
            mstore(items, length)
        }
        vm.prank(RELAYER);
        vm.expectRevert(ITransfers.MalformedItems.selector);
        transfers.transfer(address(usdc), 0, items);
    }

    function test_what_is_no_contract_is_no_token() public {
        bytes memory items = paying(1, 5, payee(1));
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(ITransfers.NotAContract.selector, address(0xE0A)));
        transfers.transfer(address(0xE0A), 0, items);
        vm.prank(RELAYER);
        vm.expectRevert(abi.encodeWithSelector(ITransfers.NotAContract.selector, address(0)));
        transfers.permit2(address(usdc), 0, items);
    }

    function testFuzz_each_function_has_exactly_one_role(uint8 who, uint8 what) public {
        address[5] memory callers = [ADMIN, GUARDIAN, GOVERNOR, RELAYER, address(0x57A)];
        (bytes memory call, address holder) = _door(what % 5);
        vm.prank(callers[who % 5]);
        (bool success,) = address(transfers).call(call);
        vm.assertEq(success, callers[who % 5] == holder, "only the holder");
    }

    function _door(uint8 what) private returns (bytes memory, address) {
        if (what == 0) return (abi.encodeCall(transfers.transfer, (address(usdc), 0, "")), RELAYER);
        if (what == 1) return (abi.encodeCall(transfers.freeze, ()), GUARDIAN);
        if (what == 2) {
            vm.prank(GUARDIAN);
            transfers.freeze();
            return (abi.encodeCall(transfers.unfreeze, ()), GOVERNOR);
        }
        if (what == 3) return (abi.encodeCall(transfers.setWalletFactory, (address(usdc), true)), GOVERNOR);
        return (abi.encodeCall(IRoles.grantRole, (keccak256("RELAYER_ROLE"), address(0x57A))), ADMIN);
    }

    /// The vault's epoch counts here as well: one transaction fences both.
    function testFuzz_a_lost_region_changes_nothing(uint64 raised, uint64 epoch) public {
        raised = uint64(bound(raised, 1, 1024));
        epoch = uint64(bound(epoch, 0, 2048));
        vm.prank(EPOCH_KEEPER);
        vault.raiseMinEpoch(raised);
        bytes memory items = paying(1, 5, payee(1));
        vm.prank(RELAYER);
        (bool success,) =
            address(transfers).call(abi.encodeCall(transfers.transfer, (address(usdc), epoch, items)));
        vm.assertEq(success, epoch >= raised, "only the epoch's owner");
        vm.assertEq(usdc.balanceOf(payee(1)), success ? 5 : 0, "and nothing else moved");
    }

    function test_frozen_it_moves_nothing() public {
        vm.prank(GUARDIAN);
        transfers.freeze();
        bytes memory items = paying(1, 5, payee(1));
        vm.prank(RELAYER);
        vm.expectRevert(ITransfers.TransfersAreFrozen.selector);
        transfers.transfer(address(usdc), 0, items);
    }
}

/// Tokens of every bad habit: what they do to their own holders is theirs, what this contract says of it must be true to it.
contract TransfersHostileTest is TransfersTest {
    function testFuzz_a_token_that_fails_or_says_so_is_reported_as_failed(uint8 mood) public {
        HostileToken token = new HostileToken();
        Mood[5] memory moods = [Mood.SaysFalse, Mood.Reverts, Mood.MovesAndSaysFalse, Mood.ReturnBomb, Mood.BurnsGas];
        token.setMood(moods[mood % 5]);
        token.mint(payer(1), 100);
        Authorization memory a = draft(1, 10);
        a.signature = new bytes(65);
        vm.recordLogs();
        vm.prank(RELAYER);
        transfers.transfer(address(token), 0, transferItem(a, payee(1)));
        (uint256 count, uint256 amount) = said(vm.getRecordedLogs());
        vm.assertEq(count, 0, "not counted");
        vm.assertEq(amount, 0, "not summed");
    }

    function test_a_token_cannot_come_back_in() public {
        HostileToken token = new HostileToken();
        vm.prank(ADMIN);
        IRoles(address(transfers)).grantRole(keccak256("RELAYER_ROLE"), address(token));
        token.setMood(Mood.Reenters);
        token.mint(payer(1), 100);
        bytes memory inner = paying(2, 9, payee(2));
        token.setAttack(vault, "");
        // The hostile token calls its "vault": here that is this contract.
        (bool set,) = address(token).call(
            abi.encodeWithSignature(
                "setAttack(address,bytes)",
                address(transfers),
                abi.encodeCall(ITransfers.transfer, (address(usdc), 0, inner))
            )
        );
        vm.assertTrue(set, "armed");
        Authorization memory a = draft(1, 10);
        a.signature = new bytes(65);
        vm.prank(RELAYER);
        transfers.transfer(address(token), 0, transferItem(a, payee(1)));
        vm.assertEq(token.attackSucceeded(), false, "refused");
        vm.assertEq(usdc.balanceOf(payee(2)), 0, "nothing by the back door");
    }
}

/// Whatever relayers, payers and strangers do in whatever order: the contract holds nothing, and what it says it executed is what
/// its payees got.
contract TransfersInvariants is TransfersTest {
    uint256 private _saidCount;
    uint256 private _saidAmount;
    uint256 private _byStrangers;
    bytes[] private _spent;

    function setUp() public override {
        super.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](3);
        (selectors[0], selectors[1], selectors[2]) = (this.pay.selector, this.replay.selector, this.runAhead.selector);
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(this), selectors);
    }

    function _note(Vm.Log[] memory logs) private {
        (uint256 count, uint256 amount) = said(logs);
        _saidCount += count;
        _saidAmount += amount;
    }

    function pay(uint8 number, uint96 value, uint8 badKey) public {
        value = uint96(bound(value, 0, 1e12));
        Authorization memory a = draft(number, value);
        // Every third is signed by somebody else.
        uint256 key = badKey % 3 == 0 ? payerKey(uint256(number) + 1) : payerKey(number);
        bytes memory item = transferItem(signedTransfer(key, a, payee(number % 5)), payee(number % 5));
        _spent.push(item);
        _note(send(bytes.concat(item, paying(uint256(number) + 300, 3, payee(number % 5)))));
    }

    function replay(uint256 which) public {
        if (_spent.length == 0) return;
        (uint256 before,) = (_saidCount, 0);
        _note(send(_spent[which % _spent.length]));
        vm.assertEq(_saidCount, before, "nothing twice");
    }

    function runAhead(uint8 number, uint96 value) public {
        value = uint96(bound(value, 0, 1e12));
        address to = payee(number % 5);
        Authorization memory a = signedTransfer(payerKey(number), draft(number, value), to);
        IUsdcTransfer(address(usdc)).transferWithAuthorization(
            a.from, to, a.value, a.validAfter, a.validBefore, a.nonce, a.signature
        );
        _byStrangers += value;
        _note(send(transferItem(a, to)));
    }

    function invariant_holds_nothing_and_says_what_was_moved() public view {
        vm.assertEq(usdc.balanceOf(address(transfers)), 0, "holds nothing");
        uint256 held;
        for (uint256 i = 0; i < 5; ++i) {
            held += usdc.balanceOf(payee(i));
        }
        vm.assertEq(held, _saidAmount + _byStrangers, "sum of executed items");
    }
}
