// The words of the scripts in the reader's language. Their catalogue is a classic script of its own,
// loaded before the modules; where it could not be had, the words stay English.

/** The text in the reader's language. */
export function gettext(text) {
  return window.gettext?.(text) ?? text;
}

/** The form of the text that goes with a number. */
export function ngettext(one, many, count) {
  return window.ngettext?.(one, many, count) ?? (count === 1 ? one : many);
}

/** The text with each `%(name)s` replaced. */
export function interpolate(text, values) {
  return text.replace(/%\((\w+)\)s/g, (whole, name) => String(values[name] ?? whole));
}

/** A number as written in English, with the decimal sign of the language. */
export function number(text) {
  return text.replace(".", window.get_format?.("DECIMAL_SEPARATOR") ?? ".");
}
