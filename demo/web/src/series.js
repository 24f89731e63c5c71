// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// The candles of one symbol and timeframe, merged from pages of history and live messages. Pure.

/**
 * @typedef {object} Candle
 * @property {number} timestamp open time, Unix ms
 * @property {string} open
 * @property {string} high
 * @property {string} low
 * @property {string} close
 * @property {string} volume
 * @property {string} quoteVolume
 * @property {number} trades
 * @property {boolean} isClosed
 */

/** Returns a candle from an element of `/candles`. */
export function fromRow(row) {
  return {
    timestamp: row.timestamp,
    open: row.open_price,
    high: row.high_price,
    low: row.low_price,
    close: row.close_price,
    volume: row.volume,
    quoteVolume: row.quote_volume,
    trades: row.trades,
    isClosed: row.is_closed,
  };
}

/** Returns a candle from a message of the socket. */
export function fromMessage(message) {
  return {
    timestamp: message.timestamp,
    open: message.open,
    high: message.high,
    low: message.low,
    close: message.close,
    volume: message.volume,
    quoteVolume: message.quote_volume,
    trades: message.trades,
    isClosed: message.is_closed,
  };
}

export class Series {
  /** @type {Candle[]} ascending by time, one a bucket */
  candles = [];

  get oldest() {
    return this.candles[0] ?? null;
  }

  get newest() {
    return this.candles.at(-1) ?? null;
  }

  /**
   * Takes in candles of any order and age.
   * @param {Candle[]} added
   * @returns {"nothing" | "newest" | "many"} what changed: only the newest candle (or one after
   *   it), or more
   */
  merge(added) {
    if (added.length === 0) return "nothing";
    if (added.length === 1 && (!this.newest || added[0].timestamp >= this.newest.timestamp)) {
      return this.#mergeNewest(added[0]);
    }
    const byTime = new Map(this.candles.map((candle) => [candle.timestamp, candle]));
    let isChanged = false;
    for (const candle of added) {
      const known = byTime.get(candle.timestamp);
      if (known && !supersedes(candle, known)) continue;
      byTime.set(candle.timestamp, candle);
      isChanged = true;
    }
    if (!isChanged) return "nothing";
    this.candles = [...byTime.values()].sort((a, b) => a.timestamp - b.timestamp);
    return "many";
  }

  #mergeNewest(candle) {
    const { newest } = this;
    if (newest?.timestamp === candle.timestamp) {
      if (!supersedes(candle, newest)) return "nothing";
      this.candles[this.candles.length - 1] = candle;
    } else {
      this.candles.push(candle);
    }
    return "newest";
  }

  /** Returns the open time from which history must be read again to close any hole. */
  get resumeMs() {
    for (let index = this.candles.length - 1; index >= 0; index -= 1) {
      if (this.candles[index].isClosed) return this.candles[index].timestamp;
    }
    return this.oldest?.timestamp ?? null;
  }

  /** Returns the index of the candle with that open time, or -1. */
  indexOf(timestamp) {
    let [low, high] = [0, this.candles.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.candles[middle].timestamp;
      if (found === timestamp) return middle;
      if (found < timestamp) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}

/** A closed candle ends every open one; an open one only replaces what has fewer trades. */
function supersedes(candle, known) {
  if (candle.isClosed) return true;
  return !known.isClosed && candle.trades >= known.trades;
}
