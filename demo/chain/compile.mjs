// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Compiles contracts/*.sol to artifacts/<Contract>.json (ABI, creation and runtime bytecode), and
// the order system's abi/Reader.sol to abi/Reader.json beside it.
// Usage: npm ci && npm run compile
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const sources = {};
// Where sources lie and artifacts go; the order system's reader is compiled along with the rest.
const orders = join(here, "../../order_system/orders/abi");
const folders = [[join(here, "contracts"), join(here, "artifacts")], [orders, orders]];
const destinations = {};
for (const [from, to] of folders) {
  for (const name of readdirSync(from).filter((n) => n.endsWith(".sol")).sort()) {
    sources[name] = { content: readFileSync(join(from, name), "utf8") };
    destinations[name] = to;
  }
}
// evmVersion: the oldest one that both Anvil and Hardhat's node run without further settings.
// metadata without a hash: the bytecode depends on the code only, not on comments or paths.
const settings = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "paris",
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
const input = JSON.stringify({ language: "Solidity", sources, settings });
const output = JSON.parse(
  solc.compile(input, { import: (path) => ({ contents: sources[path].content }) }),
);
for (const message of output.errors ?? []) console.error(message.formattedMessage);
if ((output.errors ?? []).some((message) => message.severity === "error")) process.exit(1);

for (const [source, contracts] of Object.entries(output.contracts)) {
  for (const [contract, { abi, evm }] of Object.entries(contracts)) {
    const artifact = {
      contract,
      source,
      command: "cd demo/chain && npm ci && npm run compile",
      compiler: solc.version(),
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    };
    mkdirSync(destinations[source], { recursive: true });
    const path = join(destinations[source], `${contract}.json`);
    writeFileSync(path, `${JSON.stringify(artifact, null, 1)}\n`);
    console.log(`${contract}: ${evm.deployedBytecode.object.length / 2} bytes`);
  }
}
