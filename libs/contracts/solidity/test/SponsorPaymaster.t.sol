// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "./Vm.sol";

struct PackedUserOperation {
    address sender;
    uint256 nonce;
    bytes initCode;
    bytes callData;
    bytes32 accountGasLimits;
    uint256 preVerificationGas;
    bytes32 gasFees;
    bytes paymasterAndData;
    bytes signature;
}

interface IEntryPoint {
    function handleOps(PackedUserOperation[] calldata ops, address payable beneficiary) external;
    function depositTo(address account) external payable;
    function balanceOf(address account) external view returns (uint256);
    function getNonce(address sender, uint192 key) external view returns (uint256);
    function getDepositInfo(address account)
        external
        view
        returns (uint256 deposit, bool staked, uint112 stake, uint32 unstakeDelaySec, uint48 withdrawTime);
}

interface IPaymaster {
    function getHash(PackedUserOperation calldata userOp) external view returns (bytes32);
    function validatePaymasterUserOp(PackedUserOperation calldata userOp, bytes32 hash, uint256 maxCost)
        external
        returns (bytes memory, uint256);
    function postOp(uint8 mode, bytes calldata context, uint256 cost, uint256 fee) external;
    function setSigner(address signer, uint48 until) external;
    function setCostPerOperationMax(uint128 costMax) external;
    function pause() external;
    function unpause() external;
    function deposit() external payable;
    function withdrawTo(address payable to, uint256 amount) external;
    function addStake(uint32 delay) external payable;
    function unlockStake() external;
    function withdrawStake(address payable to) external;
    function grantRole(bytes32 role, address account) external;
    function getDeposit() external view returns (uint256);
}

/// An account that agrees to everything: here the user is the attacker.
contract Agreeable {
    function validateUserOp(PackedUserOperation calldata, bytes32, uint256) external pure returns (uint256) {
        return 0;
    }

    function burn(uint256 gasToBurn) external view {
        uint256 until = gasleft() - gasToBurn;
        while (gasleft() > until) {}
    }

    function fail() external pure {
        revert("as told");
    }
}

/// What is written first: the signer agrees to who and what, and the gas is whatever the operation says.
contract NaivePaymaster {
    address private immutable _signer;

    constructor(address signer) {
        _signer = signer;
    }

    function digestOf(PackedUserOperation calldata op) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), op.sender, op.nonce, keccak256(op.callData)));
    }

    function validatePaymasterUserOp(PackedUserOperation calldata op, bytes32, uint256)
        external
        view
        returns (bytes memory, uint256)
    {
        bytes calldata s = op.paymasterAndData[52:];
        address by = ecrecover(digestOf(op), uint8(s[64]), bytes32(s[0:32]), bytes32(s[32:64]));
        return ("", by == _signer ? 0 : 1);
    }
}

