// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Keeps one series complete: the newest page first, older ones on demand, holes closed after outages.
//
// Emits "reset" (all is new), "many" (older pages or repaired holes), "newest" (the running candle),
// "note" (text, or null when all is well).

import { ApiError } from "./api.js";
import { Backoff } from "./backoff.js";
import { Emitter } from "./events.js";
import { Series, fromMessage, fromRow } from "./series.js";
import { widthMs } from "./timeframes.js";

const FIRST_PAGE = 600;
const OLDER_PAGE = 1_500;
const MAX_PAGE = 5_000;
// An end of history is looked at again after that: the collector may still be loading.
const WHOLE_MS = 30_000;

export class Candles extends Emitter {
  #api;
  #abort = new AbortController();
  #isReadingOlder = false;
  #isCatchingUp = false;

  constructor(api) {
    super();
    this.#api = api;
    this.series = new Series();
    this.symbol = null;
    this.timeframe = null;
    this.wholeSinceMs = null;
    this.heardMs = null;
  }

  /** Shows another symbol or timeframe; reads until there is something. */
  async show(symbol, timeframe) {
    this.#abort.abort();
    this.#abort = new AbortController();
    Object.assign(this, { symbol, timeframe, wholeSinceMs: null, heardMs: null });
    Object.assign(this, { series: new Series() });
    this.#isReadingOlder = this.#isCatchingUp = false;
    this.emit("reset");
    this.emit("note", "Loading…");
    const rows = await this.#read({ limit: FIRST_PAGE });
    if (rows === null) return;
    this.#noteEnd(rows.length < FIRST_PAGE);
    this.series.merge(rows);
    this.emit("note", rows.length === 0 ? "No candles yet." : null);
    this.emit("reset");
  }

  /** Reads a page before the oldest candle; several calls at once read it once. */
  async readOlder() {
    const { oldest } = this.series;
    const isWhole = this.wholeSinceMs !== null && performance.now() - this.wholeSinceMs < WHOLE_MS;
    if (this.#isReadingOlder || isWhole || oldest === null) return;
    this.#isReadingOlder = true;
    this.emit("note", "Loading history…");
    const rows = await this.#read({ end_date: oldest.timestamp - 1, limit: OLDER_PAGE });
    if (rows === null) return; // another symbol is shown by now
    this.#isReadingOlder = false;
    this.#noteEnd(rows.length < OLDER_PAGE);
    this.emit("note", null);
    if (this.series.merge(rows) !== "nothing") this.emit("many");
  }

  #noteEnd(isEnd) {
    this.wholeSinceMs = isEnd ? performance.now() : null;
  }

  /** Reads what may have been missed while nothing was heard. */
  async catchUp() {
    const fromMs = this.series.resumeMs;
    if (this.#isCatchingUp || fromMs === null) return;
    this.#isCatchingUp = true;
    const rows = await this.#read({ start_date: fromMs, limit: MAX_PAGE });
    if (rows === null) return;
    this.#isCatchingUp = false;
    if (rows.length === MAX_PAGE) await this.show(this.symbol, this.timeframe);
    else if (this.series.merge(rows) !== "nothing") this.emit("many");
  }

  /** Takes a message of the socket that is about this series. */
  hear(message) {
    this.heardMs = performance.now();
    const candle = fromMessage(message);
    const { newest } = this.series;
    if (newest === null) return; // the first page is under way and will have it
    if (candle.timestamp < newest.timestamp) {
      if (this.series.indexOf(candle.timestamp) < 0) return;
      if (this.series.merge([candle]) !== "nothing") this.emit("many");
      return;
    }
    if (candle.timestamp - newest.timestamp > widthMs(this.timeframe)) this.catchUp();
    const change = this.series.merge([candle]);
    if (change !== "nothing") this.emit(change);
  }

  /** Reads a page, trying again for as long as this series is shown; null once it is not. */
  async #read(query) {
    const { signal } = this.#abort;
    const backoff = new Backoff({ baseMs: 1_000, maxMs: 10_000 });
    const about = { symbol: this.symbol, timeframe: this.timeframe };
    while (!signal.aborted) {
      try {
        const rows = await this.#api.get("/candles", { ...about, ...query }, { signal });
        return signal.aborted ? null : rows.map(fromRow);
      } catch (error) {
        if (signal.aborted) return null;
        if (!(error instanceof ApiError)) throw error;
        this.emit("note", `Candles cannot be read now (${error.message}). Trying again…`);
        await new Promise((resolve) => setTimeout(resolve, backoff.next()));
      }
    }
    return null;
  }
}
