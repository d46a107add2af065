// The boxes editor: its document, and how it is drawn.
// A document is {boxes: [{key, box, phrase, colour, image}], share, strength, model, on, photo: id or null,
// inside, example}: what undo brings back. What is looked at is no part of it.
const pictures = window.easelPictures;
const page = window.easelBoxes;
const STORE = 'easel-boxes';
const MASKS = 'easel-box-masks';
const REACH_PX = 8;      // of the screen, within which an edge snaps
const CLICK_PX = 4;      // a pointer that moved less has clicked
const NUDGE = 0.01;
const HANDLES = ['nw', 'n', 'ne', 'e', 'se', 's', 'sw', 'w'];
const SVG = 'http://www.w3.org/2000/svg';
const svg = element.querySelector('svg');
const well = element.querySelector('.box-well');
const naming = element.querySelector('.box-name');
const layer = (name) => svg.querySelector(`.${name}`);
const named = (name) => element.querySelector(`[name="${name}"]`);
const node = (name, attributes, parent) => {
  const made = document.createElementNS(SVG, name);
  set(made, attributes);
  parent?.append(made);
  return made;
};
const set = (one, attributes) => Object.entries(attributes).forEach(([key, value]) => one.setAttribute(key, value));

let chosen = -1;
let drag = null;
let guides = [];
let live = false;                       // the form shows what the server said, so it may be written to
let frame = {width: 512, height: 512};  // px of the picture to be made
let photoSize = null;
let result = {src: '', image: '', live: false};
const view = {under: 'blank', boxes: true, snap: true};
// px of the screen; a finger covers more than a mouse points at
const GRIPS = {mouse: {reach: 14, dot: 10, small: 70}, finger: {reach: 22, dot: 14, small: 110}};
let grip = GRIPS.mouse;

let lastKey = 0;
const withKeys = (boxes) => boxes.map(({box, phrase, image = null, colour}, index) => ({
  key: ++lastKey, box: proper(box), phrase, image,
  colour: /^#[0-9a-f]{6}$/i.test(colour || '') ? colour : FACTS.colours[index % FACTS.colours.length],
}));
const exampleDoc = () => ({
  boxes: withKeys(FACTS.example), share: FACTS.share, strength: FACTS.strength, model: '',
  on: true, photo: null, inside: false, example: true,
});

const saveLater = pictures.debounced(200, () => pictures.keep(STORE, {...edits.doc, under: view.under}));
const edits = history(exampleDoc(), () => { draw(); saveLater(); write(); });
const touched = (doc) => ({...doc, example: false});
const withBox = (index, given) => touched({
  ...edits.doc, boxes: edits.doc.boxes.map((one, at) => (at === index ? {...one, ...given} : one)),
});
const change = (make) => { if (edits.doc.boxes[chosen]) edits.set(withBox(chosen, make(edits.doc.boxes[chosen]))); };

// ------------------------------------------------------------------ the request

const partOf = ({boxes, model, share, strength}) => ({
  boxes: boxes.map(({box: [x0, y0, x1, y1], phrase, image}) => ({
    box: {x0, y0, x1, y1}, ...(phrase ? {phrase} : {}), ...(image ? {image} : {}),
  })),
  ...(model ? {model} : {}), share, strength,
});
const textOf = (doc) => (doc.on && doc.boxes.length && !doc.example ? JSON.stringify(partOf(doc)) : '');

const docOf = (part) => ({
  boxes: part.boxes.map(({box: {x0, y0, x1, y1}, phrase = '', image = null}) => ({box: rounded([x0, y0, x1, y1]), phrase, image})),
  model: part.model || '', share: part.share ?? FACTS.share, strength: part.strength ?? FACTS.strength,
  on: part.enabled ?? true, example: false,
});
const parsed = (text) => { try { return text ? docOf(JSON.parse(text)) : null; } catch { return null; } };

const write = () => {
  if (!live || drag) return;
  page.write('boxes', textOf(edits.doc));
  maskLater();
};

// What else wrote the request: a picture that was restored, or boxes taken away in another tab.
const adopt = (text) => {
  if (!live) return;
  const {doc} = edits;
  const given = parsed(text);
  if (!given) {
    if (textOf(doc)) edits.set({...doc, on: false});
    return;
  }
  if (textOf(given) === textOf(doc)) return;
  const boxes = withKeys(given.boxes).map((one, at) => ({...one, colour: doc.boxes[at]?.colour || one.colour}));
  edits.set({...doc, ...given, boxes});
};

