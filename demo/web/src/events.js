// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// A minimal emitter: on(name, listener) and emit(name, …).

export class Emitter {
  #listeners = new Map();

  on(name, listener) {
    const known = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...known, listener]);
  }

  emit(name, ...values) {
    for (const listener of this.#listeners.get(name) ?? []) listener(...values);
  }
}
