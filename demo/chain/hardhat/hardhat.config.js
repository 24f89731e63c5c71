// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Only the node is used: no contract is compiled here.
module.exports = { solidity: "0.8.20", networks: { hardhat: { chainId: 31337 } } };
