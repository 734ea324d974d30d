// What runs, shown in its place on the page; and the page brought up to date when something ends.
//
// `data-live="activity"` on <main> switches it on. `data-watch` there says which operations concern
// the page: "domain:3", "disk:5", "batch:2", or nothing for all. `data-operation="domain:3"` (scans of it),
// "disk:5" (block maps and merges of it), "volume:6" (checks of it), "merge:7" or "all" marks a place for bars.

import { refreshSoon } from "./fragments.js";
import { gettext } from "./i18n.js";
import { connect } from "./live.js";
import { stateWords, title as titleOf } from "./states.js";
import { element } from "./ui.js";
import { percent } from "./words.js";

export function startActivity() {
  const main = document.querySelector('[data-live="activity"]');
  if (!main) return;
  const page = new Page(main.dataset.watch ?? "");
  connect({ url: "/ws/activity/", poll: "/api/v1/activity/", onMessage: (news) => page.take(news) });
  document.addEventListener("strata:swapped", () => page.show());
}

class Page {
  constructor(watch) {
    this.watch = watch;
    this.known = null;
    this.operations = [];
    this.highest = new Map();
  }

  take(news) {
    if (news.type !== "activity") return;
    this.operations = news.operations.filter((operation) => this.concerns(operation));
    const states = new Map(this.operations.map((operation) => [key(operation), stage(operation)]));
    if (this.stale(states)) refreshSoon();
    this.known = states;
    this.forget(states);
    this.show();
  }

  concerns(operation) {
    if (!this.watch) return true;
    return this.watch === `domain:${operation.domain}` || this.watch === `disk:${operation.disk}` ||
      (operation.batch && this.watch === `batch:${operation.batch}`) ||
      // A scan of the domain changes the disk's page too.
      (this.watch.startsWith("disk:") && operation.kind === "scan" && this.watchesDomain(operation.domain));
  }

  watchesDomain(domain) {
    return document.querySelector(`[data-operation="domain:${domain}"]`) !== null;
  }

  /** Whether something began, ended or went away since the last news. */
  stale(states) {
    if (this.known === null) {
      // What ended a moment ago may have ended after the page was made.
      return this.operations.some((operation) => operation.finished);
    }
    const changed = [...states].some(([name, at]) => this.known.get(name) !== at);
    const gone = [...this.known].some(([name, at]) => at !== "finished" && !states.has(name));
    return changed || gone;
  }

  forget(states) {
    for (const name of this.highest.keys()) {
      if (!states.has(name)) this.highest.delete(name);
    }
  }

  show() {
    for (const place of document.querySelectorAll("[data-operation]")) {
      const here = this.operations.filter((item) => !item.finished && belongs(item, place));
      const names = new Set(here.map(key));
      for (const row of [...place.children]) {
        if (!names.has(row.dataset.key)) row.remove();
      }
      for (const operation of here) this.paint(place, operation);
    }
  }

  paint(place, operation) {
    const name = key(operation);
    let row = [...place.children].find((child) => child.dataset.key === name);
    if (!row) {
      row = makeRow(operation, name);
      place.append(row);
    }
    const bar = row.querySelector("progress");
    const [state, figure] = row.querySelectorAll("[data-part]");
    setText(state, operation.cancel_requested ? gettext("cancelling") : stateWords(operation.state));
    // A bar never runs backwards, whatever order the news came in.
    const value = Math.max(operation.percent ?? 0, this.highest.get(name) ?? 0);
    this.highest.set(name, value);
    if (value > 0) bar.value = value;
    else if (operation.state === "queued") bar.value = 0;
    else bar.removeAttribute("value");
    setText(figure, value > 0 ? percent(value) : "");
  }
}

function stage(operation) {
  if (operation.finished) return "finished";
  if (operation.cancel_requested) return "cancelling";
  return operation.state === "attention" ? "attention" : operation.state;
}

function key(operation) {
  return `${operation.kind}:${operation.id}`;
}

function belongs(operation, place) {
  const where = place.dataset.operation;
  if (where === "all") return true;
  if (where === key(operation)) return true;
  if (operation.kind === "scan") return where === `domain:${operation.domain}`;
  if (operation.kind === "check") return where === `volume:${operation.volume}`;
  return where === `disk:${operation.disk}`;
}

function makeRow(operation, name) {
  const row = element("div", "operation");
  row.dataset.key = name;
  const words = element("div", "operation-words");
  const title = element("a", "", titleOf(operation.title));
  // An address of our own: a message could not make it anything else.
  title.href = new URL(operation.url, location.origin).pathname;
  const state = element("span");
  const figure = element("span");
  state.dataset.part = "state";
  figure.dataset.part = "percent";
  const side = element("span", "operation-side");
  side.append(state, " ", figure);
  words.append(title, side);
  const bar = element("progress", "bar");
  bar.max = 100;
  bar.setAttribute("aria-label", titleOf(operation.title));
  row.append(words, bar);
  return row;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
