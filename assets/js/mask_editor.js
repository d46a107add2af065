// The mask editor: pointers and buttons over the painting of mask_paint.js.
const pictures = window.easelPictures;
const inpaint = window.easelInpaint;
const MAX_ZOOM = 16;
const SAVE_MS = 300;
const UNSAVED = 'easel-unsaved-mask';
const SHAPES_DIFFER = 0.03;
const well = element.querySelector('.mask-well');
const frame = element.querySelector('.mask-frame');
const stack = element.querySelector('.mask-stack');
const photo = element.querySelector('.photo');
const canvas = element.querySelector('canvas.mask-paint');
const effect = element.querySelector('canvas.mask-effect');
const outline = element.querySelector('svg path');
const brush = element.querySelector('.brush');
const named = (name) => element.querySelector(`[name="${name}"]`);

let tool = 'brush';
let drawn = null;    // {id, mark, painted}: the mark that a pointer draws
let shown = '';      // id of the photo that is shown
let saved = null;    // id of the mask as it was stored or loaded last
let saving = Promise.resolve();
let isDirty = false;
let isStored = true; // also what is on its way to the server is not
let due = false;

const paint = maskPainter(canvas);
const effectLater = () => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; if (canvas.width > 1) paintEffect(effect, canvas, inpaint.state.options); });
};
const changed = (doc) => { paint.show(doc); refresh(); effectLater(); };
const edits = history(emptyMask(1, 1), changed);
const add = (mark) => { edits.set({...edits.doc, marks: [...edits.doc.marks, mark]}); wasEdited(); };

// ------------------------------------------------------------------ storing

const FULL = 'All of the photo is masked: nothing of it will stay.';
const tellOfCover = (cover) => {
  if (cover === 'all' && !inpaint.state.options.invert) say(FULL);
  else if (element.querySelector('.editor-line').textContent === FULL) say('');
};
const store = async () => {
  while (isDirty) {
    isDirty = false;
    const cover = maskCover(canvas);
    tellOfCover(cover);
    const id = cover === 'nothing' ? null : await pictures.store(await pictures.png(maskPicture(canvas)));
    if (!isDirty) { saved = id; isStored = true; inpaint.masked(id); }
  }
};
const save = () => {
  saving = saving.catch(() => {}).then(store).catch((error) => {
    isDirty = true;
    say(error.message, true);
    throw error;
  });
  return saving;
};
const saveLater = pictures.debounced(SAVE_MS, () => save().catch(() => {}));
const wasEdited = () => { isDirty = true; isStored = false; saveLater(); };
inpaint.flushBy(save);

// Who leaves the page in that moment finds the mask again: this browser tab keeps it until it is back.
addEventListener('pagehide', () => {
  if (isStored || !shown) return;
  const png = maskCover(canvas) === 'nothing' ? '' : maskPicture(canvas).toDataURL();
  try { sessionStorage.setItem(UNSAVED, JSON.stringify({photo: shown, png})); } catch { /* full */ }
});
// What was not stored of photo `id`, as a stored mask: null where nothing was masked, undefined where all was stored.
const unsaved = async (id) => {
  const kept = JSON.parse(sessionStorage.getItem(UNSAVED));
  if (kept?.photo !== id) return undefined;
  const mask = kept.png ? await pictures.store(await (await fetch(kept.png)).blob()) : null;
  sessionStorage.removeItem(UNSAVED);
  return mask;
};

// ------------------------------------------------------------------ view

const sides = () => ({left: 0, top: 0, right: 0, bottom: 0, ...inpaint.state.options.outpaint});
const fit = () => {
  const {width, height} = edits.doc;
  const {left, top, right, bottom} = sides();
  const [across, down] = [width + left + right, height + top + bottom];
  const scale = Math.min(well.clientWidth / across, well.clientHeight / down) * view.zoom;
  const px = (length) => `${length * scale}px`;
  Object.assign(frame.style, {width: px(across), height: px(down)});
  Object.assign(stack.style, {left: px(left), top: px(top), width: px(width), height: px(height)});
};
const view = zoomable(well, stack, fit, MAX_ZOOM);

const isBrush = () => tool === 'brush' || tool === 'eraser';
const size = () => Math.max(1, Number(named('size').value) / 100 * Math.max(edits.doc.width, edits.doc.height));
const showBrush = (event) => {
  placeBrush(well, brush, event, size() * stack.getBoundingClientRect().width / edits.doc.width, !isBrush() || !shown);
};

// ------------------------------------------------------------------ marks under the pointer

