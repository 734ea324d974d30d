// The lesson, live: what a worker has done with a step appears by itself; arrow keys turn the pages.

import { refreshSoon } from "./fragments.js";
import { connect } from "./live.js";

// Where arrow keys mean something else already.
const TAKEN = "input, select, textarea, .table-scroll, .diagram, .reads-picture, .output, .command";
const KEYS = { ArrowLeft: "back", ArrowRight: "next" };

export function startLesson() {
  const root = document.querySelector("[data-lesson]");
  if (!root) return;
  document.addEventListener("keydown", onKey);
  if (root.dataset.lesson === "recorded") return;
  let newest = 0;
  const look = () => {
    if (newest > shown()) refreshSoon();
  };
  connect({
    url: "/ws/lesson/",
    poll: "/api/v1/lesson/",
    onMessage: (news) => {
      if (news.type !== "lesson") return;
      newest = news.seq;
      look();
    },
  });
  document.addEventListener("strata:swapped", (event) => {
    if (event.detail.id !== "lesson-step") return;
    say(event.detail);
    // The page may have been made just before the newest change.
    look();
  });
}

function shown() {
  return Number(document.getElementById("lesson-step")?.dataset.seq ?? 0);
}

/** Tell those who hear the page; what was swapped in is no live region that they have heard of before. */
function say(step) {
  const words = document.querySelector("[data-lesson-words]");
  if (words && words.textContent !== step.dataset.words) words.textContent = step.dataset.words;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.defaultPrevented) return;
  const name = KEYS[event.key];
  if (!name || event.target.closest?.(TAKEN)) return;
  const link = document.querySelector(`a[data-lesson-${name}]`);
  if (!link) return;
  event.preventDefault();
  link.click();
}
