// Every large picture: moved by dragging and by the arrows, made larger and smaller by Ctrl and the
// wheel, by + and −, by two fingers and by buttons; 0 shows the whole. The stage is a box that scrolls,
// so without this script it is still all there.
//
//   <div data-viewer id="…">
//     <div data-viewer-controls hidden><button data-viewer-do="in|out|fit">…</button></div>
//     <div data-viewer-stage tabindex="0"><div data-viewer-canvas>…svg…</div></div>
//   </div>

import { fetchPage } from "./fragments.js";

const LEAST = 0.1;
const MOST = 6;
const STEP = 1.25;
const ARROW = 60;
const SLACK = 4;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// What the reader chose, by the id of the viewer: a picture that is brought up to date keeps it.
const zooms = new Map();
// What was fetched last, by its address and version: a page that is brought up to date puts it back.
const fetched = new Map();

export function startViewer() {
  look(document);
  document.addEventListener("strata:swapped", (event) => look(event.detail));
  document.addEventListener("keydown", onKey);
  document.addEventListener("wheel", onWheel, { passive: false });
  document.addEventListener("click", onButton);
}

function look(within) {
  for (const waiting of all(within, "[data-drawing]")) fetchDrawing(waiting);
  for (const viewer of all(within, "[data-viewer]")) prepare(viewer);
}

function all(within, selector) {
  const found = [...within.querySelectorAll(selector)];
  return within.matches?.(selector) ? [within, ...found] : found;
}

function prepare(viewer) {
  for (const controls of viewer.querySelectorAll("[data-viewer-controls]")) controls.hidden = false;
  const stage = stageOf(viewer);
  drags(stage);
  if (zooms.has(viewer.id)) setZoom(viewer, zooms.get(viewer.id));
  const key = viewer.dataset.found;
  const found = key && viewer.querySelector(`.dg-node[data-key="${CSS.escape(key)}"]`);
  if (found) centre(stage, found);
}

function stageOf(viewer) {
  return viewer.querySelector("[data-viewer-stage]") ?? viewer;
}

function canvasOf(viewer) {
  return viewer.querySelector("[data-viewer-canvas]") ?? stageOf(viewer).firstElementChild;
}

function centre(stage, element) {
  const box = element.getBoundingClientRect();
  const around = stage.getBoundingClientRect();
  stage.scrollLeft += box.left + box.width / 2 - around.left - around.width / 2;
  stage.scrollTop += box.top + box.height / 2 - around.top - around.height / 2;
}

function zoomOf(viewer) {
  return Number(canvasOf(viewer)?.dataset.zoom) || 1;
}

/** Make the picture so large, and keep the point of the stage at x, y (its middle) where it is. */
function setZoom(viewer, wanted, x, y) {
  const stage = stageOf(viewer);
  const canvas = canvasOf(viewer);
  if (!canvas) return;
  const before = zoomOf(viewer);
  const zoom = Math.min(MOST, Math.max(LEAST, wanted));
  // What wraps like words is not wrapped anew at every step.
  if (!canvas.style.width) canvas.style.width = `${canvas.clientWidth}px`;
  const at = [x ?? stage.clientWidth / 2, y ?? stage.clientHeight / 2];
  const point = [stage.scrollLeft + at[0], stage.scrollTop + at[1]];
  canvas.style.zoom = zoom;
  canvas.dataset.zoom = zoom;
  stage.scrollLeft = (point[0] * zoom) / before - at[0];
  stage.scrollTop = (point[1] * zoom) / before - at[1];
  if (viewer.id) zooms.set(viewer.id, zoom);
}

function fit(viewer) {
  const stage = stageOf(viewer);
  const canvas = canvasOf(viewer);
  if (!canvas) return;
  const zoom = zoomOf(viewer);
  const [width, height] = [canvas.scrollWidth, canvas.scrollHeight];
  const room = [stage.clientWidth, stage.clientHeight];
  setZoom(viewer, Math.min(1, room[0] / width, (room[1] - 2 * SLACK) / height) || zoom);
  stage.scrollLeft = 0;
  stage.scrollTop = 0;
}

function act(viewer, name) {
  if (name === "in") setZoom(viewer, zoomOf(viewer) * STEP);
  if (name === "out") setZoom(viewer, zoomOf(viewer) / STEP);
  if (name === "fit") fit(viewer);
}

