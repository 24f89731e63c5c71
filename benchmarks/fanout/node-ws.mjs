// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Node's `ws` in the comparison: node node-ws.mjs CLIENTS MESSAGES RATE
import { WebSocketServer, WebSocket } from "ws";

const [clients, messages, rate] = process.argv.slice(2).map(Number);
const SIZE = 270;

function payload(number) {
  const text = `{"channel":"candles","symbol":"BTCUSDT","timestamp":${number},"filler":"`;
  return text + "x".repeat(SIZE - text.length - 2) + '"}';
}

const server = new WebSocketServer({
  host: "127.0.0.1", port: 0, backlog: 2048, perMessageDeflate: false,
});
server.on("listening", () => console.log(server.address().port));
let connected = 0;
server.on("connection", () => {
  connected += 1;
  if (connected === clients) setTimeout(measure, 500);
});

async function measure() {
  const cpu = process.cpuUsage();
  console.log(JSON.stringify({ cpu_s: (cpu.user + cpu.system) / 1e6 }));
  const began = performance.now();
  for (let number = 0; number < messages; number += 1) {
    const data = Buffer.from(payload(number)); // encoded once for all, as its readme advises
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
    }
    const due = began + ((number + 1) * 1000) / rate;
    await new Promise((done) => {
      if (rate) setTimeout(done, Math.max(0, due - performance.now()));
      else setImmediate(done);
    });
  }
}
