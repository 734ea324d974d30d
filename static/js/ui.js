// Small courtesies of every page: the theme, the menu, times in the reader's zone, a question before
// what can not be undone, and no form sent twice.

import { gettext, interpolate } from "./i18n.js";
import { ago, moment, ZONE } from "./words.js";

export function startUi() {
  startTheme();
  startMenus();
  startForms();
  freshenTimes();
  setInterval(freshenTimes, 15_000);
  document.addEventListener("strata:swapped", freshenTimes);
}

const THEMES = ["system", "light", "dark", "contrast"];
const WORDS = { system: gettext("system"), light: gettext("light"), dark: gettext("dark"), contrast: gettext("high contrast") };

function startTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  if (!button) return;
  const shape = button.querySelector("use");
  const sprite = shape.getAttribute("href").split("#")[0];
  const paint = () => {
    const theme = document.documentElement.dataset.theme ?? "system";
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    const words = interpolate(gettext("Theme: %(theme)s. Change to %(next)s."), {
      theme: WORDS[theme],
      next: WORDS[next],
    });
    shape.setAttribute("href", `${sprite}#theme${theme === "system" ? "" : `-${theme}`}`);
    button.querySelector("[data-theme-words]").textContent = words;
    button.title = words;
    return next;
  };
  paint();
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = paint();
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    document.dispatchEvent(new Event("strata:theme"));
    try {
      localStorage.setItem("strata-theme", next);
    } catch {
      // Then it holds for this page only.
    }
    paint();
  });
}

function startMenus() {
  const closeAll = (except) => {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      if (menu !== except) menu.open = false;
    }
  };
  document.addEventListener("click", (event) => closeAll(event.target.closest?.("[data-menu]")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("[data-menu][open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

function startForms() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.dataset.confirm && !form.dataset.confirmed) {
      event.preventDefault();
      if (await ask(form)) {
        form.dataset.confirmed = "yes";
        form.requestSubmit(event.submitter ?? undefined);
      }
      return;
    }
    if (form.method === "post") holdButtons(form);
  });
  // The browser's back button brings the page as it was left: with its buttons held.
  window.addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button[data-held]")) release(button);
  });
}

function holdButtons(form) {
  // After the event, or the button's own name would not be sent along.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button[type=submit]:not(:disabled)")) {
      button.disabled = true;
      button.dataset.held = "yes";
    }
  });
}

function release(button) {
  button.disabled = false;
  delete button.dataset.held;
  delete button.form?.dataset.confirmed;
}

/** The question of a form, in a dialog; resolves to whether the reader said yes. */
function ask(form) {
  const dialog = element("dialog", "dialog");
  const body = element("form", "dialog-body");
  body.method = "dialog";
  const heading = element("h2", "", form.dataset.confirm);
  heading.id = "confirm-heading";
  dialog.setAttribute("aria-labelledby", heading.id);
  const actions = element("div", "actions");
  const no = element("button", "button", form.dataset.confirmNo ?? gettext("Back"));
  const yes = element("button", form.dataset.confirmTone ?? "button button-danger", form.dataset.confirmYes ?? gettext("Yes"));
  no.value = "no";
  yes.value = "yes";
  no.autofocus = true;
  actions.append(no, yes);
  body.append(heading);
  if (form.dataset.confirmMore) body.append(element("p", "", form.dataset.confirmMore));
  body.append(actions);
  dialog.append(body);
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

/** A new element with a class and a text. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Put every time into words of now, and into the reader's zone where the server did not know it. */
export function freshenTimes() {
  const now = new Date();
  const known = document.documentElement.dataset.zone === ZONE;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const exact = known ? time.title || time.textContent : moment(date);
    if (time.title !== exact) time.title = exact;
    const words = "ago" in time.dataset ? ago(date, now) : exact;
    if (time.textContent !== words) time.textContent = words;
  }
}
