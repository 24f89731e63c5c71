// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import assert from "node:assert/strict";
import { test } from "node:test";

import { Series } from "../src/series.js";

const candle = (timestamp, fields = {}) => ({
  timestamp, open: "1", high: "1", low: "1", close: "1", volume: "0", quoteVolume: "0",
  trades: 0, isClosed: true, ...fields,
});
const times = (series) => series.candles.map(({ timestamp }) => timestamp);

test("pages of any order make one ascending series", () => {
  const series = new Series();
  assert.equal(series.merge([candle(30), candle(40)]), "many");
  assert.equal(series.merge([candle(10), candle(20), candle(30)]), "many");
  assert.deepEqual(times(series), [10, 20, 30, 40]);
});

test("a newer state of the running candle replaces it", () => {
  const series = new Series();
  series.merge([candle(10), candle(20, { isClosed: false, trades: 3, close: "5" })]);
  assert.equal(series.merge([candle(20, { isClosed: false, trades: 4, close: "6" })]), "newest");
  assert.equal(series.newest.close, "6");
  assert.deepEqual(times(series), [10, 20]);
});

test("an answer that is older than what the socket told changes nothing", () => {
  const series = new Series();
  series.merge([candle(20, { isClosed: false, trades: 4, close: "6" })]);
  assert.equal(series.merge([candle(20, { isClosed: false, trades: 3, close: "5" })]), "nothing");
  series.merge([candle(20, { trades: 5, close: "7" })]);
  assert.equal(series.merge([candle(20, { isClosed: false, trades: 9 })]), "nothing");
  assert.equal(series.newest.close, "7");
});

test("a correction of a closed candle is taken, wherever it is", () => {
  const series = new Series();
  series.merge([candle(10), candle(20), candle(30)]);
  assert.equal(series.merge([candle(20, { close: "9" })]), "many");
  assert.equal(series.candles[1].close, "9");
});

test("reading goes on from the last closed candle", () => {
  const series = new Series();
  assert.equal(series.resumeMs, null);
  series.merge([candle(10), candle(20), candle(30, { isClosed: false })]);
  assert.equal(series.resumeMs, 20);
});

test("a candle is found by its time", () => {
  const series = new Series();
  series.merge([10, 20, 30, 40, 50].map((time) => candle(time)));
  assert.deepEqual([10, 30, 50].map((time) => series.indexOf(time)), [0, 2, 4]);
  assert.equal(series.indexOf(35), -1);
});
