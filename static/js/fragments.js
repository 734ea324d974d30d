// Brings parts of the page up to date: the page is fetched again, and the elements that carry
// `data-refresh` (and an id) are swapped for their new selves. The server stays the only one who
// draws; focus, scroll, opened details and half-filled forms stay as the reader left them.

const QUIET = 250;
const APART = 1_000;
const SCROLLERS = ".table-scroll, .dg-scroll, .viewer-stage, .output, .command";

let timer = null;
let busy = false;
let again = false;
let last = -Infinity;

/** Ask for a refresh soon; many asks in a row make one fetch. */
export function refreshSoon() {
  if (busy) {
    again = true;
    return;
  }
  clearTimeout(timer);
  const wait = Math.max(QUIET, last + APART - performance.now());
  timer = setTimeout(refresh, wait);
}

async function refresh() {
  busy = true;
  try {
    const asked = location.href;
    const page = await fetchPage(asked);
    // Whoever zoomed meanwhile has a newer picture than this one.
    if (page && location.href === asked) swapAll(page);
  } finally {
    busy = false;
    last = performance.now();
    if (again) {
      again = false;
      refreshSoon();
    }
  }
}

/** One of our own pages as a document, or null when it can not be had now. */
export async function fetchPage(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { ...options, headers: { Accept: "text/html" } });
  } catch {
    return null;
  }
  if (response.redirected && new URL(response.url).pathname !== new URL(url, location.href).pathname) {
    // The session has ended: let the server show the way.
    location.reload();
    return null;
  }
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

function swapAll(page) {
  for (const old of document.querySelectorAll("[data-refresh][id]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && !old.parentElement.closest("[data-refresh]")) swap(old, fresh);
  }
}

/** Put `fresh` in the place of `old`, and the reader's state into `fresh`. */
export function swap(old, fresh) {
  const source = fresh.outerHTML;
  // What the server sent last time is kept aside: scripts have changed the page since.
  if (old.strataSource === source) return;
  const element = document.adoptNode(fresh);
  element.strataSource = source;
  const focus = describeFocus(old);
  carryControls(old, element);
  carryDetails(old, element);
  const opened = openPopovers(old);
  const scrolls = [...old.querySelectorAll(SCROLLERS)].map((box) => [box.scrollLeft, box.scrollTop]);
  old.replaceWith(element);
  element.querySelectorAll(SCROLLERS).forEach((box, index) => {
    if (scrolls[index]) [box.scrollLeft, box.scrollTop] = scrolls[index];
  });
  for (const id of opened) showAgain(element, id);
  restoreFocus(element, focus);
  document.dispatchEvent(new CustomEvent("strata:swapped", { detail: element }));
}

function describeFocus(old) {
  const active = document.activeElement;
  if (!active || !old.contains(active)) return null;
  return {
    id: active.id,
    name: active.getAttribute("name"),
    value: active.getAttribute("value"),
    zoom: active.dataset?.zoom,
    href: active.getAttribute("href"),
    region: active.dataset?.focusKey,
  };
}

function restoreFocus(element, focus) {
  if (!focus) return;
  const quote = CSS.escape;
  const candidates = [
    focus.id && `#${quote(focus.id)}`,
    focus.name && focus.value !== null && `[name="${quote(focus.name)}"][value="${quote(focus.value)}"]`,
    focus.name && `[name="${quote(focus.name)}"]`,
    focus.zoom && `a[href][data-zoom="${quote(focus.zoom)}"]`,
    focus.region && `[data-focus-key="${quote(focus.region)}"]`,
    focus.href && `a[href="${quote(focus.href)}"]`,
    "[data-focus-key]",
  ];
  for (const selector of candidates.filter(Boolean)) {
    const target = element.matches(selector) ? element : element.querySelector(selector);
    if (target) {
      target.focus({ preventScroll: true });
      return;
    }
  }
}

/** The ids of what stands open over the page: somebody reads it. */
function openPopovers(old) {
  if (!("popover" in HTMLElement.prototype)) return [];
  return [...old.querySelectorAll("[popover][id]")].filter((one) => one.matches(":popover-open")).map((one) => one.id);
}

function showAgain(element, id) {
  const source = element.querySelector(`[popovertarget="${CSS.escape(id)}"]`);
  element.querySelector(`#${CSS.escape(id)}`)?.showPopover({ source });
}

function carryControls(old, element) {
  for (const control of old.querySelectorAll("input[name], select[name], textarea[name]")) {
    if (control.type === "hidden") continue;
    const named = [...element.querySelectorAll(`[name="${CSS.escape(control.name)}"]`)];
    if (control.type === "radio" || control.type === "checkbox") {
      if (control.checked === control.defaultChecked) continue;
      const twin = named.find((item) => item.value === control.value);
      if (twin) twin.checked = control.checked;
    } else if (changed(control) && named[0]) {
      const before = named[0].value;
      named[0].value = control.value;
      if (named[0].value !== control.value) named[0].value = before;
    }
  }
}

function changed(control) {
  if (control.tagName !== "SELECT") return control.value !== control.defaultValue;
  return [...control.options].some((option) => option.selected !== option.defaultSelected);
}

function carryDetails(old, element) {
  for (const details of old.querySelectorAll("details[id]")) {
    const twin = element.querySelector(`#${CSS.escape(details.id)}`);
    if (twin) twin.open = details.open;
  }
}
