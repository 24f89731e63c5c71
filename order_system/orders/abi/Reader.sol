// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
pragma solidity ^0.8.20;

/// @title Reads many structs of fixed size in one eth_call
/// @notice Never deployed: its code is put at an unused address for the length of a call (state
/// override). Input: the contract's address, the selector of a getter with one uint256, the words
/// of its answer, then the arguments, one word each. Output: the answers, one after the other;
/// zeros where the getter fails or answers in another size.
contract Reader {
    fallback(bytes calldata input) external returns (bytes memory output) {
        address target = address(uint160(uint256(bytes32(input[0:32]))));
        bytes4 selector = bytes4(input[32:36]);
        uint256 size = uint256(bytes32(input[64:96])) * 32;
        uint256 count = (input.length - 96) / 32;
        output = new bytes(size * count);
        for (uint256 i = 0; i < count; i++) {
            uint256 start = 96 + i * 32;
            (bool ok, bytes memory answer) =
                target.staticcall(abi.encodePacked(selector, input[start:start + 32]));
            if (!ok || answer.length != size) continue;
            assembly {
                let to := add(add(output, 32), mul(i, size))
                let from := add(answer, 32)
                for { let j := 0 } lt(j, size) { j := add(j, 32) } {
                    mstore(add(to, j), mload(add(from, j)))
                }
            }
        }
    }
}
