// Pointers and keys on the boxes' canvas: drawing, moving, stretching, naming at the box.
const spot = (event) => {
  const {left, top, width, height} = svg.getBoundingClientRect();
  return [limited((event.clientX - left) / width), limited((event.clientY - top) / height)];
};
const reach = () => {
  const {width, height} = svg.getBoundingClientRect();
  return [REACH_PX / width, REACH_PX / height];
};
const others = (index) => edits.doc.boxes.filter((_, other) => other !== index).map(({box}) => box);
const snaps = (event) => view.snap && !event.altKey;

// The canvas in its well, which keeps its size; two fingers hold the view, and take back what the first began.
let usual = 0; // px of the screen that the canvas is wide without zoom
const fitCanvas = () => {
  const isZoomed = zoom.zoom > 1;
  if (isZoomed && !well.classList.contains('zoomed')) {
    usual = svg.getBoundingClientRect().width;
    well.style.height = `${well.offsetHeight}px`;
  }
  well.classList.toggle('zoomed', isZoomed);
  svg.style.width = isZoomed ? `${usual * zoom.zoom}px` : '';
  if (!isZoomed) well.style.height = '';
};
const zoom = zoomable(well, svg, fitCanvas, 8);
const giveUp = () => {
  chosen = drag.was;
  drag = null;
  guides = [];
  edits.cancel();
  draw();
};

svg.addEventListener('pointerdown', (event) => {
  grip = event.pointerType === 'touch' ? GRIPS.finger : GRIPS.mouse;
  if (zoom.takes(event)) {
    svg.setPointerCapture(event.pointerId);
    if (drag) giveUp();
    return;
  }
  if (drag || event.button || !view.boxes) return;
  event.preventDefault();
  naming.blur();
  document.activeElement?.blur?.();
  const from = spot(event);
  const handled = event.target.closest('.grip');
  const group = event.target.closest('.box');
  const isChosenHere = edits.doc.boxes[chosen] && holds(edits.doc.boxes[chosen].box, from);
  const index = handled || isChosenHere ? chosen : group ? Number(group.dataset.index) : -1;
  drag = {
    id: event.pointerId, from, index, start: [event.clientX, event.clientY], moved: false, was: chosen,
    box: edits.doc.boxes[index]?.box, mode: handled ? handled.dataset.handle : index < 0 ? 'draw' : 'move',
  };
  svg.setPointerCapture(event.pointerId);
  edits.begin();
  chosen = index;
  draw();
});

const dragTo = (event) => {
  const {mode, from, box, index} = drag;
  const to = spot(event);
  const near = snaps(event) ? reach() : [0, 0];
  if (mode === 'move') {
    const raw = movedBox(box, to[0] - from[0], to[1] - from[1]);
    [drag.next, guides] = snaps(event) ? snappedBox(raw, others(index), near) : [raw, []];
  } else {
    const axes = mode === 'draw' ? [0, 1] : [...(/[we]/.test(mode) ? [0] : []), ...(/[ns]/.test(mode) ? [1] : [])];
    const [end, lines] = snaps(event) ? snappedPoint(to, others(index), near, axes) : [to, []];
    guides = lines;
    drag.next = mode === 'draw' ? proper([...drag.origin, ...end]) : stretchedBox(box, mode, end);
  }
  edits.drag(withBox(drag.index, {box: drag.next}));
};

svg.addEventListener('pointermove', (event) => {
  zoom.moved(event);
  if (drag?.id !== event.pointerId) return;
  const [x, y] = drag.start;
  if (!drag.moved && Math.hypot(event.clientX - x, event.clientY - y) < CLICK_PX) return;
  if (!drag.moved && drag.mode === 'draw') {
    if (isFull()) { drag = null; return; }
    [drag.origin] = snaps(event) ? snappedPoint(drag.from, others(-1), reach()) : [drag.from];
    drag.index = edits.doc.boxes.length;
    edits.drag(withNew([...drag.origin, ...drag.origin]));
    chosen = drag.index;
  }
  drag.moved = true;
  dragTo(event);
});

