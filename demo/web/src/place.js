// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Where things are: the APIs' addresses, and what the page's own address and memory say.

const DEFAULT_ORDERS_PORT = 8080;
const CONFIG_TIMEOUT_MS = 5_000;
const CONFIG_RETRY_MS = 1_000;

/**
 * Returns where the APIs are.
 *
 * The market data API is where this page came from. The order API is, in this order: the page's
 * `?orders=` (a URL or a port), the server's setting, port 8080 of this page's host.
 * @returns {Promise<{marketUrl: string, ordersUrl: string, isOrdersOverridden: boolean}>}
 */
export async function findApis(page = new URL(location.href)) {
  const marketUrl = new URL(".", page).href.replace(/\/$/, "");
  const config = await readConfig(marketUrl);
  const asked = page.searchParams.get("orders");
  const wanted = asked || config.orders_url || config.orders_port || DEFAULT_ORDERS_PORT;
  const ordersUrl = orderApi(String(wanted), page);
  return { marketUrl, ordersUrl, isOrdersOverridden: Boolean(asked) };
}

function orderApi(wanted, page) {
  if (/^\d{1,5}$/.test(wanted)) return `${page.protocol}//${page.hostname}:${wanted}`;
  const url = new URL(wanted, page);
  if (!/^https?:$/.test(url.protocol)) return orderApi(String(DEFAULT_ORDERS_PORT), page);
  return url.href.replace(/\/$/, "");
}

/** Asks until there is an answer: the page came from this server, so it is only away. */
async function readConfig(marketUrl) {
  while (true) {
    try {
      const signal = AbortSignal.timeout(CONFIG_TIMEOUT_MS);
      const answer = await fetch(`${marketUrl}/web/config.json`, { signal });
      if (answer.ok) return await answer.json();
      if (answer.status < 500) return {};
    } catch {
      // No connection, or no answer in time.
    }
    await new Promise((resolve) => setTimeout(resolve, CONFIG_RETRY_MS));
  }
}

/** Returns the WebSocket address beside a REST address. */
export function socketUrl(httpUrl, path) {
  return `${httpUrl.replace(/^http/, "ws")}${path}`;
}

/** Returns what the page's address asks to show, else what was shown last. */
export function readView() {
  const query = new URLSearchParams(location.search);
  return {
    symbol: query.get("symbol")?.toUpperCase() ?? remembered("symbol"),
    timeframe: query.get("timeframe") ?? remembered("timeframe"),
  };
}

/** Keeps what is shown in the page's address, so that it can be sent to somebody. */
export function writeView({ symbol, timeframe }) {
  const url = new URL(location.href);
  url.searchParams.set("symbol", symbol);
  url.searchParams.set("timeframe", timeframe);
  history.replaceState(null, "", url);
  remember("symbol", symbol);
  remember("timeframe", timeframe);
}

/** Returns what `remember` kept, or null. */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keeps a value for the next visit, where the browser lets us. */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Private windows may refuse; nothing depends on it.
  }
}
