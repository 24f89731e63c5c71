// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
pragma solidity ^0.8.20;

/// @title The Trading contract of the local chain
/// @notice Same interface, events and corner cases as the deployed Trading contract, but no pools,
/// no vault and no proxy: prices are not checked and no tokens move. It exists so that the order
/// system can be run, shown and tested on a chain at home.
///
/// Kept on purpose, because an indexer has to survive them:
/// - `cancelOrder(address(0), id)` and `modifyOrder(address(0), id, ...)` succeed for ids that do
///   not exist yet, and a later create of that id starts afresh;
/// - `executed` becomes true for executed and for cancelled orders;
/// - `user` in `cancelOrder` is an argument, not the sender;
/// - `executor` in `selfExecuteOrder` is an argument, not the sender;
/// - a zero `minAmountOut` is replaced by a computed one that no creation event carries.
contract Trading {
    enum OrderType { LIMIT, STOP_LOSS, MARKET, CONDITIONAL }
    enum PositionType { LONG, SHORT }

    struct Order {
        uint256 id;
        address user;
        address tokenIn;
        address tokenOut;
        uint256 amountIn;
        uint256 targetPrice;
        uint256 minAmountOut;
        OrderType orderType;
        bool isLong;
        bool executed;
        uint256 createdAt;
        bool selfExecutable;
    }

    struct Position {
        uint256 id;
        address user;
        address token;
        uint256 collateralAmount;
        uint256 leverage;
        PositionType positionType;
        uint256 entryPrice;
        uint256 size;
        uint256 createdAt;
        bool isOpen;
    }

    event OrderCreated(
        uint256 indexed orderId,
        address indexed user,
        address tokenIn,
        address tokenOut,
        uint256 amountIn
    );
    event OrderExecuted(uint256 indexed orderId, address indexed executor, uint256 amountOut);
    event OrderCancelled(uint256 indexed orderId, address indexed user);
    event OrderModified(uint256 indexed orderId, uint256 newTargetPrice, uint256 newMinAmountOut);
    event ExecutionReward(
        uint256 indexed orderId,
        address indexed executor,
        uint256 reward,
        uint256 timestamp
    );
    event PositionOpened(
        uint256 indexed positionId,
        address indexed user,
        address token,
        uint256 size
    );
    event PositionClosed(uint256 indexed positionId, address indexed user, int256 pnl);
    event PositionLiquidated(
        uint256 indexed positionId,
        address indexed user,
        address indexed liquidator,
        int256 pnl
    );

    address public immutable admin = msg.sender;
    uint256 public nextOrderId = 1;
    uint256 public nextPositionId = 1;
    mapping(uint256 => Order) internal orders;
    mapping(uint256 => Position) internal positions;

    function createLimitOrder(
        address user,
        address tokenIn,
        address tokenOut,
        uint256 amountIn,
        uint256 targetPrice,
        uint256 minAmountOut,
        bool isLong
    ) public returns (uint256) {
        Order memory order;
        order.user = user;
        order.tokenIn = tokenIn;
        order.tokenOut = tokenOut;
        order.amountIn = amountIn;
        order.targetPrice = targetPrice;
        order.minAmountOut = minAmountOut;
        order.orderType = OrderType.LIMIT;
        order.isLong = isLong;
        return _create(order);
    }

    function createStopLossOrder(
        address user,
        address tokenIn,
        address tokenOut,
        uint256 amountIn,
        uint256 stopPrice,
        uint256 minAmountOut
    ) public returns (uint256) {
        Order memory order;
        order.user = user;
        order.tokenIn = tokenIn;
        order.tokenOut = tokenOut;
        order.amountIn = amountIn;
        order.targetPrice = stopPrice;
        order.minAmountOut = minAmountOut;
        order.orderType = OrderType.STOP_LOSS;
        return _create(order);
    }

    function executeOrder(uint256 orderId) public {
        _execute(orderId, msg.sender);
    }

    function selfExecuteOrder(address executor, uint256 orderId) public {
        require(orders[orderId].selfExecutable, "not self executable");
        _execute(orderId, executor);
    }

    function cancelOrder(address user, uint256 orderId) public {
        Order storage order = orders[orderId];
        require(order.user == user || user == admin, "not the owner");
        require(!order.executed, "already executed");
        order.executed = true;
        emit OrderCancelled(orderId, user);
    }

    function modifyOrder(
        address user,
        uint256 orderId,
        uint256 newTargetPrice,
        uint256 newMinAmountOut
    ) public {
        Order storage order = orders[orderId];
        require(order.user == user, "not the owner");
        require(!order.executed, "already executed");
        order.targetPrice = newTargetPrice;
        order.minAmountOut = newMinAmountOut == 0 ? _quote(order.amountIn) : newMinAmountOut;
        emit OrderModified(orderId, newTargetPrice, order.minAmountOut);
    }

    function getOrder(uint256 orderId) external view returns (Order memory) {
        return orders[orderId];
    }

    function openPosition(
        address user,
        address token,
        uint256 collateralAmount,
        uint256 leverage,
        PositionType positionType,
        uint256 entryPrice
    ) public returns (uint256 positionId) {
        positionId = nextPositionId++;
        uint256 size = collateralAmount * leverage;
        positions[positionId] = Position(
            positionId, user, token, collateralAmount, leverage, positionType, entryPrice, size,
            block.timestamp, true
        );
        emit PositionOpened(positionId, user, token, size);
    }

    function closePosition(uint256 positionId, int256 pnl) public {
        Position storage position = positions[positionId];
        require(position.isOpen, "not open");
        position.isOpen = false;
        emit PositionClosed(positionId, position.user, pnl);
    }

    function liquidatePosition(uint256 positionId, int256 pnl) public {
        Position storage position = positions[positionId];
        require(position.isOpen, "not open");
        position.isOpen = false;
        emit PositionLiquidated(positionId, position.user, msg.sender, pnl);
    }

    function getPosition(uint256 positionId) external view returns (Position memory) {
        return positions[positionId];
    }

    function version() external pure virtual returns (string memory) {
        return "linkora-local-1";
    }

    function _create(Order memory order) internal returns (uint256 orderId) {
        orderId = nextOrderId++;
        order.id = orderId;
        if (order.minAmountOut == 0) order.minAmountOut = _quote(order.amountIn);
        order.createdAt = block.timestamp;
        order.selfExecutable = true;
        orders[orderId] = order;
        emit OrderCreated(orderId, order.user, order.tokenIn, order.tokenOut, order.amountIn);
    }

    function _execute(uint256 orderId, address executor) internal {
        Order storage order = orders[orderId];
        require(order.id == orderId && orderId != 0, "no such order");
        require(!order.executed, "already executed");
        order.executed = true;
        emit ExecutionReward(orderId, executor, order.minAmountOut / 1000, block.timestamp);
        emit OrderExecuted(orderId, executor, order.minAmountOut);
    }

    /// @dev Stands for the pool's quote less five per cent; the division keeps 2^256-1 legal.
    function _quote(uint256 amountIn) internal pure returns (uint256) {
        return amountIn - amountIn / 20;
    }
}
