// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
pragma solidity ^0.8.20;

import "./Trading.sol";

/// @title The Trading contract with a laboratory's extras
/// @notice For tests and benchmarks only: logs that no honest contract emits, many orders in one
/// transaction, and ids that jump. Everything else is the Trading contract itself.
contract TradingLab is Trading {
    /// @notice Emit any log with one to four topics from this contract's address.
    function emitLog(bytes32[] calldata topics, bytes calldata data) external {
        bytes memory payload = data;
        uint256 count = topics.length;
        if (count == 1) {
            bytes32 a = topics[0];
            assembly { log1(add(payload, 32), mload(payload), a) }
        } else if (count == 2) {
            (bytes32 a, bytes32 b) = (topics[0], topics[1]);
            assembly { log2(add(payload, 32), mload(payload), a, b) }
        } else if (count == 3) {
            (bytes32 a, bytes32 b, bytes32 c) = (topics[0], topics[1], topics[2]);
            assembly { log3(add(payload, 32), mload(payload), a, b, c) }
        } else {
            (bytes32 a, bytes32 b, bytes32 c, bytes32 d) =
                (topics[0], topics[1], topics[2], topics[3]);
            assembly { log4(add(payload, 32), mload(payload), a, b, c, d) }
        }
    }

    /// @notice Create `count` orders that differ in amount and price.
    function createMany(address user, address tokenIn, address tokenOut, uint256 count) external {
        for (uint256 i = 0; i < count; i++) {
            uint256 id = nextOrderId;
            createLimitOrder(user, tokenIn, tokenOut, 1e6 + id, 1e18 + id, 1 + id, id % 2 == 0);
        }
    }

    /// @notice Modify the orders `first` to `first + count - 1`.
    function modifyMany(uint256 first, uint256 count, uint256 price) external {
        for (uint256 id = first; id < first + count; id++) {
            modifyOrder(orders[id].user, id, price + id, price);
        }
    }

    /// @notice Modify, then execute or cancel, the orders `first` to `first + count - 1`.
    function settleMany(uint256 first, uint256 count) external {
        for (uint256 id = first; id < first + count; id++) {
            address user = orders[id].user;
            modifyOrder(user, id, 2e18 + id, 2 + id);
            if (id % 3 == 0) cancelOrder(user, id);
            else executeOrder(id);
        }
    }

    /// @notice Run several calls on this contract in one transaction, so in one block.
    function multicall(bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; i++) {
            (bool ok, ) = address(this).delegatecall(calls[i]);
            require(ok, "call failed");
        }
    }
}
