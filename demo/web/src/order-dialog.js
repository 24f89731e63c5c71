// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// One order with all its events.

import { ApiError } from "./api.js";
import { byId, h, openDialog } from "./dom.js";
import { exact, moment } from "./format.js";

const FIELDS = [
  ["user_address", "User"],
  ["order_type", "Type"],
  ["amount_in", "Amount in"],
  ["target_price", "Target price"],
  ["min_amount_out", "Least amount out"],
  ["amount_out", "Amount out"],
  ["token_in", "Token in"],
  ["token_out", "Token out"],
  ["executor_address", "Executed by"],
  ["tx_hash", "Transaction"],
  ["execution_tx_hash", "Execution"],
  ["block_number", "Block"],
];
const AMOUNTS = new Set(["amount_in", "target_price", "min_amount_out", "amount_out"]);
const SHOWN_DATA = ["amount_in", "target_price", "min_amount_out", "amount_out", "executor"];

/** Reads an order and shows it in a dialog. */
export async function showOrder(api, id) {
  const dialog = byId("order");
  openDialog(dialog, "order-title", `Order #${id}`, h("p", { class: "muted" }, "Loading…"));
  try {
    const [{ order }, { events }] = await Promise.all([
      api.get(`/orders/${id}`),
      api.get(`/orders/${id}/events`),
    ]);
    openDialog(dialog, "order-title", `Order #${id}`, ...content(order, events));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    openDialog(dialog, "order-title", `Order #${id}`, h("p", { class: "empty" }, error.message));
  }
}

function content(order, events) {
  const known = FIELDS.filter(([name]) => order[name] !== null && order[name] !== undefined);
  const pairs = known.flatMap(([name, label]) => [
    h("dt", {}, label),
    h("dd", { class: "mono" }, AMOUNTS.has(name) ? exact(order[name]) : String(order[name])),
  ]);
  return [
    h("p", {}, h("span", { class: `tag ${order.status}` }, order.status)),
    h("h3", {}, "History"),
    h("ul", { class: "history" }, ...events.map(eventItem)),
    h("h3", {}, "Details"),
    h("dl", { class: "pairs" }, ...pairs),
  ];
}

function eventItem(event) {
  const data = SHOWN_DATA.filter((name) => event.event_data?.[name] !== undefined);
  const told = data.map((name) => `${name.replaceAll("_", " ")} ${event.event_data[name]}`);
  return h(
    "li",
    {},
    h("b", {}, event.event_type),
    " ",
    h("span", { class: "muted" }, `${moment(Date.parse(event.timestamp))} · block ${event.block_number}`),
    told.length > 0 ? h("div", { class: "mono muted" }, told.join(", ")) : null,
  );
}