const pointOf = (event) => {
  const box = stack.getBoundingClientRect();
  const round = (value) => Math.round(value * 10) / 10;
  return [round((event.clientX - box.left) * edits.doc.width / box.width),
    round((event.clientY - box.top) * edits.doc.height / box.height)];
};

const startMark = (event) => {
  const erase = tool === 'eraser' || (!isBrush() && event.altKey);
  return {kind: isBrush() ? 'stroke' : 'area', erase, ...(isBrush() ? {size: size()} : {}), points: pointOf(event)};
};

const extend = (event) => {
  const {mark} = drawn;
  const [x, y] = pointOf(event);
  if (tool === 'box') {
    const [left, top] = mark.points;
    mark.points = [left, top, x, top, x, y, left, y];
  } else if (Math.hypot(x - mark.points.at(-2), y - mark.points.at(-1)) >= 1) mark.points.push(x, y);
};

const showMark = () => {
  if (!drawn) { outline.setAttribute('d', ''); return; }
  const {mark} = drawn;
  if (mark.kind === 'area') {
    outline.setAttribute('d', `M${mark.points.join(' ')}Z`);
    return;
  }
  paint.live(mark, drawn.painted);
  drawn.painted = mark.points.length / 2;
};

const finishMark = () => {
  const {mark} = drawn;
  drawn = null;
  showMark();
  if (mark.kind === 'area' && mark.points.length < 6) return;
  if (mark.kind === 'stroke') paint.finish(mark);
  add(mark);
};
const giveUp = () => {
  drawn = null;
  paint.forget();
  changed(edits.doc);
  showMark();
};

// ------------------------------------------------------------------ pointers: one paints, two fingers move the view

let panned = null; // the last place of a pointer that drags the view

well.addEventListener('pointerdown', (event) => {
  if (!shown || event.target.closest('.hint')) return;
  if (event.button === 1) panned = event;
  if (event.button > 1) return;
  event.preventDefault();
  canvas.focus({preventScroll: true});
  well.setPointerCapture(event.pointerId);
  if (view.takes(event)) { if (drawn) giveUp(); return; }
  if (drawn || panned) return;
  say('');
  if (tool === 'object') { chooseObject(event); return; }
  drawn = {id: event.pointerId, mark: startMark(event), painted: 0};
  showMark();
});

well.addEventListener('pointermove', (event) => {
  showBrush(event);
  if (panned?.pointerId === event.pointerId) {
    well.scrollBy(panned.clientX - event.clientX, panned.clientY - event.clientY);
    panned = event;
  }
  view.moved(event);
  if (drawn?.id !== event.pointerId) return;
  const steps = event.getCoalescedEvents?.() ?? [];
  (steps.length ? steps : [event]).forEach(extend);
  showMark();
});

const lift = (event) => {
  view.lifted(event);
  if (panned?.pointerId === event.pointerId) panned = null;
  if (drawn?.id === event.pointerId) finishMark();
};
well.addEventListener('pointerup', lift);
well.addEventListener('pointercancel', lift);
well.addEventListener('pointerleave', () => { brush.style.display = 'none'; });

// ------------------------------------------------------------------ tools

const choose = (name) => { tool = name; well.dataset.tool = name; refresh(); };
const resize = (by) => { named('size').value = Number(named('size').value) * by; };
const KEYS = {
  b: () => choose('brush'), e: () => choose('eraser'), r: () => choose('box'), l: () => choose('lasso'),
  '[': () => resize(0.8), ']': () => resize(1.25),
};
canvas.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

const step = (move) => { if (!drawn) { move(); wasEdited(); } };
const clear = () => { edits.set({...edits.doc, marks: []}); wasEdited(); };
const download = async () => pictures.download(await pictures.png(maskPicture(canvas)), 'mask.png');
historyKeys({undo: () => step(edits.undo), redo: () => step(edits.redo)}, {
  ...Object.fromEntries(['brush', 'eraser', 'box', 'lasso', 'object'].map((name) => [name, () => choose(name)])),
  clear,
  invert: () => add({kind: 'invert'}),
  nearer: () => view.by(1.5),
  farther: () => view.by(1 / 1.5),
  save: download,
  last: () => trigger('last', {}),
  example: () => trigger('example', {}),
});

const refresh = () => {
  element.querySelectorAll('.pens [data-do]').forEach((button) => {
    button.setAttribute('aria-pressed', String(button.dataset.do === tool));
  });
  enable('undo', edits.canUndo);
  enable('redo', edits.canRedo);
  enable('clear', edits.doc.marks.length > 0);
  ['invert', 'save', 'nearer', 'farther'].forEach((name) => enable(name, Boolean(shown)));
  element.querySelector('.hint').hidden = Boolean(shown);
  frame.hidden = !shown;
  well.classList.toggle('inverted', Boolean(inpaint.state.options.invert));
};

