// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// How long to wait before the next try: doubling, with full jitter. Pure but for the random source.

export class Backoff {
  #tries = 0;

  constructor({ baseMs = 500, maxMs = 15_000, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  /** Returns milliseconds, at least a quarter of the base. */
  next() {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** this.#tries);
    this.#tries = Math.min(this.#tries + 1, 20);
    return Math.max(this.baseMs / 4, this.random() * ceiling);
  }

  reset() {
    this.#tries = 0;
  }
}