// ------------------------------------------------------------------ drawing

// px of the document: the photo's where it is painted on, else those of the picture to be made.
const shape = () => (edits.doc.inside && photoSize) || frame;
const grain = () => {
  const {width} = svg.getBoundingClientRect();
  return width ? shape().width / width : 1;
};
const at = ([x0, y0, x1, y1]) => {
  const {width, height} = shape();
  return {x: x0 * width, y: y0 * height, width: (x1 - x0) * width, height: (y1 - y0) * height};
};

const build = (boxes) => layer('all').replaceChildren(...boxes.map((_, index) => {
  const group = node('g', {class: 'box', tabindex: 0, role: 'button', 'data-index': index});
  ['area', 'plate'].forEach((name) => node('rect', {class: name}, group));
  node('text', {}, group);
  return group;
}));

const draw = () => {
  const {doc} = edits;
  if (chosen >= doc.boxes.length) chosen = doc.boxes.length - 1;
  const {width, height} = shape();
  set(svg, {viewBox: `0 0 ${width} ${height}`});
  svg.style.setProperty('--ratio', width / height);
  const keys = doc.boxes.map(({key}) => key).join();
  if (svg.dataset.keys !== keys) { svg.dataset.keys = keys; build(doc.boxes); }
  const unit = grain();
  doc.boxes.forEach((one, index) => placeBox(layer('all').children[index], one, index, unit));
  layer('all').style.display = layer('grips').style.display = view.boxes ? '' : 'none';
  drawGrips(doc.boxes[chosen], unit);
  drawGuides(unit);
  drawUnder(doc);
  drawList(doc);
  drawOptions(doc);
  drawChecks(doc);
  refresh(doc);
};

const placeBox = (group, {box, phrase, colour, image}, index, unit) => {
  const size = at(box);
  const [area, plate] = group.querySelectorAll('rect');
  const words = group.querySelector('text');
  group.classList.toggle('chosen', index === chosen);
  set(group, {'aria-label': `Box ${index + 1}: ${phrase || 'no phrase'}. Arrows move it, with Shift they resize it.`});
  set(area, {...size, fill: colour, stroke: colour, 'stroke-width': (index === chosen ? 3 : 2) * unit});
  const letters = Math.max(3, Math.floor((size.width / unit - 16) / 7.2));
  const label = phrase || (image ? 'picture' : `box ${index + 1}`);
  words.textContent = label.length > letters ? `${label.slice(0, letters - 1)}…` : label;
  set(words, {x: size.x + 8 * unit, y: size.y + 16 * unit, 'font-size': 13 * unit, class: phrase ? '' : 'unnamed'});
  const wide = Math.min(size.width, (words.textContent.length * 7.2 + 16) * unit);
  set(plate, {x: size.x, y: size.y, width: wide, height: Math.min(size.height, 22 * unit), fill: colour});
};

const drawGrips = (one, unit) => {
  const grips = layer('grips');
  if (!grips.children.length) {
    HANDLES.forEach((handle) => {
      const made = node('g', {class: `grip ${handle}`, 'data-handle': handle}, grips);
      node('circle', {class: 'reach'}, made);
      node('rect', {class: 'dot'}, made);
    });
  }
  const size = one && at(one.box);
  const side = one && Math.min(size.width, size.height) / unit;
  const small = side < grip.small;
  // Beside them there must be room to take hold of the box itself.
  const reach = Math.min(grip.reach, Math.max(10, side / 3)) * unit;
  const dot = grip.dot * unit;
  [...grips.children].forEach((handled) => {
    const {handle} = handled.dataset;
    handled.style.display = one && !(small && handle.length === 1) ? '' : 'none';
    if (!one) return;
    const x = size.x + size.width * (handle.includes('w') ? 0 : handle.includes('e') ? 1 : 0.5);
    const y = size.y + size.height * (handle.includes('n') ? 0 : handle.includes('s') ? 1 : 0.5);
    set(handled.firstChild, {cx: x, cy: y, r: reach});
    set(handled.lastChild, {x: x - dot / 2, y: y - dot / 2, width: dot, height: dot, rx: 2 * unit, 'stroke-width': 1.5 * unit});
  });
};