// ------------------------------------------------------------------ an object, found by its colour in a map of what is where

let segments = {photo: '', pixels: null};
const segmented = async () => {
  if (segments.photo === shown) return segments.pixels;
  say('Looking for objects …');
  const id = await makeMap(shown, {kind: 'segmentation'});
  const map = pictures.canvas(edits.doc.width, edits.doc.height);
  const pen = map.getContext('2d', {willReadFrequently: true});
  pen.imageSmoothingEnabled = false;
  pen.drawImage(await pictures.image(id), 0, 0, map.width, map.height);
  segments = {photo: shown, pixels: pen.getImageData(0, 0, map.width, map.height)};
  say('');
  return segments.pixels;
};
const chooseObject = (event) => attempt(async () => {
  const [x, y] = pointOf(event).map(Math.floor);
  if (x < 0 || y < 0 || x >= edits.doc.width || y >= edits.doc.height) return;
  add({kind: 'region', canvas: regionAt(await segmented(), x, y)});
});

// ------------------------------------------------------------------ photo and mask of the request

const fitsPhoto = (image, {width, height}) =>
  Math.abs(image.naturalWidth / image.naturalHeight / (width / height) - 1) <= SHAPES_DIFFER;

const withMask = async (doc, id) => {
  if (!id) return {...doc, marks: []};
  if (!fitsPhoto(await pictures.image(id), doc)) {
    throw new Error('The mask is not shaped like this photo, so it was taken away.');
  }
  const loaded = {...doc, marks: [{kind: 'picture', id}]};
  await paint.load(loaded);
  return loaded;
};

const openPhoto = async (id, mask) => {
  shown = id;
  segments = {photo: '', pixels: null};
  view.zoom = 1;
  if (!id) { edits.start(emptyMask(1, 1)); return; }
  const image = await pictures.image(id);
  if (shown !== id) return;
  photo.src = image.src;
  const blank = emptyMask(image.naturalWidth, image.naturalHeight);
  outline.ownerSVGElement.setAttribute('viewBox', `0 0 ${blank.width} ${blank.height}`);
  edits.start(blank);
  fit();
  const left = await unsaved(id);
  if (left !== undefined) inpaint.masked(left);
  if (left ?? mask) await openMask(left ?? mask);
};
const openMask = async (id) => {
  saved = id;
  try {
    edits.set(await withMask(edits.doc, id));
  } catch (error) {
    saved = null;
    inpaint.masked(null);
    throw error;
  }
};

let following = Promise.resolve();
const follow = () => {
  fit();
  effectLater();
  refresh();
  following = following.then(() => {
    const {photo: id, mask} = inpaint.state;
    const isNew = id !== shown;
    // What was said stays where nothing is opened: storing a mask comes by here, too.
    if (!isNew && (mask === saved || isDirty || !id)) return null;
    if (isNew) saved = mask;
    return attempt(() => (isNew ? openPhoto(id, mask) : openMask(mask)));
  });
};

const takeMask = async (file) => {
  if (!shown) throw new Error('There is no photo yet. Choose one first, then its mask.');
  const id = await pictures.store(file);
  const image = await pictures.image(id);
  if (!fitsPhoto(image, edits.doc)) {
    const [own, wanted] = [`${image.naturalWidth} × ${image.naturalHeight}`, `${edits.doc.width} × ${edits.doc.height}`];
    throw new Error(`The mask has ${own} px, the photo ${wanted} px. Choose a mask of the photo's shape.`);
  }
  const doc = {...edits.doc, marks: [{kind: 'picture', id}]};
  await paint.load(doc);
  edits.set(doc);
  wasEdited();
  if (maskCover(canvas) === 'nothing') {
    throw new Error('Nothing is light in this mask, so nothing is masked. What is white in it is painted anew.');
  }
};
const takePhoto = async (file) => trigger('photo', {id: await pictures.store(file)});
pictures.welcome(element, (file, name) => attempt(() => (name === 'mask' ? takeMask(file) : takePhoto(file))));
pictures.pasted(() => element.offsetParent, (file) => attempt(() => takePhoto(file)));

const told = () => { element.querySelector('[data-do=object]').hidden = !props.value?.objects; };
watch('value', told);
told();
choose('brush');
new ResizeObserver(fit).observe(well);
inpaint.listen(follow);
