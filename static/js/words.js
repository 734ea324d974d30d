// Numbers and times as people read them; the same words as chains/core/units.py writes.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

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
  return `${text} ${UNITS[unit]}`;
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
  if (whole === 0) return "< 1 s";
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** Percent without running ahead: 100 is only said of what is done. */
export function percent(value) {
  if (value >= 100) return "100 %";
  return value < 10 ? `${(Math.floor(value * 10) / 10).toFixed(1)} %` : `${Math.floor(value)} %`;
}

/** How long ago: `just now`, `5 min ago`, `3 d ago`. */
export function ago(date, now = new Date()) {
  const seconds = (now - date) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
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

/** A moment in the reader's own zone: `2026-07-01 14:03:22 CEST`. */
export function moment(date) {
  const part = Object.fromEntries(CLOCK.formatToParts(date).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second} ${part.timeZoneName}`;
}