const drawGuides = (unit) => {
  const {width, height} = shape();
  layer('guides').replaceChildren(...guides.map(({axis, at: place}) => node('line', axis === 0
    ? {x1: place * width, x2: place * width, y1: 0, y2: height, 'stroke-width': 1.5 * unit}
    : {x1: 0, x2: width, y1: place * height, y2: place * height, 'stroke-width': 1.5 * unit})));
};

const underSource = (doc) => ({
  photo: doc.photo ? pictures.url(doc.photo) : '', result: result.src, blank: '',
}[view.under]);

const drawUnder = (doc) => {
  const image = layer('under');
  const source = underSource(doc);
  image.style.display = source ? '' : 'none';
  layer('thirds').style.display = source ? 'none' : '';
  if (source && image.getAttribute('href') !== source) set(image, {href: source});
};

const refresh = (doc) => {
  enable('undo', edits.canUndo);
  enable('redo', edits.canRedo);
  element.querySelectorAll('[data-under]').forEach((button) => {
    button.setAttribute('aria-pressed', String(button.dataset.under === view.under));
    if (button.dataset.under === 'result') button.disabled = !result.src;
  });
  element.querySelector('[data-do=show]').setAttribute('aria-pressed', String(view.boxes));
  element.querySelector('[data-do=snap]').setAttribute('aria-pressed', String(view.snap));
  element.querySelector('.when-photo').hidden = !(doc.photo && view.under === 'photo');
  element.querySelector('[data-do=adopt]').hidden = !(view.under === 'result' && result.image && !result.live);
  element.querySelector('.hint').hidden = doc.boxes.length > 0 || !!underSource(doc);
};

// ------------------------------------------------------------------ changes

const choose = (index, focus = true) => {
  chosen = index;
  draw();
  if (focus) layer('all').children[index]?.focus({preventScroll: true});
};
const isFull = () => {
  const full = edits.doc.boxes.length >= FACTS.most;
  if (full) say(`There are ${FACTS.most} boxes already, and GLIGEN knows no more. Take one away first.`, true);
  return full;
};
const freeColour = () => {
  const used = edits.doc.boxes.map(({colour}) => colour);
  return FACTS.colours.find((colour) => !used.includes(colour)) || FACTS.colours[used.length % FACTS.colours.length];
};
const withNew = (box, from = {}) => touched({...edits.doc, boxes: [...edits.doc.boxes, {
  phrase: '', image: null, colour: freeColour(), ...from, key: ++lastKey, box: proper(box),
}]});

const add = () => {
  if (isFull()) return;
  const step = 0.06 * (edits.doc.boxes.length % 6);
  edits.set(withNew([0.3 + step, 0.3 + step, 0.65 + step, 0.65 + step]));
  choose(edits.doc.boxes.length - 1);
};
const duplicate = (index = chosen) => {
  const one = edits.doc.boxes[index];
  if (!one || isFull()) return;
  const [x0, y0, x1, y1] = one.box;
  const box = movedBox(one.box, x1 < 0.96 ? 0.04 : -Math.min(0.04, x0), y1 < 0.96 ? 0.04 : -Math.min(0.04, y0));
  edits.set(withNew(box, {phrase: one.phrase, image: one.image}));
  choose(edits.doc.boxes.length - 1);
};
const remove = (index = chosen) => {
  if (!edits.doc.boxes[index]) return;
  edits.set(touched({...edits.doc, boxes: edits.doc.boxes.filter((_, other) => other !== index)}));
  choose(Math.min(index, edits.doc.boxes.length - 1));
};
const reorder = (from, to) => {
  const boxes = [...edits.doc.boxes];
  if (to < 0 || to >= boxes.length) return;
  boxes.splice(to, 0, ...boxes.splice(from, 1));
  chosen = to;
  edits.set(touched({...edits.doc, boxes}));
  listed.children[to].querySelector(`[data-do=${to < from ? 'earlier' : 'later'}]`)?.focus();
};

// Args: old: boxes whose phrases go to those of the layout that bring none of their own.
const lay = (boxes, old = []) => {
  const given = boxes.slice(0, FACTS.most).map((one, index) => ({
    ...one, phrase: one.phrase || old[index]?.phrase || '', image: null, colour: one.colour || old[index]?.colour,
  }));
  edits.set(touched({...edits.doc, boxes: withKeys(given), on: true}));
  chosen = -1;
  draw();
  say(boxes.length > FACTS.most
    ? `The file holds ${boxes.length} boxes, but GLIGEN knows ${FACTS.most}: the first ${FACTS.most} are here.` : '');
};