/// The paymaster under the published entry points.
abstract contract SponsorPaymasterTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    address internal constant ADMIN = address(0xA11);
    address internal constant GUARDIAN = address(0xA12);
    address internal constant GOVERNOR = address(0xA13);
    address internal constant TREASURY = address(0xA16);
    address internal constant BUNDLER = address(0xB0B);
    address payable internal constant BENEFICIARY = payable(address(0xBEEF));
    uint256 internal constant SIGNER_KEY = 0x5160;
    bytes32 internal constant SPONSORED = keccak256("Sponsored(bytes32,bytes32,address,uint256,uint256)");
    bytes32 internal constant OPERATION =
        keccak256("UserOperationEvent(bytes32,address,address,uint256,bool,uint256,uint256)");
    uint128 internal constant COST_MAX = 0.05 ether;
    uint64 internal constant FEE = 2 gwei;

    struct Gas {
        uint256 verification;
        uint256 call;
        uint256 preVerification;
        uint256 paymasterVerification;
        uint256 postOp;
        uint256 fee;
        uint256 priority;
    }

    IEntryPoint internal entryPoint;
    IPaymaster internal paymaster;
    NaivePaymaster internal naive;
    Agreeable internal account;

    function artifact() internal pure virtual returns (string memory);

    function setUp() public {
        vm.warp(1_800_000_000);
        vm.fee(1 gwei);
        entryPoint = IEntryPoint(_create(artifact(), ""));
        paymaster = IPaymaster(
            _create(
                "SponsorPaymaster.json",
                abi.encode(
                    address(entryPoint), ADMIN, uint48(0), GOVERNOR, GUARDIAN, TREASURY, vm.addr(SIGNER_KEY), COST_MAX
                )
            )
        );
        naive = new NaivePaymaster(vm.addr(SIGNER_KEY));
        account = new Agreeable();
        vm.deal(address(this), 100 ether);
        paymaster.deposit{value: 10 ether}();
        entryPoint.depositTo{value: 10 ether}(address(naive));
    }

    function _create(string memory name, bytes memory arguments) private returns (address made) {
        bytes memory code = abi.encodePacked(vm.getCode(string.concat("out/artifacts/", name)), arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), name);
    }

    // -------------------------------------------------------------------------------------------- operations

    function modest() internal pure returns (Gas memory) {
        return Gas(60_000, 100_000, 50_000, 60_000, 40_000, FEE, 1 gwei);
    }

    function operation(Gas memory gas_) internal view returns (PackedUserOperation memory op) {
        op.sender = address(account);
        op.nonce = entryPoint.getNonce(address(account), 0);
        op.callData = abi.encodeCall(Agreeable.burn, (20_000));
        spend(op, gas_);
    }

    function spend(PackedUserOperation memory op, Gas memory gas_) internal pure {
        op.accountGasLimits = bytes32((gas_.verification << 128) | gas_.call);
        op.preVerificationGas = gas_.preVerification;
        op.gasFees = bytes32((gas_.priority << 128) | gas_.fee);
    }

    function costOf(Gas memory g) internal pure returns (uint256) {
        return (g.verification + g.call + g.preVerification + g.paymasterVerification + g.postOp) * g.fee;
    }

    /// The signer agrees to these maxima; the operation then asks for `gas_`.
    function sponsor(PackedUserOperation memory op, Gas memory caps, Gas memory gas_, uint128 costMax)
        internal
        view
        returns (PackedUserOperation memory)
    {
        bytes memory capped = abi.encodePacked(
            uint64(caps.verification),
            uint64(caps.call),
            uint64(caps.preVerification),
            uint64(caps.paymasterVerification),
            uint64(caps.postOp),
            uint64(caps.fee),
            uint64(caps.priority),
            costMax
        );
        op.paymasterAndData = abi.encodePacked(
            address(paymaster),
            uint128(gas_.paymasterVerification),
            uint128(gas_.postOp),
            uint48(block.timestamp + 60),
            uint48(0),
            keccak256("sponsorship"),
            keccak256("sponsor"),
            capped,
            new bytes(65)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SIGNER_KEY, paymaster.getHash(op));
        bytes memory data = op.paymasterAndData;
        bytes memory signature = abi.encodePacked(r, s, v);
        for (uint256 i = 0; i < 65; ++i) {
            data[200 + i] = signature[i];
        }
        return op;
    }

    function bundle(PackedUserOperation memory op) internal returns (bool success) {
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        vm.prank(BUNDLER, BUNDLER);
        (success,) = address(entryPoint).call(abi.encodeCall(IEntryPoint.handleOps, (ops, BENEFICIARY)));
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    // --------------------------------------------------------------------------------------------------- drains

    /// account-abstraction #618: the gas that is paid for is the user's choice. Here the user is the bundler as well, asks for a
    /// preVerificationGas of millions and keeps what the deposit pays. The naive paymaster loses it all, ours nothing.
    function test_a_user_chosen_gas_field_drains_the_naive_paymaster_and_not_this_one() public {
        Gas memory greedy = modest();
        greedy.preVerification = 9 ether / FEE;
        PackedUserOperation memory op = operation(greedy);
        op.paymasterAndData = abi.encodePacked(address(naive), uint128(60_000), uint128(0), new bytes(65));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SIGNER_KEY, naive.digestOf(op));
        op.paymasterAndData = abi.encodePacked(address(naive), uint128(60_000), uint128(0), r, s, v);
        vm.assertTrue(bundle(op), "the naive one pays");
        vm.assertGe(BENEFICIARY.balance, 9 ether, "the attacker has it");

        uint256 before = paymaster.getDeposit();
        for (uint256 field = 0; field < 7; ++field) {
            vm.assertTrue(!bundle(sponsor(operation(modest()), modest(), modest(), 0)), "no cost allowed, none paid");
            Gas memory asked = raise(field, type(uint32).max);
            PackedUserOperation memory drain = operation(asked);
            vm.assertTrue(!bundle(sponsor(drain, modest(), asked, type(uint128).max)), "refused");
        }
        vm.assertEq(paymaster.getDeposit(), before, "nothing lost");
    }

    /// erc20-paymaster #10: a limit that is asked for and not used costs a tenth of it (v0.8: beyond 40,000), taken after
    /// `postOp` was told the cost. It stays below the signed maximum, and the log's bound holds it.
    function testFuzz_the_penalty_for_unused_gas_is_within_what_was_signed(uint32 unused) public {
        Gas memory wasteful = modest();
        wasteful.call = bound(unused, 100_000, 8_000_000);
        uint256 before = paymaster.getDeposit();
        vm.recordLogs();
        vm.assertTrue(
            bundle(sponsor(operation(wasteful), wasteful, wasteful, uint128(costOf(wasteful)))), "executed"
        );
        uint256 lost = before - paymaster.getDeposit();
        (uint256 soFar, uint256 atMost, uint256 actual,) = charged(vm.getRecordedLogs());
        vm.assertEq(lost, actual, "what the entry point says");
        vm.assertLe(soFar, actual, "so far");
        vm.assertLe(actual, atMost, "at most");
        vm.assertLe(atMost, costOf(wasteful), "reserved");
        // With a cap the user cannot waste it in the first place.
        if (wasteful.call > 100_000) {
            vm.assertTrue(!bundle(sponsor(operation(wasteful), modest(), wasteful, type(uint128).max)), "capped");
        }
    }

    function raise(uint256 field, uint256 by) internal pure returns (Gas memory g) {
        g = modest();
        if (field == 0) g.verification += by;
        else if (field == 1) g.call += by;
        else if (field == 2) g.preVerification += by;
        else if (field == 3) g.paymasterVerification += by;
        else if (field == 4) g.postOp += by;
        else if (field == 5) g.fee += by;
        else g.priority += by;
    }

    function testFuzz_each_gas_field_is_refused_from_one_above_its_maximum(uint8 field, uint32 by, bool over) public {
        Gas memory caps = modest();
        Gas memory asked = modest();
        // An operation that asks for less than the maximum is good, for one more is not.
        if (over) asked = raise(field % 7, bound(by, 1, 1e6));
        else caps = raise(field % 7, by);
        bool success = bundle(sponsor(operation(asked), caps, asked, uint128(0.02 ether)));
        vm.assertEq(success, !over, "by the cap");
    }

    function testFuzz_the_whole_cost_has_a_maximum_of_its_own(uint128 costMax) public {
        uint256 cost = costOf(modest());
        bool success = bundle(sponsor(operation(modest()), modest(), modest(), costMax));
        vm.assertEq(success, costMax >= cost, "by the signed cost");
    }

    function test_the_governor_bounds_what_a_stolen_signing_key_can_spend_at_once() public {
        vm.prank(GOVERNOR);
        paymaster.setCostPerOperationMax(uint128(costOf(modest()) - 1));
        vm.assertTrue(!bundle(sponsor(operation(modest()), modest(), modest(), type(uint128).max)), "refused");
        vm.prank(GOVERNOR);
        paymaster.setCostPerOperationMax(uint128(costOf(modest())));
        vm.assertTrue(bundle(sponsor(operation(modest()), modest(), modest(), type(uint128).max)), "paid");
    }

    // --------------------------------------------------------------------------------------------------- terms

    function testFuzz_any_changed_byte_of_the_terms_is_refused(uint16 at, uint8 by) public {
        PackedUserOperation memory op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        uint256 place = bound(at, 52, 264);
        bytes memory data = op.paymasterAndData;
        data[place] = bytes1(uint8(data[place]) ^ uint8(bound(by, 1, 255)));
        vm.assertTrue(!bundle(op), "refused");
    }

    function testFuzz_terms_are_for_one_operation(uint8 what, uint64 by) public {
        by = uint64(bound(by, 1, type(uint32).max));
        PackedUserOperation memory op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        if (what % 3 == 0) op.sender = address(new Agreeable());
        else if (what % 3 == 1) op.callData = abi.encodeCall(Agreeable.burn, (20_000 + by));
        else op.nonce = (uint256(by) << 64);
        vm.assertTrue(!bundle(op), "not for another");
        PackedUserOperation memory good = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        vm.assertTrue(bundle(good), "once");
        vm.assertTrue(!bundle(good), "not twice");
    }

    function test_terms_end_and_must_have_an_end() public {
        PackedUserOperation memory op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        vm.warp(block.timestamp + 61);
        vm.assertTrue(!bundle(op), "over");
        for (uint256 i = 52; i < 58; ++i) {
            op.paymasterAndData[i] = 0;
        }
        vm.assertTrue(!bundle(op), "for ever is no term");
    }

    function test_a_reverted_call_is_paid_for_and_logged() public {
        PackedUserOperation memory op = operation(modest());
        op.callData = abi.encodeCall(Agreeable.fail, ());
        uint256 before = paymaster.getDeposit();
        vm.recordLogs();
        vm.assertTrue(bundle(sponsor(op, modest(), modest(), COST_MAX)), "executed");
        (, uint256 atMost, uint256 actual, bool success) = charged(vm.getRecordedLogs());
        vm.assertEq(success, false, "failed inside");
        vm.assertEq(before - paymaster.getDeposit(), actual, "paid");
        vm.assertLe(actual, atMost, "bounded");
    }

    /// With too little gas `postOp` would fail, the operation be undone, and the sponsor pay without a log here.
    function testFuzz_post_op_always_has_room_for_its_log(uint16 postOp) public {
        Gas memory tight = modest();
        tight.postOp = postOp;
        vm.recordLogs();
        bool success = bundle(sponsor(operation(tight), modest(), tight, COST_MAX));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(success, postOp >= 20_000 && postOp <= 40_000, "by the minimum and the cap");
        uint256 notes;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == SPONSORED) ++notes;
        }
        vm.assertEq(notes, success ? 1 : 0, "a log for each that is paid");
    }

    function charged(Vm.Log[] memory logs)
        internal
        view
        returns (uint256 soFar, uint256 atMost, uint256 actual, bool success)
    {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(paymaster) && logs[i].topics[0] == SPONSORED) {
                vm.assertTrue(logs[i].topics[1] == keccak256("sponsorship"), "sponsorship");
                vm.assertTrue(logs[i].topics[2] == keccak256("sponsor"), "sponsor");
                (soFar, atMost) = abi.decode(logs[i].data, (uint256, uint256));
            }
            if (logs[i].emitter == address(entryPoint) && logs[i].topics[0] == OPERATION) {
                (, success, actual,) = abi.decode(logs[i].data, (uint256, bool, uint256, uint256));
            }
        }
    }

    // --------------------------------------------------------------------------------------------------- roles

    function testFuzz_each_function_has_exactly_one_role(uint8 who, uint8 what) public {
        address[5] memory callers = [ADMIN, GUARDIAN, GOVERNOR, TREASURY, BUNDLER];
        address caller = callers[who % 5];
        vm.deal(caller, 1 ether);
        vm.prank(TREASURY);
        (bool staked,) = address(paymaster).call(abi.encodeCall(IPaymaster.addStake, (1)));
        staked;
        (bytes memory call, address holder) = _door(what % 7);
        vm.prank(caller);
        (bool success,) = address(paymaster).call(call);
        vm.assertEq(success, caller == holder, "only the holder");
    }

    function _door(uint8 what) private returns (bytes memory, address) {
        if (what == 0) return (abi.encodeCall(IPaymaster.setSigner, (address(1), 1)), GOVERNOR);
        if (what == 1) return (abi.encodeCall(IPaymaster.setCostPerOperationMax, (1)), GOVERNOR);
        if (what == 2) return (abi.encodeCall(IPaymaster.pause, ()), GUARDIAN);
        if (what == 3) {
            vm.prank(GUARDIAN);
            paymaster.pause();
            return (abi.encodeCall(IPaymaster.unpause, ()), GOVERNOR);
        }
        if (what == 4) return (abi.encodeCall(IPaymaster.withdrawTo, (BENEFICIARY, 1)), TREASURY);
        if (what == 5) return (abi.encodeCall(IPaymaster.grantRole, (keccak256("TREASURY_ROLE"), BUNDLER)), ADMIN);
        vm.deal(TREASURY, 1 ether);
        vm.prank(TREASURY);
        paymaster.addStake{value: 1}(1);
        return (abi.encodeCall(IPaymaster.unlockStake, ()), TREASURY);
    }

    function testFuzz_only_the_entry_point_validates_and_settles(address caller) public {
        vm.assume(caller != address(entryPoint));
        PackedUserOperation memory op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        vm.prank(caller);
        (bool success,) =
            address(paymaster).call(abi.encodeCall(IPaymaster.validatePaymasterUserOp, (op, bytes32(0), 0)));
        vm.assertEq(success, false, "validation");
        vm.prank(caller);
        (success,) = address(paymaster).call(abi.encodeCall(IPaymaster.postOp, (0, new bytes(160), 0, 0)));
        vm.assertEq(success, false, "postOp");
    }

    function test_the_treasury_takes_out_the_deposit_and_the_stake() public {
        vm.deal(TREASURY, 1 ether);
        vm.startPrank(TREASURY);
        paymaster.withdrawTo(BENEFICIARY, 10 ether);
        paymaster.addStake{value: 1 ether}(100);
        paymaster.unlockStake();
        vm.warp(block.timestamp + 101);
        paymaster.withdrawStake(BENEFICIARY);
        vm.stopPrank();
        vm.assertEq(BENEFICIARY.balance, 11 ether, "both");
        vm.assertEq(paymaster.getDeposit(), 0, "empty");
    }

    function test_a_key_takes_over_from_another() public {
        vm.startPrank(GOVERNOR);
        paymaster.setSigner(vm.addr(SIGNER_KEY), uint48(block.timestamp + 30));
        paymaster.setSigner(vm.addr(0x5161), type(uint48).max);
        vm.stopPrank();
        PackedUserOperation memory op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        vm.assertTrue(bundle(op), "the old one for a while");
        op = sponsor(operation(modest()), modest(), modest(), COST_MAX);
        vm.warp(block.timestamp + 31);
        vm.assertTrue(!bundle(op), "and no longer, though the terms go on");
    }

    function test_paused_it_pays_nothing() public {
        vm.prank(GUARDIAN);
        paymaster.pause();
        vm.assertTrue(!bundle(sponsor(operation(modest()), modest(), modest(), COST_MAX)), "paused");
    }
}

contract SponsorPaymasterOnV07 is SponsorPaymasterTest {
    function artifact() internal pure override returns (string memory) {
        return "EntryPointV07.json";
    }
}

contract SponsorPaymasterOnV08 is SponsorPaymasterTest {
    function artifact() internal pure override returns (string memory) {
        return "EntryPointV08.json";
    }
}
