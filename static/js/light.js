// The volume under the pointer, or in focus: its path to the root and all that reads through it are
// lit, and said in words below the picture. The arrows of the drawing say who stands on whom.

const maps = new WeakMap();

export function startLight() {
  document.addEventListener("pointerover", (event) => onPoint(event.target, false));
  document.addEventListener("pointerout", (event) => onLeave(event));
  document.addEventListener("focusin", (event) => onPoint(event.target, true));
  document.addEventListener("focusout", (event) => onLeave(event));
}

function onPoint(target, focused) {
  const node = target.closest?.("[data-viewer] .dg-node[data-key]");
  const canvas = node?.closest("[data-viewer-canvas]");
  if (!canvas) return;
  const key = node.dataset.key;
  const links = mapOf(canvas);
  const lit = new Set([...downFrom(links, key), ...upFrom(links, key)]);
  paint(canvas, lit);
  node.classList.add("is-here");
  say(node.closest("[data-viewer]"), links, key, focused);
}

function onLeave(event) {
  const canvas = event.target.closest?.("[data-viewer-canvas]");
  const next = event.relatedTarget?.closest?.(".dg-node[data-key]");
  if (!canvas || (next && canvas.contains(next))) return;
  paint(canvas, null);
}

function mapOf(canvas) {
  let found = maps.get(canvas);
  if (found) return found;
  found = { below: new Map(), above: new Map(), nodes: new Map(), edges: [] };
  for (const edge of canvas.querySelectorAll(".dg-edge[data-overlay]")) {
    const { overlay, backing } = edge.dataset;
    found.edges.push(edge);
    found.below.set(overlay, backing);
    if (!found.above.has(backing)) found.above.set(backing, []);
    found.above.get(backing).push(overlay);
  }
  for (const node of canvas.querySelectorAll(".dg-node[data-key]")) found.nodes.set(node.dataset.key, node);
  maps.set(canvas, found);
  return found;
}

function downFrom(links, key) {
  const path = new Set();
  for (let at = key; at && !path.has(at); at = links.below.get(at)) path.add(at);
  return [...path];
}

function upFrom(links, key) {
  const found = new Set([key]);
  for (const at of found) for (const over of links.above.get(at) ?? []) found.add(over);
  return [...found];
}

function paint(canvas, lit) {
  canvas.classList.toggle("is-lighting", lit !== null);
  for (const old of canvas.querySelectorAll(".is-lit, .is-here")) old.classList.remove("is-lit", "is-here");
  if (!lit) return;
  const links = mapOf(canvas);
  for (const key of lit) links.nodes.get(key)?.classList.add("is-lit");
  for (const edge of links.edges) {
    const both = lit.has(edge.dataset.overlay) && lit.has(edge.dataset.backing);
    edge.classList.toggle("is-lit", both);
  }
}

function say(viewer, links, key, focused) {
  const line = viewer.querySelector("[data-light-words]");
  if (!line) return;
  line.setAttribute("aria-live", focused ? "polite" : "off");
  const told = document.querySelector(`[data-words-of="${CSS.escape(key)}"]`);
  const words = told ? told.textContent.replace(/\s+/g, " ").trim() : wordsOf(viewer, links, key);
  if (line.textContent !== words) line.textContent = words;
}

function wordsOf(viewer, links, key) {
  const { wordsStands, wordsAbove, wordsNone } = viewer.dataset;
  const below = downFrom(links, key).slice(1).map((at) => nameOf(links, at));
  const above = upFrom(links, key).slice(1).map((at) => nameOf(links, at));
  const few = above.length > 6 ? [...above.slice(0, 6), `… ${above.length}`] : above;
  const path = below.join(" → ") || wordsNone;
  return `${nameOf(links, key)}: ${wordsStands} ${path}; ${wordsAbove}: ${few.join(", ") || wordsNone}`;
}

function nameOf(links, key) {
  const node = links.nodes.get(key);
  return node?.querySelector(".dg-name, text")?.textContent ?? "";
}
