// A merge as it runs: bars that drain and fill as the bytes move. The server draws it as it stands; here
// only lengths change, by what the messages say and never by a clock, so that it can not run ahead.

import { interpolate, number } from "./i18n.js";
import { binary } from "./words.js";

// Without news of moved bytes for so long, nothing is shown to move.
const STILL_MS = 2_500;

export class Flow {
  /** `root` is the page; one of a merge of which nothing flows has no drawing. */
  constructor(root) {
    this.box = root.querySelector("[data-flow]");
    this.last = null;
    this.timer = null;
  }

  paint(news) {
    if (!this.box) return;
    const { copy, verify } = news.flow;
    this.lengths(".flow-source .flow-fill", 1 - copy);
    this.lengths(".flow-came", copy);
    this.lengths(".flow-proven", verify);
    const removed = news.steps.some((step) => step.name === "remove" && step.state === "done");
    for (const row of this.box.querySelectorAll("[data-goes]")) row.classList.toggle("flow-gone", removed);
    const stage = stageOf(news);
    this.box.dataset.stage = stage;
    this.say(stage, copy, verify);
    this.move(stage === "copy", copy);
  }

  lengths(selector, share) {
    for (const bar of this.box.querySelectorAll(selector)) {
      const [empty, full] = [Number(bar.dataset.empty ?? 0), Number(bar.dataset.full)];
      bar.setAttribute("width", (empty + (full - empty) * share).toFixed(1));
    }
  }

  say(stage, copy, verify) {
    const moved = Number(this.box.dataset.moved);
    const pattern = this.box.getAttribute(`data-words-${stage}`) ?? "";
    const words = interpolate(pattern, {
      done: binary(Math.floor(copy * moved)),
      whole: binary(moved),
      target: this.box.dataset.target,
      percent: `${number(String(Math.floor(verify * 100)))} %`,
    });
    const place = this.box.querySelector("[data-part=flow]");
    if (place.textContent !== words) place.textContent = words;
  }

  /** Drops are seen while the copy gains; they stop when it does not, whatever the reason. */
  move(copying, copy) {
    if (!copying) {
      this.still();
    } else if (this.last !== null && copy > this.last) {
      this.box.dataset.moving = "true";
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.still(), STILL_MS);
    }
    this.last = copy;
  }

  still() {
    clearTimeout(this.timer);
    delete this.box.dataset.moving;
  }
}

/** As chains/web/flow.py has it. */
function stageOf(news) {
  if (news.state !== "running") return news.state;
  return news.steps.find((step) => step.state !== "done")?.name ?? "remove";
}
