// The page of one merge, live: state, bar, figures, and each step with its commands.

import { Flow } from "./flow.js";
import { refreshSoon } from "./fragments.js";
import { gettext, interpolate } from "./i18n.js";
import { connect } from "./live.js";
import { stateWords } from "./states.js";
import { element } from "./ui.js";
import { binary, duration, percent } from "./words.js";

const TONES = {
  queued: "accent",
  running: "accent",
  succeeded: "ok",
  done: "ok",
  failed: "critical",
  attention: "warning",
};
const UNKNOWN = "–";

export function startMerge() {
  const root = document.querySelector("[data-merge]");
  if (!root) return;
  const page = new MergePage(root);
  const link = connect({
    url: `/ws/merges/${root.dataset.merge}/`,
    poll: `/api/v1/merges/${root.dataset.merge}/live/`,
    onMessage: (news) => {
      if (news.type !== "merge") return;
      page.take(news);
      if (news.finished) link.close();
    },
  });
  document.addEventListener("strata:swapped", () => page.repaint());
  // The step that runs tells how long it has run, also while nothing is heard of it.
  setInterval(() => page.paintDurations(), 1_000);
}

class MergePage {
  constructor(root) {
    this.root = root;
    this.state = root.dataset.state;
    this.highest = Number(root.querySelector("[data-bar]")?.value ?? 0);
    this.news = null;
    this.flow = new Flow(root);
    this.asked = new Map();
  }

  take(news) {
    this.news = news;
    const settled = news.finished || news.state === "attention";
    if (news.state !== this.state && (settled || this.state)) refreshSoon();
    this.state = news.state;
    this.repaint();
  }

  repaint() {
    const news = this.news;
    if (!news) return;
    this.paintState(news);
    this.paintBar(news);
    this.flow.paint(news);
    for (const step of news.steps) this.paintStep(step, stepState(step, news));
    this.paintDurations();
    for (const form of this.root.querySelectorAll("[data-when]")) form.hidden = !news[form.dataset.when];
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  paintState(news) {
    this.root.dataset.state = news.state;
    const cancelling = news.cancel_requested && ["queued", "running"].includes(news.state);
    paintBadge(this.part("state"), news.state, cancelling ? gettext("cancelling…") : undefined);
    const message = this.part("message");
    const waits = this.part("waits");
    this.say(message, news.message);
    this.say(waits, news.waits);
    waits.closest("[data-waits]").hidden = !news.waits || !waits.textContent;
    message.parentElement.hidden = !news.message || !message.textContent;
    message.closest("[data-refresh]").hidden = !news.message && !news.waits;
    const tone = { attention: "notice-warning", failed: "notice-critical", succeeded: "notice-ok" };
    message.parentElement.className = `notice ${tone[news.state] ?? ""}`;
  }

  /** Messages are English; in another language the server writes them into the page. */
  say(node, text) {
    if (document.documentElement.lang === "en") {
      setText(node, text);
      return;
    }
    if (node.dataset.said === text) return;
    const part = node.dataset.part;
    if (text && this.asked.get(part) !== text) {
      this.asked.set(part, text);
      refreshSoon();
    }
  }

  paintBar(news) {
    const bar = this.root.querySelector("[data-bar]");
    this.highest = Math.max(this.highest, news.percent);
    bar.value = this.highest;
    bar.className = `bar bar-tall bar-${TONES[news.state] ?? "none"}`;
    setText(this.part("percent"), percent(this.highest));
    setText(this.part("bytes"), interpolate(gettext("%(part)s of %(whole)s"), {
      part: binary(news.bytes_done),
      whole: binary(news.bytes_total),
    }));
    setText(this.part("throughput"), speed(news.throughput));
    setText(this.part("left"), news.seconds_left === null ? UNKNOWN : duration(news.seconds_left));
  }

  paintStep(step, state) {
    const row = this.root.querySelector(`[data-step="${CSS.escape(step.name)}"]`);
    if (!row) return;
    if (row.dataset.state !== state) {
      row.dataset.state = state;
      setText(row.querySelector("[data-step-state]"), stateWords(state));
      const shape = row.querySelector("[data-step-icon] use");
      shape.setAttribute("href", `${shape.getAttribute("href").split("#")[0]}#${state}`);
      if (state === "running") row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    }
    row.dataset.started = step.started_at ?? "";
    row.dataset.finished = step.finished_at ?? "";
    paintCommands(row.querySelector("[data-commands]"), step.command);
    const output = row.querySelector("[data-stderr]");
    const follow = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
    setText(output, step.stderr);
    output.hidden = !step.stderr;
    if (follow) output.scrollTop = output.scrollHeight;
  }

  paintDurations() {
    for (const row of this.root.querySelectorAll("[data-step]")) {
      const begun = Date.parse(row.dataset.started);
      if (Number.isNaN(begun)) continue;
      const ended = Date.parse(row.dataset.finished);
      const running = row.dataset.state === "running";
      if (Number.isNaN(ended) && !running) continue;
      const seconds = ((running ? Date.now() : ended) - begun) / 1000;
      setText(row.querySelector("[data-duration]"), duration(seconds));
    }
  }
}

function speed(bytes) {
  return bytes === null ? UNKNOWN : interpolate(gettext("%(size)s/s"), { size: binary(Math.round(bytes)) });
}

/** A step that was broken off because somebody asked for it has not failed. */
function stepState(step, news) {
  return step.state === "failed" && news.state === "cancelled" ? "cancelled" : step.state;
}

function paintBadge(badge, state, words) {
  const tone = TONES[state];
  badge.className = tone ? `badge badge-${tone}` : "badge";
  setText(badge, words ?? stateWords(state));
}

function paintCommands(list, text) {
  const lines = text.split("\n").filter(Boolean);
  const shown = [...list.children];
  lines.forEach((line, index) => {
    if (shown[index]) setText(shown[index], line);
    else list.append(element("pre", "command", line));
  });
  for (const extra of shown.slice(lines.length)) extra.remove();
}

function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}
