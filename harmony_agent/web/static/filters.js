// The filter form, its share of the address (so that a view can be sent to a colleague), and the
// API's parameters.

import { find } from "./dom.js";

const TEXTS = ["text", "node", "element", "thread", "host", "mailbox"];
const CHOICES = ["range", "order", "count", "from", "to"];
const MORE = ["node", "element", "thread", "host", "mailbox", "count"];

const form = () => find("filters");

// What the form says, as the API's parameters.
export function parameters() {
  const params = {};
  for (const name of TEXTS) {
    const value = form().elements[name].value.trim();
    if (value) params[name] = value;
  }
  const severities = checked();
  if (severities.length) params.severity = severities.join(",");
  const range = form().elements.range.value;
  if (range === "custom") {
    for (const name of ["from", "to"]) {
      const value = form().elements[name].value;
      if (value) params[name] = new Date(value).toISOString();
    }
  } else if (range) {
    params.from = range;
  }
  params.order = form().elements.order.value;
  params.count = form().elements.count.value;
  return params;
}

export function adapt() {
  const custom = form().elements.range.value === "custom";
  for (const field of form().querySelectorAll(".custom")) field.hidden = !custom;
}

export function remember() {
  const kept = new URLSearchParams();
  for (const name of [...TEXTS, ...CHOICES]) {
    const { value } = form().elements[name];
    if (value !== initial(form().elements[name])) kept.set(name, value);
  }
  if (checked().length) kept.set("severity", checked().join(","));
  history.replaceState(null, "", `#${kept}`);
}

export function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of [...TEXTS, ...CHOICES]) {
    if (kept.has(name)) form().elements[name].value = kept.get(name);
  }
  const severities = (kept.get("severity") ?? "").split(",");
  for (const box of boxes()) box.checked = severities.includes(box.value);
  find("more").open = MORE.some((name) => kept.has(name));
  adapt();
}

// A choice that is not there (a hand-made address) leaves a select empty: back to its default.
export function repair() {
  for (const select of form().querySelectorAll("select")) {
    if (select.selectedIndex < 0) select.value = initial(select);
  }
}

function initial(field) {
  if (field.tagName !== "SELECT") return field.defaultValue;
  return ([...field.options].find((option) => option.defaultSelected) ?? field.options[0]).value;
}

const boxes = () => [...form().querySelectorAll('input[name="severity"]')];
const checked = () => boxes().filter((box) => box.checked).map((box) => box.value);
