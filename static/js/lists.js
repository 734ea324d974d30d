// Lists that answer while one types. A filter is a plain form that works without this; here the page
// it leads to is fetched, and only the list is swapped. The address always says what is shown, so
// that back, reload and a link to a colleague work.
//
// `data-list="disks"` on a form names the region (an id) that holds the list, its pages and its order.

import { fetchPage, swap } from "./fragments.js";

const TYPING = 250;
// Said of the table, not of its rows: left out of the address until the reader changes them.
const MANNERS = ["columns", "rows"];

export function startLists() {
  for (const form of document.querySelectorAll("form[data-list]")) new List(form);
}

class List {
  constructor(form) {
    this.form = form;
    this.id = form.dataset.list;
    this.shown = location.search;
    this.manners = false;
    form.addEventListener("input", (event) => this.onInput(event));
    form.addEventListener("change", (event) => this.onChange(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.go(this.address(), true);
    });
    form.addEventListener("reset", () => setTimeout(() => this.go(this.address(), true)));
    document.addEventListener("click", (event) => this.onClick(event));
    window.addEventListener("popstate", () => location.search !== this.shown && this.go(location.href, false));
  }

  get region() {
    return document.getElementById(this.id);
  }

  onInput(event) {
    if (!event.target.matches("input[type=search], input[type=text], input[type=number]")) return;
    clearTimeout(this.timer);
    this.typing = true;
    this.timer = setTimeout(() => this.go(this.address(), false, true), TYPING);
  }

  onChange(event) {
    if (MANNERS.includes(event.target.name)) this.manners = true;
    // The words were sent while they were typed; their change comes when the field is left.
    if (event.target.matches("input[type=search], input[type=text], input[type=number]") && !this.typing) return;
    clearTimeout(this.timer);
    this.typing = false;
    this.go(this.address(), true);
  }

  onClick(event) {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.hasAttribute("download") || !(this.region.contains(link) || this.form.contains(link))) return;
    const url = new URL(link.getAttribute("href"), location.href);
    if (url.origin !== location.origin || url.pathname !== location.pathname || url.hash) return;
    event.preventDefault();
    this.go(url.href, true);
  }

  /** What the form asks for; fields that ask for nothing stay out of the address. */
  address() {
    const url = new URL(this.form.action, location.href);
    const words = new URLSearchParams();
    const now = new URLSearchParams(location.search);
    const manners = this.manners || MANNERS.some((name) => now.has(name));
    for (const [name, value] of new FormData(this.form)) {
      if (value !== "" && (manners || !MANNERS.includes(name))) words.append(name, value);
    }
    if (manners && !words.has("columns") && this.form.querySelector("[name=columns]")) words.append("columns", "");
    if (now.has("sort") && !words.has("sort")) words.set("sort", now.get("sort"));
    url.search = words;
    return url.href;
  }

  /** Show what is at `url`: the newest wish wins; `quiet`: no step for the back button. */
  async go(url, push, quiet = false) {
    this.current?.abort();
    const mine = new AbortController();
    this.current = mine;
    this.region.setAttribute("aria-busy", "true");
    const page = await fetchPage(url, { signal: mine.signal });
    if (mine.signal.aborted) return;
    const fresh = page?.getElementById(this.id);
    if (!fresh) {
      // The server's own page says best what is wrong; but nobody is torn away while typing.
      if (quiet) this.region.removeAttribute("aria-busy");
      else location.assign(url);
      return;
    }
    if (push) history.pushState(null, "", url);
    else if (quiet) history.replaceState(null, "", url);
    this.shown = location.search;
    this.region.removeAttribute("aria-busy");
    swap(this.region, fresh);
    if (!quiet) this.follow(page);
    this.tell();
  }

  /** The fields say what is shown, also after "back" and after a link; but not under the reader's hands. */
  follow(page) {
    const twin = page.querySelector(`form[data-list="${CSS.escape(this.id)}"]`);
    if (!twin) return;
    for (const field of this.form.elements) {
      if (!field.name || field === document.activeElement) continue;
      const same = [...twin.querySelectorAll(`[name="${CSS.escape(field.name)}"]`)];
      if (field.type === "checkbox") {
        const box = same.find((other) => other.value === field.value);
        if (box) field.checked = box.checked;
      } else if (same[0]) {
        field.value = same[0].value;
      }
    }
  }

  tell() {
    const status = this.form.querySelector("[data-list-status]");
    const total = this.region.querySelector("[data-total]");
    if (status) status.textContent = total ? total.textContent.trim() : (this.region.querySelector(".empty h2")?.textContent ?? "");
  }
}
