// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
pragma solidity ^0.8.20;

/// @title A token that has a symbol and decimals, and nothing to transfer
contract Token {
    string public name;
    string public symbol;
    uint8 public immutable decimals;

    constructor(string memory symbol_, uint8 decimals_) {
        name = symbol_;
        symbol = symbol_;
        decimals = decimals_;
    }
}

/// @title A token whose `decimals()` and `symbol()` revert
contract RevertingToken {
    function decimals() external pure returns (uint8) {
        revert("no decimals");
    }

    function symbol() external pure returns (string memory) {
        revert("no symbol");
    }
}

/// @title A token that answers with words no token should answer with
contract AbsurdToken {
    function decimals() external pure returns (uint256) {
        return type(uint256).max;
    }

    function symbol() external pure returns (bytes32) {
        return bytes32("ABSURD\x00\xff\x01");
    }
}
