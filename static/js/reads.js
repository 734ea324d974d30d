// Zooming into the redirected reads without leaving the page. Every step is a plain link that works
// without this; here the link is followed by fetch, and only the picture and its controls change.

import { fetchPage, swap } from "./fragments.js";

const KEYS = {
  "+": "in",
  "=": "in",
  "-": "out",
  _: "out",
  ArrowLeft: "previous",
  ArrowRight: "next",
  Home: "whole",
  0: "whole",
};
const WHEEL_QUIET = 140;

let current = null;
let shown = location.search;

export function startReads() {
  if (!document.getElementById("reads")) return;
  document.addEventListener("click", onClick);
  document.addEventListener("submit", onAsk);
  document.addEventListener("keydown", onKey);
  document.addEventListener("wheel", onWheel, { passive: false });
  window.addEventListener("popstate", () => {
    // A jump within the page is a popstate too.
    if (location.search !== shown) go(location.href, false);
  });
}

function onClick(event) {
  if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("#reads a[href]") ?? blockLink(event.target);
  const url = link && !link.hasAttribute("download") && zoomUrl(link);
  if (!url) return;
  event.preventDefault();
  go(url, true);
}

/** Where a link zooms to; null when it leads to another page. */
function zoomUrl(link) {
  const url = new URL(link.getAttribute("href"), location.href);
  return url.origin === location.origin && url.pathname === location.pathname ? url.href : null;
}

/** A block of a layer leads where the guest's block above it leads. */
function blockLink(target) {
  const cell = target.closest?.("#reads .dg-cell[data-block]");
  const picture = cell?.closest("[data-focus-key]");
  const twin = picture?.querySelector(`.dg-guest .dg-cell[data-block="${CSS.escape(cell.dataset.block)}"]`);
  return twin?.matches("a[href]") ? twin : (twin?.closest("a[href]") ?? null);
}

/** The question which file answers a byte: the answer comes without leaving the page. */
function onAsk(event) {
  const form = event.target;
  if (!form.matches?.("#reads [data-lens]")) return;
  event.preventDefault();
  const url = new URL(form.action, location.href);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  go(url.href, true);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // On a page that nobody has touched yet the keys are the picture's: it is what one came for.
  const idle = event.target === document.body && document.querySelector("#reads [data-focus-key]");
  const picture = event.target.closest?.("#reads [data-focus-key]") ?? idle;
  const name = KEYS[event.key];
  if (!picture || !name) return;
  const url = name === "in" ? inwards(picture, document.activeElement) : linkUrl(name);
  if (!url) return;
  event.preventDefault();
  go(url, true);
}

function linkUrl(name) {
  const link = document.querySelector(`#reads a[href][data-zoom="${name}"]`);
  return link && zoomUrl(link);
}

/** The slice of half the width around a block that has the focus, or around the middle. */
function inwards(picture, focused) {
  const blocks = blockLinks(picture);
  const at = blocks.indexOf(focused);
  if (at >= 0 && Number(picture.dataset.block) > clusterOf(picture)) return zoomUrl(focused);
  return linkUrl("in");
}

function blockLinks(picture) {
  return [...picture.querySelectorAll(".dg-guest a[href]")];
}

/** The address of the slice that is `scale` times as wide and keeps the point at `fraction`. */
function around(picture, fraction, scale) {
  const [from, to, size] = ["from", "to", "size"].map((name) => Number(picture.dataset[name]));
  const cluster = clusterOf(picture);
  const length = to - from;
  const wanted = Math.min(size, Math.max(Math.round((length * scale) / cluster) * cluster, cluster));
  if (wanted >= size) return linkUrl("whole");
  if (wanted === length) return null;
  const point = from + fraction * length;
  const wish = Math.floor((point - fraction * wanted) / cluster) * cluster;
  // Never past the cluster that is pointed at, however the borders fall.
  const least = Math.floor(Math.min(point, to - 1) / cluster) * cluster + cluster - wanted;
  const start = Math.max(0, Math.min(Math.max(wish, least), size - wanted));
  const url = new URL(location.href);
  url.searchParams.set("from", start);
  url.searchParams.set("to", start + wanted);
  url.hash = "reads";
  return url.href;
}

function clusterOf(picture) {
  return Number(picture.dataset.cluster) || 1;
}

let wheel = null;

function onWheel(event) {
  if (!event.ctrlKey) return;
  const picture = event.target.closest?.("#reads [data-focus-key]");
  if (!picture) return;
  event.preventDefault();
  const turn = (wheel?.turn ?? 0) + Math.sign(event.deltaY);
  clearTimeout(wheel?.timer);
  const fraction = wheel?.fraction ?? pointerFraction(picture, event.clientX);
  const timer = setTimeout(() => {
    wheel = null;
    const url = around(picture, fraction, 2 ** Math.max(-4, Math.min(4, turn)));
    if (url) go(url, true);
  }, WHEEL_QUIET);
  wheel = { turn, fraction, timer };
}

function pointerFraction(picture, x) {
  const boxes = [...picture.querySelectorAll(".dg-guest .dg-slot")].map((block) => block.getBoundingClientRect());
  if (boxes.length === 0) return 0.5;
  const left = Math.min(...boxes.map((box) => box.left));
  const right = Math.max(...boxes.map((box) => box.right));
  return Math.min(1, Math.max(0, (x - left) / (right - left)));
}

/** Fetch the page at `url` and swap the reads; the newest wish wins. */
async function go(url, push) {
  current?.abort();
  const mine = new AbortController();
  current = mine;
  const old = document.getElementById("reads");
  old.setAttribute("aria-busy", "true");
  const page = await fetchPage(url, { signal: mine.signal });
  if (mine.signal.aborted) return;
  const fresh = page?.getElementById("reads");
  if (!fresh) {
    // The server's own page says best what is wrong.
    location.assign(url);
    return;
  }
  if (push) history.pushState(null, "", url);
  shown = location.search;
  const now = document.getElementById("reads");
  now.removeAttribute("aria-busy");
  swap(now, fresh);
}