function onButton(event) {
  const button = event.target.closest?.("[data-viewer-do]");
  const viewer = button?.closest("[data-viewer]");
  if (viewer) act(viewer, button.dataset.viewerDo);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const stage = event.target.closest?.("[data-viewer-stage]");
  const viewer = stage?.closest("[data-viewer]");
  if (!viewer) return;
  const name = { "+": "in", "=": "in", "-": "out", _: "out", 0: "fit" }[event.key];
  const arrow = ARROWS[event.key];
  if (!name && !arrow) return;
  event.preventDefault();
  if (name) act(viewer, name);
  else stage.scrollBy(arrow[0] * ARROW, arrow[1] * ARROW);
}

function onWheel(event) {
  if (!event.ctrlKey) return;
  const stage = event.target.closest?.("[data-viewer-stage]");
  const viewer = stage?.closest("[data-viewer]");
  if (!viewer) return;
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  const factor = STEP ** (-Math.sign(event.deltaY) * Math.min(1, Math.abs(event.deltaY) / 100));
  setZoom(viewer, zoomOf(viewer) * factor, event.clientX - box.left, event.clientY - box.top);
}

/** Dragging with the mouse, and two fingers; one finger scrolls the box as it does any other. */
function drags(stage) {
  if (stage.dataset.drags) return;
  stage.dataset.drags = "yes";
  const down = new Map();
  let from = null;
  let moved = false;
  let spread = 0;
  stage.addEventListener("pointerdown", (event) => {
    moved = false;
    if (event.pointerType === "touch") {
      down.set(event.pointerId, event);
      spread = apart(down);
    } else if (event.button === 0) {
      from = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop };
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (down.has(event.pointerId)) {
      down.set(event.pointerId, event);
      if (down.size === 2) spread = pinch(stage, down, spread);
      return;
    }
    if (!from || !(event.buttons & 1)) {
      from = null;
      return;
    }
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (!moved && Math.hypot(x, y) < SLACK) return;
    if (!moved) stage.setPointerCapture(event.pointerId);
    moved = true;
    stage.classList.add("is-dragged");
    stage.scrollLeft = from.left - x;
    stage.scrollTop = from.top - y;
  });
  const end = (event) => {
    down.delete(event.pointerId);
    from = null;
    stage.classList.remove("is-dragged");
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  // Who lets go over a box has moved the picture, and did not mean its link.
  stage.addEventListener("click", (event) => {
    if (!moved) return;
    moved = false;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  stage.addEventListener("dragstart", (event) => event.preventDefault());
}

function apart(down) {
  if (down.size !== 2) return 0;
  const [one, two] = [...down.values()];
  return Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY);
}

function pinch(stage, down, before) {
  const now = apart(down);
  const viewer = stage.closest("[data-viewer]");
  if (!before || !now || !viewer) return now;
  const [one, two] = [...down.values()];
  const box = stage.getBoundingClientRect();
  const x = (one.clientX + two.clientX) / 2 - box.left;
  const y = (one.clientY + two.clientY) / 2 - box.top;
  setZoom(viewer, (zoomOf(viewer) * now) / before, x, y);
  return now;
}

/** A picture that the page did not wait for: fetched from the page of its own. */
async function fetchDrawing(waiting) {
  const address = waiting.dataset.drawing;
  const name = `${address} ${waiting.dataset.version}`;
  const region = document.getElementById(waiting.dataset.drawingPart);
  let nodes = fetched.get(name);
  if (!nodes) {
    const page = await fetchPage(address);
    const found = page?.getElementById(waiting.dataset.drawingPart);
    if (!found || found.querySelector("[data-drawing]")) {
      waiting.querySelector("[data-drawing-words]").hidden = true;
      waiting.querySelector("[data-drawing-failed]").hidden = false;
      return;
    }
    nodes = [...found.childNodes];
    fetched.clear();
    fetched.set(name, nodes);
  }
  if (waiting.isConnected && region) fill(region, nodes);
}

/** Everything in the region is as the other page has it; a search that is being typed stays. */
function fill(region, nodes) {
  const typed = region.querySelector("input[type=search]");
  const words = typed && typed === document.activeElement ? typed.value : null;
  region.replaceChildren(...nodes);
  const field = region.querySelector("input[type=search]");
  if (words !== null && field) {
    field.value = words;
    field.focus({ preventScroll: true });
  }
  for (const viewer of region.querySelectorAll("[data-viewer]")) prepare(viewer);
}
