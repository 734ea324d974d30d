// Numbers and times as people read them; the same words as chains/words/numbers.py writes.

import { gettext, interpolate, number } from "./i18n.js";

const UNITS = [
  gettext("B"), gettext("KiB"), gettext("MiB"), gettext("GiB"), gettext("TiB"), gettext("PiB"), gettext("EiB"),
];

/** Bytes in binary units, three significant digits. */
export function binary(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  let text = digits(value);
  if (text === "1024" && unit < UNITS.length - 1) {
    text = "1";
    unit += 1;
  }
  return `${number(text)} ${UNITS[unit]}`;
}

function digits(value) {
  if (Number.isInteger(value)) return String(value);
  const decimals = Math.max(0, 3 - String(Math.trunc(value)).length);
  const text = value.toFixed(decimals);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** Seconds as `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole === 0) return gettext("< 1 s");
  if (whole < 60) return interpolate(gettext("%(s)s s"), { s: whole });
  const min = Math.floor(whole / 60);
  if (min < 60) {
    const form = whole % 60 ? gettext("%(min)s min %(s)s s") : gettext("%(min)s min");
    return interpolate(form, { min, s: whole % 60 });
  }
  const form = min % 60 ? gettext("%(h)s h %(min)s min") : gettext("%(h)s h");
  return interpolate(form, { h: Math.floor(min / 60), min: min % 60 });
}

/** Percent without running ahead: 100 is only said of what is done. */
export function percent(value) {
  if (value >= 100) return "100 %";
  return value < 10 ? `${number((Math.floor(value * 10) / 10).toFixed(1))} %` : `${Math.floor(value)} %`;
}

/** How long ago: `just now`, `5 min ago`, `3 d ago`. */
export function ago(date, now = new Date()) {
  const seconds = (now - date) / 1000;
  if (seconds < 10) return gettext("just now");
  if (seconds < 60) return counted(gettext("%(count)s s ago"), seconds);
  if (seconds < 3600) return counted(gettext("%(count)s min ago"), seconds / 60);
  if (seconds < 86_400) return counted(gettext("%(count)s h ago"), seconds / 3600);
  return counted(gettext("%(count)s d ago"), seconds / 86_400);
}

function counted(form, count) {
  return interpolate(form, { count: Math.floor(count) });
}

const CLOCK = new Intl.DateTimeFormat("en-CA", {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});

/** The reader's own zone, as the server knows it too once it was told. */
export const ZONE = CLOCK.resolvedOptions().timeZone;

/** A moment in the reader's own zone: `2026-07-01 14:03:22 CEST`. */
export function moment(date) {
  const part = Object.fromEntries(CLOCK.formatToParts(date).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second} ${part.timeZoneName}`;
}
