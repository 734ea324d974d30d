// Opening and folding in place: the links of a picture are plain ones that work without this; here the
// region is fetched from the page of its own, and the address keeps the state.

import { fetchPage, swap } from "./fragments.js";

let shown = location.search;
let newest = 0;

export function startFolds() {
  if (!document.querySelector("[data-fold-area]")) return;
  document.addEventListener("click", onClick);
  window.addEventListener("popstate", () => {
    if (location.search === shown) return;
    for (const area of document.querySelectorAll("[data-fold-area]")) go(area, location.search, false);
  });
}

function onClick(event) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("[data-fold-area] a[href^='?']");
  if (!link) return;
  event.preventDefault();
  const url = new URL(link.getAttribute("href"), location.href);
  go(link.closest("[data-fold-area]"), url.search, true, url.hash);
}

/** Show the region as this query asks for it; the newest wish wins. */
async function go(area, query, push, hash = "") {
  const mine = ++newest;
  area.setAttribute("aria-busy", "true");
  const page = await fetchPage(`${area.dataset.own}${query}`);
  if (mine !== newest && push) return;
  const fresh = page?.getElementById(area.id);
  if (!fresh) {
    location.assign(`${location.pathname}${query}${hash}`);
    return;
  }
  if (push) history.pushState(null, "", `${location.pathname}${query}`);
  shown = location.search;
  area.removeAttribute("aria-busy");
  swap(area, fresh);
}
