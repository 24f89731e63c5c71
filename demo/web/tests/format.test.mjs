// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../src/backoff.js";
import { decimalsOf, duration, ellipsis, exact, fixed, percent, short } from "../src/format.js";

test("prices get as many decimals as the finest of them needs", () => {
  assert.equal(decimalsOf(["67000.12000000", "67000.50000000"]), 2);
  assert.equal(decimalsOf(["0.00001049", "0.00001100"]), 8);
  assert.equal(decimalsOf(["5.00000000"]), 2);
  assert.equal(decimalsOf(["5.00000000"], 0), 0);
});

test("numbers are grouped and keep their decimals", () => {
  assert.equal(fixed("67000.5", 2), "67,000.50");
  assert.equal(fixed("0.0000105", 8), "0.00001050");
  assert.equal(percent(-1.5), "−1.50 %");
  assert.equal(percent(0), "+0.00 %");
});

test("exact amounts lose nothing, however long they are", () => {
  const most = String(2n ** 256n - 1n);
  assert.equal(exact(most).replaceAll(",", ""), most);
  assert.equal(exact("1234567.000000000000000001"), "1,234,567.000000000000000001");
});

test("a table's column shows the rest in few digits", () => {
  assert.equal(short("0.6"), "0.6");
  assert.equal(short("115792089237316195423570985"), "1.158e+26");
  assert.equal(short("0.0000000001"), "1.000e-10");
});

test("durations and addresses are short", () => {
  assert.deepEqual([5_000, 90_000, 7_200_000].map(duration), ["5 s", "1 min", "2 h"]);
  assert.equal(ellipsis("0x70997970c51812dc3a010c7d01b50e0d17dc79c8"), "0x7099…79c8");
});

test("the wait between tries grows to a bound and begins anew after a success", () => {
  const backoff = new Backoff({ baseMs: 500, maxMs: 4_000, random: () => 1 });
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [500, 1000, 2000, 4000, 4000]);
  backoff.reset();
  assert.equal(backoff.next(), 500);
  assert.equal(new Backoff({ baseMs: 500, random: () => 0 }).next(), 125);
});