// A click where several boxes lie chooses the next one below.
const clicked = ({from, was}) => {
  const under = edits.doc.boxes.map((_, index) => index).filter((index) => holds(edits.doc.boxes[index].box, from)).reverse();
  choose(under.length ? under[(under.indexOf(was) + 1) % under.length] : -1);
};
const drop = (event) => {
  zoom.lifted(event);
  if (drag?.id !== event.pointerId) return;
  const {moved, mode, index, was, from} = drag;
  const ended = drag;
  drag = null;
  guides = [];
  edits.end();
  draw();
  if (!moved) {
    clicked(ended);
    if (event.pointerType === 'touch' && was === chosen && was >= 0 && holds(edits.doc.boxes[was].box, from)) nameBox(was);
    return;
  }
  write();
  say('');
  choose(index);
  if (mode === 'draw' && event.pointerType !== 'touch') nameBox(index);
};
svg.addEventListener('pointerup', drop);
svg.addEventListener('pointercancel', drop);
svg.addEventListener('dblclick', (event) => {
  const index = edits.doc.boxes.findLastIndex(({box}) => holds(box, spot(event)));
  if (index >= 0) nameBox(chosen >= 0 && holds(edits.doc.boxes[chosen].box, spot(event)) ? chosen : index);
});

// ------------------------------------------------------------------ naming at the box

const nameBox = (index) => {
  const {box, phrase} = edits.doc.boxes[index];
  const [canvas, around] = [svg.getBoundingClientRect(), well.getBoundingClientRect()];
  const left = canvas.left - around.left + box[0] * canvas.width;
  const top = canvas.top - around.top + box[1] * canvas.height;
  naming.style.left = `${well.scrollLeft + limited(left, 4, Math.max(4, around.width - 214))}px`;
  naming.style.top = `${well.scrollTop + limited(top, 4, around.height - 44)}px`;
  naming.dataset.index = index;
  naming.value = phrase;
  naming.hidden = false;
  naming.focus({preventScroll: true});
  naming.select();
};
const nameDone = (keep) => {
  if (naming.hidden) return;
  naming.hidden = true;
  const index = Number(naming.dataset.index);
  const one = edits.doc.boxes[index];
  if (keep && one && one.phrase !== naming.value.trim()) edits.set(withBox(index, {phrase: naming.value.trim()}));
};
naming.addEventListener('blur', () => nameDone(true));
naming.addEventListener('keydown', (event) => {
  event.stopPropagation();
  if (event.key !== 'Enter' && event.key !== 'Escape') return;
  event.preventDefault();
  nameDone(event.key === 'Enter');
  choose(Number(naming.dataset.index));
});

// ------------------------------------------------------------------ keyboard

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
svg.addEventListener('focusin', (event) => {
  const group = event.target.closest('.box');
  if (group && !drag && chosen !== Number(group.dataset.index)) { chosen = Number(group.dataset.index); draw(); }
});
const arrow = (event, [x, y]) => change(({box}) => {
  const step = NUDGE * (event.altKey ? 0.2 : 1);
  if (!event.shiftKey) return {box: movedBox(box, x * step, y * step)};
  return {box: proper([box[0], box[1], Math.max(box[0] + TINY, box[2] + x * step), Math.max(box[1] + TINY, box[3] + y * step)])};
});
svg.addEventListener('keydown', (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (ARROWS[event.key] && !command) arrow(event, ARROWS[event.key]);
  else if (event.key === 'Delete' || event.key === 'Backspace') remove();
  else if (command && event.key.toLowerCase() === 'd') duplicate();
  else if (event.key === 'Enter' && !command && chosen >= 0) nameBox(chosen);
  else return;
  event.preventDefault();
});
