// Choosing disks in a table: all of a page with one box, and a bar that says how many are chosen.
// Without scripts the boxes and the bar's button are a plain form.

import { gettext, interpolate, ngettext } from "./i18n.js";

const BOXES = 'input[type="checkbox"][name="disk"]';

export function startSelection() {
  if (!document.querySelector("[data-selection]")) return;
  document.addEventListener("change", (event) => {
    const all = event.target.closest?.("[data-select-all]");
    if (all) {
      for (const box of boxes()) box.checked = all.checked;
    }
    paint();
  });
  document.addEventListener("strata:swapped", paint);
  // The browser's back button brings back what was chosen.
  window.addEventListener("pageshow", paint);
  paint();
}

function boxes() {
  return [...document.querySelectorAll(BOXES)];
}

function paint() {
  const bar = document.querySelector("[data-selection]");
  if (!bar) return;
  const chosen = boxes().filter((box) => box.checked).length;
  bar.classList.add("is-live");
  bar.classList.toggle("is-empty", chosen === 0);
  const words = bar.querySelector("[data-selection-words]");
  const form = ngettext("%(count)s disk chosen", "%(count)s disks chosen", chosen);
  const text = chosen === 0 ? gettext("No disk chosen") : interpolate(form, { count: chosen });
  if (words.textContent !== text) words.textContent = text;
  bar.querySelector("button").disabled = chosen === 0;
  const all = document.querySelector("[data-select-all]");
  if (!all) return;
  all.closest("label").hidden = false;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && chosen < boxes().length;
}
