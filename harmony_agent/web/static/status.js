// The status: one card per part, whatever parts there are.

import { find, make } from "./dom.js";
import { isMoment, localTime, size, span, words } from "./format.js";

const KNOWN = ["version", "system", "node", "uptimeSeconds", "live", "started", "ready", "harmonyMayRun", "conditions"];
const GOOD = /^(ok|valid|running|owned|idle|connected|synchronized|streaming|on)$/i;
const BAD = /^(refused|over|failed|fenced|error|lost)$/i;

export function showStatus(status) {
  const [label, level] = verdict(status);
  showVerdict(label, level);
  find("where").textContent = [status.system, status.node].filter(Boolean).join(" / ");
  document.title = [status.node, "harmony-agent"].filter(Boolean).join(" – ");
  const parts = Object.entries(status).filter(([name]) => !KNOWN.includes(name));
  renew(find("cards"), [
    overview(status),
    ...parts.map(([name, part]) => card(words(name), part)),
  ]);
}

// Replace only what has changed, so that a text being selected or read aloud stays.
function renew(place, cards) {
  const old = [...place.children];
  if (old.length !== cards.length) {
    place.replaceChildren(...cards);
    return;
  }
  cards.forEach((card, index) => {
    if (!card.isEqualNode(old[index])) old[index].replaceWith(card);
  });
}

export function showVerdict(label, level) {
  const badge = find("verdict");
  // A live region speaks whenever it is written to: only write what is new.
  if (badge.textContent !== label) badge.textContent = label;
  badge.className = `badge ${level}`;
}

function verdict(status) {
  if (!status.harmonyMayRun) return ["Harmony must not run", "failed"];
  if (!status.live) return ["Stalled", "failed"];
  if (!status.started) return ["Starting", "trouble"];
  if (!status.ready) return ["Not ready", "failed"];
  const trouble = status.conditions.filter((condition) => condition.level === "trouble").length;
  return trouble ? [`Ready, ${trouble} in trouble`, "trouble"] : ["Ready", "ok"];
}

function overview(status) {
  const lines = status.conditions.map((condition) =>
    make("li", {},
      make("span", { class: `level ${condition.level}` }, condition.level),
      make("span", { class: "name" }, words(condition.name)),
      condition.message ? make("span", { class: "message" }, condition.message) : null,
    ));
  return make("article", { class: "card overview" },
    make("h3", {}, "Conditions"),
    make("ul", { class: "conditions" }, ...lines),
    make("p", { class: "summary" }, `Version ${status.version}, up ${span(status.uptimeSeconds)}`),
  );
}

function card(title, part) {
  if (part === null || typeof part !== "object" || Array.isArray(part)) {
    return make("article", { class: "card" }, make("h3", {}, title), value("", part));
  }
  const { state, message, ...rest } = part;
  const badge = typeof state === "string" ? make("span", { class: `badge ${mood(state)}` }, state) : null;
  return make("article", { class: "card" },
    make("h3", {}, title, badge),
    message ? make("p", {}, String(message)) : null,
    list(rest),
  );
}

function mood(state) {
  if (GOOD.test(state)) return "ok";
  return BAD.test(state) ? "failed" : "trouble";
}

function list(values) {
  const entries = Object.entries(values).filter(([, item]) => !isEmpty(item));
  if (!entries.length) return null;
  return make("dl", {}, ...entries.flatMap(([name, item]) => {
    // An object gets the full width below its name: columns within columns leave no room.
    const group = typeof item === "object" && !Array.isArray(item) ? "group" : undefined;
    return [
      make("dt", { class: group }, words(name)),
      make("dd", { class: group }, value(name, item)),
    ];
  }));
}

function isEmpty(item) {
  if (item === null || item === undefined || item === "") return true;
  return typeof item === "object" && Object.keys(item).length === 0;
}

function value(name, item) {
  if (Array.isArray(item)) {
    return make("ul", { class: "plain" }, ...item.map((each) => make("li", {}, value(name, each))));
  }
  if (item !== null && typeof item === "object") return list(item) ?? "–";
  if (isMoment(item)) {
    return make("time", { datetime: item, title: item }, localTime(item, false));
  }
  if (typeof item === "boolean") return item ? "yes" : "no";
  if (typeof item === "number" && name.endsWith("Seconds")) return span(item);
  if (typeof item === "number" && name.endsWith("Bytes")) return size(item);
  if (typeof item === "number") return item.toLocaleString("en");
  return String(item ?? "–");
}
