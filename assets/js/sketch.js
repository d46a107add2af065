// The sketch editor: pointers and buttons over the painting of sketch_paint.js.
const pictures = window.easelPictures;
const STORE = 'easel-sketch';
const NOTE = 'easel-sketch';
const MAX_LAYERS = 8;
const MAX_ZOOM = 8;
const well = element.querySelector('.sketch-well');
const canvas = element.querySelector('canvas');
const brush = element.querySelector('.brush');
const named = (name) => element.querySelector(`[name="${name}"]`);

let tool = 'pen';
let colour = '#000000';
let stroke = null; // the one being drawn
let due = false;

const paint = painter(() => repaint());
const repaint = () => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; paint.compose(canvas, edits.doc, true); });
};
const saveLater = pictures.debounced(300, () => pictures.keep(STORE, edits.doc));
const edits = history(emptyDrawing({width: 768, height: 768}), () => { fit(); refresh(); repaint(); saveLater(); });
const withLayer = (index, change) => ({
  ...edits.doc, layers: edits.doc.layers.map((layer, at) => (at === index ? {...layer, ...change(layer)} : layer)),
});
const activeLayer = () => edits.doc.layers[edits.doc.active];

// ------------------------------------------------------------------ view

const fit = () => {
  const {width, height} = edits.doc;
  const scale = Math.min(well.clientWidth / width, well.clientHeight / height) * view.zoom;
  canvas.style.width = `${width * scale}px`;
  canvas.style.height = `${height * scale}px`;
};
const view = zoomable(well, canvas, fit, MAX_ZOOM);

const size = () => Number(named('size').value);
const showBrush = (event) => {
  placeBrush(well, brush, event, size() * canvas.getBoundingClientRect().width / edits.doc.width, false);
};

// ------------------------------------------------------------------ pointers: one draws, two fingers move the view

const round = (value) => Math.round(value * 10) / 10;
const pressure = (event) => (event.pointerType === 'pen' ? Math.max(0.15, Math.round(event.pressure * 100) / 100) : 1);

const addPoint = (event) => {
  const box = canvas.getBoundingClientRect();
  const x = round((event.clientX - box.left) * edits.doc.width / box.width);
  const y = round((event.clientY - box.top) * edits.doc.height / box.height);
  const [lastX, lastY] = stroke.points.slice(-3);
  if (stroke.points.length && Math.hypot(x - lastX, y - lastY) < 1) return;
  stroke.points.push(x, y, pressure(event));
  paint.live(activeLayer(), edits.doc, stroke);
};

const giveUp = () => {
  stroke = null;
  paint.forget(activeLayer());
  repaint();
};

canvas.addEventListener('pointerdown', (event) => {
  if (event.button) return;
  event.preventDefault();
  canvas.focus({preventScroll: true});
  canvas.setPointerCapture(event.pointerId);
  if (view.takes(event)) { if (stroke) giveUp(); return; }
  if (stroke) return;
  if (!activeLayer().shown) { say('This layer is hidden. Show it, or choose another one.', true); return; }
  say('');
  stroke = {id: event.pointerId, mark: {colour, size: size(), erase: tool === 'eraser', points: []}};
  Object.assign(stroke, stroke.mark);
  addPoint(event);
  repaint();
});

canvas.addEventListener('pointermove', (event) => {
  showBrush(event);
  view.moved(event);
  if (stroke?.id !== event.pointerId) return;
  const steps = event.getCoalescedEvents?.() ?? [];
  (steps.length ? steps : [event]).forEach(addPoint);
  repaint();
});

const lift = (event) => {
  view.lifted(event);
  if (stroke?.id !== event.pointerId) return;
  const {mark} = stroke;
  stroke = null;
  paint.finish(activeLayer(), edits.doc, mark);
  edits.set(withLayer(edits.doc.active, ({marks}) => ({marks: [...marks, mark]})));
};
canvas.addEventListener('pointerup', lift);
canvas.addEventListener('pointercancel', lift);
canvas.addEventListener('pointerleave', () => { brush.style.display = 'none'; });

// ------------------------------------------------------------------ tools

const choose = (name) => { tool = name; refresh(); };
const ink = (value) => { colour = value; named('colour').value = value; choose('pen'); };
const resize = (by) => { named('size').value = size() * by + Math.sign(by - 1); };

canvas.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const does = {b: () => choose('pen'), e: () => choose('eraser'), '[': () => resize(0.8), ']': () => resize(1.25)}[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});

const addLayer = () => {
  const {doc} = edits;
  if (doc.layers.length >= MAX_LAYERS) { say(`A drawing has at most ${MAX_LAYERS} layers.`, true); return; }
  const key = 1 + Math.max(...doc.layers.map((layer) => layer.key));
  const layers = [...doc.layers, {key, name: `Layer ${key}`, shown: true, marks: []}];
  edits.set({...doc, layers, active: layers.length - 1});
};
const removeLayer = () => {
  const {doc} = edits;
  const layers = doc.layers.filter((_, index) => index !== doc.active);
  edits.set({...doc, layers, active: Math.max(0, doc.active - 1)});
};
const clear = () => edits.set({...edits.doc, layers: edits.doc.layers.map((layer) => ({...layer, marks: []}))});
const flip = () => edits.set(mirroredDrawing(edits.doc));

