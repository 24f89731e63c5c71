// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Makes elements. Text is always text: nothing that a server says is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Returns an element.
 * @param {string} tag
 * @param {Record<string, unknown>} attributes `class`, `on…` listeners, `dataset`, or any attribute;
 *   `null`, `undefined` and `false` leave it out, `true` sets it empty.
 * @param {...(Node | string | null)} children
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Returns an SVG element; arguments as for `h`. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Returns the element with that id, which the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** Sets an element's text if it differs, so that unchanged rows cost no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Returns radio buttons in a fieldset's style: `onChoose(value)` at each change. */
export function segments(fieldset, name, choices, chosen, onChoose) {
  fieldset.classList.add("segments");
  for (const [value, label, title] of choices) {
    const input = h("input", { type: "radio", name, value, title, checked: value === chosen });
    input.addEventListener("change", () => onChoose(value));
    fieldset.append(h("label", { title }, input, h("span", {}, label)));
  }
  return (value) => {
    for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === value;
  };
}

/** Opens a dialog with this content; Escape, the button and a click outside close it. */
export function openDialog(dialog, titleId, title, ...content) {
  const close = h("button", { type: "button", class: "icon", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => dialog.close());
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  dialog.replaceChildren(h("header", {}, h("h2", { id: titleId }, title), close), ...content);
  if (!dialog.open) dialog.showModal();
}
