// The words of states, and of what is at work, in the reader's language.

import { gettext, interpolate } from "./i18n.js";

const STATES = {
  queued: gettext("queued"),
  running: gettext("running"),
  succeeded: gettext("succeeded"),
  failed: gettext("failed"),
  cancelled: gettext("cancelled"),
  attention: gettext("needs attention"),
  waiting: gettext("waiting"),
  done: gettext("done"),
};

// As the messages title what is at work; they are English, whoever reads them.
const TITLES = [
  ["Undo of a merge of ", gettext("Undo of a merge of %(subject)s")],
  ["Merge of ", gettext("Merge of %(subject)s")],
  ["Scan of ", gettext("Scan of %(subject)s")],
  ["Block map of ", gettext("Block map of %(subject)s")],
  ["Check of ", gettext("Check of %(subject)s")],
];

/** A state in words. */
export function stateWords(state) {
  return STATES[state] ?? state;
}

/** The title of what is at work. */
export function title(text) {
  const known = TITLES.find(([start]) => text.startsWith(start));
  return known ? interpolate(known[1], { subject: text.slice(known[0].length) }) : text;
}
