// The log: a page of events, more by cursor, and new ones on top while following.

import { ask } from "./api.js";
import { find, make } from "./dom.js";
import { adapt, parameters, recall, remember, repair } from "./filters.js";
import { localTime, zone } from "./format.js";

const FOLLOW = 5000; // ms between two looks for new events
const MOST_ROWS = 2000; // beyond them following starts over with the newest page
const FIELDS = ["time", "system", "node", "serial", "run", "number", "thread", "command", "element", "severity", "id"];

export class LogView {
  constructor(onError) {
    this.onError = onError; // called with each error; true: it was dealt with
    this.ids = new Set();
    this.cursor = null;
    this.params = {};
    this.search = null;
    this.timer = null;
  }

  start() {
    find("time-head").textContent = `Time (${zone()})`;
    recall();
    repair();
    const form = find("filters");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.reload();
    });
    form.addEventListener("reset", () => setTimeout(() => { adapt(); this.reload(); }));
    form.addEventListener("change", (event) => {
      if (event.target.id === "follow") return;
      adapt();
      this.reload();
    });
    find("follow").addEventListener("change", () => this.schedule());
    find("next").addEventListener("click", () => this.more());
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  // Ask anew with the filters as they are.
  async reload() {
    remember();
    this.params = parameters();
    find("follow").disabled = this.params.order === "asc";
    const page = await this.fetch(this.params);
    if (page) this.replace(page);
    this.schedule();
  }

  async more() {
    const page = await this.fetch({ ...this.params, cursor: this.cursor });
    if (!page) return;
    find("events").append(...this.fresh(page.resources).map(row));
    this.summarize(page);
  }

  // New events on top. If the newest page does not reach down to what is shown, it replaces it:
  // a gap would look like silence.
  async refresh() {
    if (this.search) return; // what the reader asked for goes first
    const page = await this.fetch(this.params);
    if (!page) return;
    const reaches = page.resources.some((event) => this.ids.has(event.id));
    if (reaches && this.ids.size + page.resources.length <= MOST_ROWS) {
      find("events").prepend(...this.fresh(page.resources).map(row));
      this.tell(page.totalResults);
    } else {
      this.replace(page);
    }
  }

  replace(page) {
    this.ids.clear();
    find("events").replaceChildren(...this.fresh(page.resources).map(row));
    this.summarize(page);
  }

  fresh(events) {
    const found = events.filter((event) => !this.ids.has(event.id));
    for (const event of found) this.ids.add(event.id);
    return found;
  }

  summarize(page) {
    this.cursor = page.next;
    find("next").hidden = !page.next;
    this.tell(page.totalResults);
  }

  tell(total) {
    const shown = this.ids.size.toLocaleString("en");
    find("log-summary").textContent = total
      ? `${shown} of ${total.toLocaleString("en")} events`
      : "No event matches these filters.";
  }

  // One question at a time: a newer one ends the older. Null if there is no answer.
  async fetch(params) {
    this.search?.abort();
    const search = new AbortController();
    this.search = search;
    find("events").setAttribute("aria-busy", "true");
    try {
      const page = await ask("/api/logs", params, search.signal);
      find("log-problem").textContent = "";
      return page;
    } catch (error) {
      if (error.name !== "AbortError" && !this.onError(error)) {
        find("log-problem").textContent = error.message;
      }
      return null;
    } finally {
      if (this.search === search) {
        this.search = null;
        find("events").removeAttribute("aria-busy");
      }
    }
  }

  schedule() {
    clearTimeout(this.timer);
    const follow = find("follow");
    if (!follow.checked || follow.disabled || document.hidden) return;
    this.timer = setTimeout(async () => {
      await this.refresh();
      this.schedule();
    }, FOLLOW);
  }
}

function row(event) {
  return make("tr", { class: `event ${severityClass(event.severity)}` },
    make("td", { class: "time" },
      make("time", { datetime: event.time, title: event.time }, localTime(event.time))),
    make("td", { class: "severity" }, make("span", { class: "mark" }, String(event.severity))),
    make("td", { class: "node" }, String(event.node ?? "")),
    make("td", { class: "element" }, String(event.element ?? "")),
    make("td", { class: "text" }, details(event)),
  );
}

// Only words we know become class names.
function severityClass(severity) {
  return ["debug", "info", "warning", "error", "critical"].includes(severity) ? severity : "info";
}

// The rest of an event is built when it is first asked for: a page has hundreds of them.
function details(event) {
  const box = make("details", {}, make("summary", {}, String(event.message || "(no message)")));
  box.addEventListener("toggle", () => box.append(everything(event)), { once: true });
  return box;
}

function everything(event) {
  const pairs = [
    ...FIELDS.map((name) => [name, event[name]]),
    ...Object.entries(event.attributes ?? {}),
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", {}, ...pairs.flatMap(([name, value]) => [
    make("dt", {}, name),
    make("dd", {}, String(value)),
  ]));
}