const flattened = () => asMap(paint.compose(pictures.canvas(1, 1), edits.doc, false), edits.doc);

historyKeys(edits, {
  pen: () => choose('pen'),
  eraser: () => choose('eraser'),
  ink: (button) => ink(button.dataset.colour),
  clear,
  mirror: flip,
  'layer-add': addLayer,
  'layer-remove': removeLayer,
  layer: (button) => edits.drag({...edits.doc, active: Number(button.dataset.layer)}),
  shown: (button) => edits.set(withLayer(Number(button.dataset.layer), (layer) => ({shown: !layer.shown}))),
  nearer: () => view.by(1.5),
  farther: () => view.by(1 / 1.5),
  unphoto: () => edits.set({...edits.doc, photo: null}),
  save: () => pictures.png(flattened()).then((png) => pictures.download(png, 'sketch.png')),
});
element.addEventListener('input', (event) => {
  const {name, value} = event.target;
  if (name === 'colour') ink(value);
  if (name === 'paper' || name === 'map') edits.set({...edits.doc, [name]: value});
  if (name === 'opacity') edits.drag({...edits.doc, photo: {...edits.doc.photo, opacity: Number(value)}});
});

// ------------------------------------------------------------------ what the buttons show

const layerRow = ({name, shown}, index, active) => {
  const row = document.createElement('li');
  const button = (action, label, pressed) => {
    const made = document.createElement('button');
    Object.assign(made, {type: 'button', className: 'act', textContent: label});
    Object.assign(made.dataset, {do: action, layer: index});
    made.setAttribute('aria-pressed', String(pressed));
    row.append(made);
    return made;
  };
  button('layer', name, index === active);
  button('shown', shown ? 'Shown' : 'Hidden', shown).setAttribute('aria-label', `Show ${name}`);
  return row;
};

const refresh = () => {
  const {doc} = edits;
  enable('undo', edits.canUndo);
  enable('redo', edits.canRedo);
  enable('clear', doc.layers.some((layer) => layer.marks.length));
  enable('layer-remove', doc.layers.length > 1);
  element.querySelectorAll('[data-do=pen], [data-do=eraser]').forEach((button) => {
    button.setAttribute('aria-pressed', String(button.dataset.do === tool));
  });
  element.querySelectorAll('[data-do=ink]').forEach((button) => {
    button.setAttribute('aria-pressed', String(tool === 'pen' && button.dataset.colour === colour));
  });
  element.querySelector('.layers').replaceChildren(...doc.layers.map((layer, at) => layerRow(layer, at, doc.active)));
  element.querySelector('.when-photo').hidden = !doc.photo;
  element.querySelector('.hint').hidden = hasInk(doc) || !!doc.photo;
  named('opacity').value = doc.photo?.opacity ?? 0.5;
  named('paper').value = doc.paper;
  named('map').value = doc.map;
};

// ------------------------------------------------------------------ photo, page

const ofPicture = async (id) => {
  const image = await pictures.image(id);
  return canvasSize(image.naturalWidth, image.naturalHeight);
};
const beneath = (id) => attempt(async () => {
  const frame = await ofPicture(id);
  edits.set({...resizedDrawing(edits.doc, frame), photo: {id, opacity: 0.5, mirrored: false}});
});
pictures.welcome(element, (file) => attempt(async () => beneath(await pictures.store(file))));

// A drawing of ours opens as it was, any other map as the first layer, to be drawn over.
const open = async (id) => {
  const known = await pictures.note(id, NOTE);
  if (isDrawing(known)) { edits.set(known); return; }
  const usual = emptyDrawing(await ofPicture(id));
  const [first] = usual.layers;
  edits.set({...usual, paper: 'black', active: 1, layers: [
    {...first, name: 'Map', marks: [{id, mirrored: false}]},
    {key: 2, name: 'Layer 2', shown: true, marks: []},
  ]});
  ink('#ffffff');
};

const told = () => {
  const {open: id, frame} = props.value || {};
  if (id) attempt(() => open(id));
  else if (frame && !edits.canUndo && !hasInk(edits.doc)) edits.start({...edits.doc, ...canvasSize(...frame)});
};
watch('value', told);

window.easelEditors = {...window.easelEditors, sketch: async () => {
  if (!hasInk(edits.doc)) throw new Error('The canvas is empty. Draw something first.');
  return {image: await pictures.store(await pictures.png(flattened(), NOTE, edits.doc))};
}};

const stored = pictures.kept(STORE);
edits.start(isDrawing(stored) ? stored : edits.doc);
new ResizeObserver(fit).observe(well);
told();
