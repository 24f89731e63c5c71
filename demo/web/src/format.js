// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Numbers and times as people read them. Pure.

const MAX_DECIMALS = 8;
const locale = "en-US";
const formats = new Map();

function numberFormat(decimals) {
  if (!formats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat(locale, digits));
  }
  return formats.get(decimals);
}

const compactFormat = new Intl.NumberFormat(locale, {
  notation: "compact",
  maximumSignificantDigits: 4,
});

/**
 * Returns how many decimals these prices need.
 * @param {string[]} values decimal strings, as the server sends them
 * @param {number} least
 */
export function decimalsOf(values, least = 2) {
  let most = least;
  for (const value of values) {
    const point = value.indexOf(".");
    if (point >= 0) most = Math.max(most, value.replace(/0+$/, "").length - point - 1);
  }
  return Math.min(most, MAX_DECIMALS);
}

/** Returns a number or decimal string with exactly that many decimals. */
export function fixed(value, decimals) {
  return numberFormat(decimals).format(Number(value));
}

/** Returns an amount in few digits: 1,234 → 1.234K. */
export function compact(value) {
  return compactFormat.format(Number(value));
}

/** Returns a change in percent with its sign. */
export function percent(value) {
  return `${value < 0 ? "−" : "+"}${numberFormat(2).format(Math.abs(value))} %`;
}

/** Returns an exact decimal string with grouped thousands, however long it is. */
export function exact(text) {
  const [whole, fraction] = String(text).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return fraction ? `${grouped}.${fraction}` : grouped;
}

/** Returns a decimal string shortened for a table's column. */
export function short(text) {
  const number = Number(text);
  if (number !== 0 && (Math.abs(number) >= 1e9 || Math.abs(number) < 1e-6)) {
    return number.toExponential(3);
  }
  return new Intl.NumberFormat(locale, { maximumSignificantDigits: 8 }).format(number);
}

/** Returns the UTC time of day: 12:34:56. */
export function clock(timeMs) {
  return new Date(timeMs).toISOString().slice(11, 19);
}

/** Returns a UTC date and time: 2026-01-31 12:34. */
export function moment(timeMs) {
  return new Date(timeMs).toISOString().slice(0, 16).replace("T", " ");
}

/** Returns a duration in its largest unit: 90,000 → 1 min. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Returns an address or hash with its middle left out. */
export function ellipsis(text, head = 6, tail = 4) {
  return text.length > head + tail + 1 ? `${text.slice(0, head)}…${text.slice(-tail)}` : text;
}
