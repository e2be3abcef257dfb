// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPaymentVault, Reason} from "../IPaymentVault.sol";
import {Vm} from "./Vm.sol";

interface IUsdc {
    function changeAdmin(address newAdmin) external;
    function initialize(
        string calldata tokenName,
        string calldata tokenSymbol,
        string calldata tokenCurrency,
        uint8 tokenDecimals,
        address masterMinter,
        address pauser,
        address blacklister,
        address owner
    ) external;
    function initializeV2(string calldata newName) external;
    function initializeV2_1(address lostAndFound) external;
    function initializeV2_2(address[] calldata accountsToBlacklist, string calldata newSymbol) external;
    function configureMinter(address minter, uint256 allowance) external returns (bool);
    function mint(address to, uint256 amount) external returns (bool);
    function blacklist(address account) external;
    function unBlacklist(address account) external;
    function pause() external;
    function unpause() external;
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

interface IRoles {
    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
    function hasRole(bytes32 role, address account) external view returns (bool);
}

/// What every test of the vault starts from: the real USDC, the vault's real bytecode, one holder per role.
abstract contract VaultTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    /// forge-test.ts links USDC against this address.
    address internal constant SIGNATURE_CHECKER = 0x5167000000000000000000000000000000005167;
    bytes32 internal constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    address internal constant ADMIN = address(0xA11);
    address internal constant GUARDIAN = address(0xA12);
    address internal constant GOVERNOR = address(0xA13);
    address internal constant EPOCH_KEEPER = address(0xA14);
    address internal constant RELAYER = address(0xA15);

    uint120 internal constant TRANSACTION_CAP = 1_000_000_000_000;
    uint128 internal constant WINDOW_CAP = 10_000_000_000_000;
    uint40 internal constant WINDOW = 86_400;

    bytes32 internal constant ALICE_SHOP = keccak256("merchant a");
    bytes32 internal constant BOB_SHOP = keccak256("merchant b");

    IUsdc internal usdc;
    IPaymentVault internal vault;
    uint256 private _nonces;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.etch(SIGNATURE_CHECKER, _create("SignatureChecker.json", "").code);
        address implementation = _create("FiatTokenV2_2.linked.json", "");
        usdc = IUsdc(_create("FiatTokenProxy.json", abi.encode(implementation)));
        usdc.changeAdmin(address(0xFFF));
        address self = address(this);
        usdc.initialize("USD Coin", "USDC", "USD", 6, self, self, self, self);
        usdc.initializeV2("USD Coin");
        usdc.initializeV2_1(address(0xFFE));
        usdc.initializeV2_2(new address[](0), "USDC");
        usdc.configureMinter(self, type(uint256).max);
        address[] memory relayers = new address[](1);
        relayers[0] = RELAYER;
        vault = IPaymentVault(
            _create(
                "PaymentVault.json", abi.encode(ADMIN, uint48(0), GUARDIAN, GOVERNOR, EPOCH_KEEPER, relayers)
            )
        );
        vm.prank(GOVERNOR);
        vault.setTokenRules(address(usdc), true, TRANSACTION_CAP, WINDOW_CAP, WINDOW);
    }

    function _create(string memory artifact, bytes memory arguments) internal returns (address made) {
        bytes memory code = abi.encodePacked(vm.getCode(string.concat("out/artifacts/", artifact)), arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), artifact);
    }

    // ------------------------------------------------------------------------------------------------- payers

    function payerKey(uint256 number) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("payer", number))) >> 1;
    }

    function payer(uint256 number) internal pure returns (address) {
        return vm.addr(payerKey(number));
    }

    struct Authorization {
        address from;
        uint96 value;
        uint40 validAfter;
        uint40 validBefore;
        bytes32 nonce;
        bytes signature;
    }

    function digestOf(Authorization memory a) internal view returns (bytes32) {
        bytes32 inner = keccak256(
            abi.encode(
                RECEIVE_TYPEHASH,
                a.from,
                address(vault),
                uint256(a.value),
                uint256(a.validAfter),
                uint256(a.validBefore),
                a.nonce
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", usdc.DOMAIN_SEPARATOR(), inner));
    }

    function signed(uint256 key, Authorization memory a) internal view returns (Authorization memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digestOf(a));
        a.signature = abi.encodePacked(r, s, v);
        return a;
    }

    /// A valid authorization of a payer who has twice the money.
    function authorization(uint256 number, uint96 value) internal returns (Authorization memory a) {
        a.from = payer(number);
        a.value = value;
        a.validBefore = uint40(block.timestamp + 1 hours);
        a.nonce = keccak256(abi.encode("nonce", ++_nonces));
        usdc.mint(a.from, uint256(value) * 2 + 1);
        return signed(payerKey(number), a);
    }

    function item(Authorization memory a) internal pure returns (bytes memory) {
        return abi.encodePacked(
            a.from, a.value, a.validAfter, a.validBefore, a.nonce, uint16(a.signature.length), a.signature
        );
    }

    function run(bytes32 merchantKey, uint16 count, bytes memory packed) internal pure returns (bytes memory) {
        return abi.encodePacked(merchantKey, count, packed);
    }

    function payout(address to, uint256 amount) internal pure returns (bytes memory) {
        return abi.encodePacked(to, uint96(amount));
    }

    function refundItem(bytes32 id, bytes32 merchantKey, address to, uint256 amount)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(id, merchantKey, to, uint96(amount));
    }

    // -------------------------------------------------------------------------------------------------- calls

    function collect(bytes memory items) internal {
        vm.prank(RELAYER);
        vault.collect(address(usdc), 0, items);
    }

    function settle(bytes32 batchId, bytes memory payouts) internal {
        vm.prank(RELAYER);
        vault.settle(address(usdc), 0, batchId, payouts);
    }

    function refund(bytes memory refunds) internal {
        vm.prank(RELAYER);
        vault.refund(address(usdc), 0, refunds);
    }

    /// Gives the merchant a balance the only way there is.
    function credit(bytes32 merchantKey, uint96 amount) internal {
        collect(run(merchantKey, 1, item(authorization(900_000 + _nonces, amount))));
    }

    function balance(bytes32 merchantKey) internal view returns (uint256) {
        return vault.merchantBalance(address(usdc), merchantKey);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    // --------------------------------------------------------------------------------------------------- logs

    /// The reason that the vault logged for this index under this topic, 0 when none. Call vm.recordLogs() before.
    function reasonAt(Vm.Log[] memory logs, bytes32 topic, uint256 index) internal view returns (uint8 reason) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter != address(vault) || logs[i].topics[0] != topic) continue;
            (uint256 at, uint8 why) = abi.decode(logs[i].data, (uint256, uint8));
            if (at == index) reason = why;
        }
    }

    function countOf(Vm.Log[] memory logs, bytes32 topic) internal view returns (uint256 count) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(vault) && logs[i].topics[0] == topic) ++count;
        }
    }
}
