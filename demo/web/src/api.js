// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// REST: JSON in, errors with the server's own words out.

const TIMEOUT_MS = 15_000;

/** A refused or failed request. `status` is 0 if the server could not be reached. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  /** @param {string} baseUrl without a slash at its end */
  constructor(baseUrl) {
    this.baseUrl = baseUrl;
    this.latencyMs = null;
  }

  /**
   * Returns the decoded body of an answer with a 2xx status.
   * @param {string} path
   * @param {Record<string, string | number | null | undefined>} query
   * @throws {ApiError}
   */
  async get(path, query = {}, { signal } = {}) {
    const { status, body } = await this.ask(path, query, { signal });
    if (status >= 200 && status < 300) return body;
    throw new ApiError(status, body?.error ?? `HTTP ${status}`);
  }

  /** Returns `{status, body}` of any answer. Throws `ApiError` only where there is none. */
  async ask(path, query = {}, { signal } = {}) {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined) parameters.set(name, String(value));
    }
    const search = parameters.size > 0 ? `?${parameters}` : "";
    const bounds = [AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])];
    const began = performance.now();
    try {
      const answer = await fetch(`${this.baseUrl}${path}${search}`, {
        signal: AbortSignal.any(bounds),
        headers: { accept: "application/json" },
      });
      const body = await answer.json().catch(() => null);
      this.latencyMs = performance.now() - began;
      return { status: answer.status, body };
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, error.name === "TimeoutError" ? "no answer in time" : "not reachable");
    }
  }
}
