// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// One WebSocket that carries any number of subscriptions and comes back by itself.
//
// Emits "state" ("connecting" | "live" | "down"), "message" (an object), "refused" (key, text),
// "latency" (ms of a ping and its pong), "back" after a reconnection: whoever shows something then reads what it missed.

import { Backoff } from "./backoff.js";
import { Emitter } from "./events.js";

const PING_INTERVAL_MS = 5_000;
const SILENCE_MS = 15_000;
const STABLE_AFTER_MS = 10_000;

export class Socket extends Emitter {
  #url;
  #socket = null;
  #wanted = new Map();
  #backoff = new Backoff();
  #timer = null;
  #openedMs = 0;
  #heardMs = 0;
  #pingedMs = 0;
  #wasOpen = false;
  #isGivenUp = false;

  /**
   * @param {string} url
   * @param {{maxTries?: number}} options after so many failures in a row without ever having been
   *   open it gives up, because there may be nothing to connect to
   */
  constructor(url, { maxTries = Infinity } = {}) {
    super();
    this.#url = url;
    this.maxTries = maxTries;
    this.failures = 0;
    this.state = "connecting";
    this.latencyMs = null;
    this.clockOffsetMs = 0;
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retryNow();
    });
    setInterval(() => this.#keep(), PING_INTERVAL_MS);
  }

  /** Connects, and stays connected from then on. */
  start() {
    clearTimeout(this.#timer);
    this.#isGivenUp = false;
    this.#setState(this.#wasOpen ? "down" : "connecting");
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = () => this.#closed(socket);
  }

  /** Tries at once instead of waiting for the next turn. */
  retryNow() {
    if (this.state !== "live" && this.#socket?.readyState === WebSocket.CLOSED) this.start();
  }

  /** Follows `channels` under `key` instead of what that key stood for before. */
  follow(key, channels) {
    const before = this.#wanted.get(key);
    this.#wanted.set(key, channels);
    if (before) this.#send({ type: "unsubscribe", channels: before.map(withoutOptions) });
    this.#send({ type: "subscribe", id: key, channels });
  }

  #opened() {
    this.#openedMs = this.#heardMs = performance.now();
    this.failures = 0;
    for (const [id, channels] of this.#wanted) this.#send({ type: "subscribe", id, channels });
    this.#ping();
    this.#setState("live");
    if (this.#wasOpen) this.emit("back");
    this.#wasOpen = true;
  }

  #heard(text) {
    this.#heardMs = performance.now();
    if (this.#heardMs - this.#openedMs > STABLE_AFTER_MS) this.#backoff.reset();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.type === "pong") {
      this.latencyMs = this.#heardMs - this.#pingedMs;
      if (message.timestamp) {
        this.clockOffsetMs = message.timestamp - (Date.now() - this.latencyMs / 2);
      }
      this.emit("latency", this.latencyMs);
    } else if (message.type === "error" && message.id !== undefined) {
      this.#wanted.delete(message.id);
      this.emit("refused", message.id, message.error);
    } else {
      this.emit("message", message);
    }
  }

  #closed(socket) {
    if (socket !== this.#socket) return;
    this.latencyMs = null;
    this.failures += 1;
    this.#setState("down");
    if (!this.#wasOpen && this.failures >= this.maxTries) {
      this.#isGivenUp = true;
      return;
    }
    this.#timer = setTimeout(() => this.start(), this.#backoff.next());
  }

  /** True if there seems to be nothing at that address. */
  get isGivenUp() {
    return this.#isGivenUp;
  }

  /** Notices a connection that is open in name only: each ping must bring something back. */
  #keep() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - this.#heardMs > SILENCE_MS) {
      const dead = this.#socket;
      dead.close();
      this.#closed(dead);
      this.#socket = null;
    } else {
      this.#ping();
    }
  }

  #ping() {
    this.#pingedMs = performance.now();
    this.#send({ type: "ping", timestamp: Date.now() });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit("state", state);
  }
}

function withoutOptions({ interval: _, since: __, ...channel }) {
  return channel;
}
