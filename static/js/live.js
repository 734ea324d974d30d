// One live source: a websocket that is opened anew when it dies, and polling for as long as it is
// away. Whoever listens gets whole snapshots, in order, and never has to ask where they came from.

import { gettext } from "./i18n.js";

const FIRST_DELAY = 250;
// A page is to be right again within two seconds of the server's return.
const LONGEST_DELAY = 1_200;
const POLL_EVERY = 1_500;
const OPEN_WITHIN = 8_000;
// The server says something at least every 20 s; after two of these missed the line is dead,
// whatever the socket believes.
const SILENCE = 45_000;

// The server's own codes, of chains/live/consumers.py.
const NOT_ALLOWED = 4403;
const NOT_FOUND = 4404;

const WORDS = {
  connecting: gettext("Connecting…"),
  live: gettext("Live"),
  reconnecting: gettext("Reconnecting…"),
  ended: gettext("Signed out: reload this page to sign in again"),
  finished: "",
};

/**
 * Listen to `url` (a path), with `poll` (a path) as the way to ask while the socket is away.
 * `onMessage` gets each message that is not older than one before it. Returns `{close}`.
 */
export function connect({ url, poll, onMessage }) {
  const source = new Source(url, poll, onMessage);
  source.start();
  return { close: () => source.stop("finished") };
}

class Source {
  constructor(url, poll, onMessage) {
    this.url = url;
    this.poll = poll;
    this.onMessage = onMessage;
    this.seqs = new Map();
    this.delay = FIRST_DELAY;
    this.heard = performance.now();
    this.socket = null;
    this.stopped = false;
    this.listeners = new AbortController();
  }

  start() {
    show("connecting");
    const { signal } = this.listeners;
    const wake = () => this.wake();
    document.addEventListener("visibilitychange", wake, { signal });
    window.addEventListener("online", wake, { signal });
    // A page that comes back from the browser's page cache comes back with a dead socket.
    window.addEventListener("pageshow", (event) => event.persisted && this.restart(), { signal });
    this.watch = setInterval(() => this.checkSilence(), 5_000);
    this.open();
  }

  stop(state) {
    this.stopped = true;
    this.listeners.abort();
    clearInterval(this.watch);
    clearTimeout(this.reopen);
    this.stopPolling();
    this.drop();
    show(state);
  }

  open() {
    clearTimeout(this.reopen);
    this.drop();
    if (this.stopped) return;
    const socket = new WebSocket(socketUrl(this.url));
    this.socket = socket;
    this.opening = setTimeout(() => this.lost(socket), OPEN_WITHIN);
    socket.onmessage = (event) => this.onSocketMessage(socket, event);
    socket.onclose = (event) => this.onClose(socket, event.code);
  }

  /** Forget the socket; its last words, if it has any, are not listened to. */
  drop() {
    clearTimeout(this.opening);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  onClose(socket, code) {
    if (code === NOT_ALLOWED) this.stop("ended");
    else if (code === NOT_FOUND) this.stop("finished");
    else this.lost(socket);
  }

  lost(socket) {
    if (socket !== this.socket || this.stopped) return;
    this.drop();
    show("reconnecting");
    this.startPolling();
    const jitter = 0.75 + Math.random() / 2;
    this.reopen = setTimeout(() => this.open(), this.delay * jitter);
    this.delay = Math.min(this.delay * 2, LONGEST_DELAY);
  }

  onSocketMessage(socket, event) {
    if (socket !== this.socket) return;
    clearTimeout(this.opening);
    // Only a message proves the line: a proxy may accept a socket that nobody answers.
    this.delay = FIRST_DELAY;
    this.stopPolling();
    show("live");
    this.take(parse(event.data));
  }

  take(message) {
    if (!message || this.stopped) return;
    this.heard = performance.now();
    if (message.type === "alive" || typeof message.seq !== "number") return;
    const topic = `${message.type}:${message.id ?? ""}`;
    if (message.seq < (this.seqs.get(topic) ?? -Infinity)) return;
    this.seqs.set(topic, message.seq);
    this.onMessage(message);
  }

  checkSilence() {
    if (this.socket && performance.now() - this.heard > SILENCE) this.restart();
  }

  wake() {
    if (document.visibilityState !== "visible") return;
    // Timers and sockets of a sleeping tab are not to be trusted.
    if (!this.socket || performance.now() - this.heard > SILENCE / 2) this.restart();
  }

  restart() {
    this.heard = performance.now();
    this.delay = FIRST_DELAY;
    show("reconnecting");
    this.startPolling();
    this.open();
  }

  startPolling() {
    if (this.polling || !this.poll) return;
    this.polling = new AbortController();
    this.ask(this.polling.signal);
  }

  stopPolling() {
    clearTimeout(this.nextPoll);
    this.polling?.abort();
    this.polling = null;
  }

  async ask(signal) {
    try {
      const response = await fetch(this.poll, { signal, headers: { Accept: "application/json" } });
      if (response.status === 401 || response.status === 403) return this.stop("ended");
      if (response.ok) {
        const message = await response.json();
        if (!signal.aborted) this.take(message);
      }
    } catch {
      // The server is away; that is why we poll.
    }
    if (!signal.aborted) this.nextPoll = setTimeout(() => this.ask(signal), POLL_EVERY);
  }
}

function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Tell the reader how the line stands; the element is an aria-live region. */
function show(state) {
  for (const element of document.querySelectorAll("[data-connection]")) {
    if (element.dataset.connection === state) continue;
    element.dataset.connection = state;
    element.textContent = WORDS[state];
  }
}
