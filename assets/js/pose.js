// The skeleton editor: pointers, keys and buttons.
// A document is {width, height, people, photo: {id, opacity} or null}; px of its canvas.
const pictures = window.easelPictures;
const STORE = 'easel-pose';
const NOTE = 'openpose';
const MAX_ZOOM = 8;
const svg = element.querySelector('svg');
const well = element.querySelector('.pose-well');
const layer = (name) => svg.querySelector(`.${name}`);

let chosen = 0;   // index of the person that the buttons mean
let shape = '';   // what the SVG was built for; while it stays, nodes are only moved
let drag = null;
let finder = null;  // the preprocessor that finds people

const usualDoc = (size = {width: 512, height: 512}) => ({
  ...size, people: [presetPerson(Object.values(FACTS.presets)[0], size, size.width / 2)], photo: null,
});
const saveLater = pictures.debounced(300, () => pictures.keep(STORE, edits.doc));
const edits = history(usualDoc(), () => { draw(); saveLater(); });
const withPerson = (index, person) => ({
  ...edits.doc, people: edits.doc.people.map((old, at) => (at === index ? person : old)),
});
const change = (make) => {
  if (edits.doc.people[chosen]) edits.set(withPerson(chosen, make(edits.doc.people[chosen])));
};

// ------------------------------------------------------------------ drawing

// Document px per px of the screen, so that joints are as large for a finger on every screen and zoom.
const grain = () => {
  const {width, height} = svg.getBoundingClientRect();
  return width ? Math.max(edits.doc.width / width, edits.doc.height / height) : 1;
};

const draw = () => {
  const {doc} = edits;
  chosen = Math.max(0, Math.min(chosen, doc.people.length - 1));
  svg.setAttribute('viewBox', `0 0 ${doc.width} ${doc.height}`);
  svg.style.aspectRatio = `${doc.width} / ${doc.height}`;
  svg.style.setProperty('--ratio', doc.width / doc.height);
  svg.style.setProperty('--zoom', view.zoom);
  if (shape !== String(doc.people.length)) {
    shape = String(doc.people.length);
    buildPeople(layer('people'), doc.people.length);
  }
  const unit = grain();
  doc.people.forEach((person, index) => {
    const group = layer('people').children[index];
    group.classList.toggle('chosen', index === chosen);
    placePerson(group, person, unit);
  });
  drawBox(doc, unit);
  drawPhoto(doc);
  refresh(doc);
};

const view = zoomable(well, svg, () => draw(), MAX_ZOOM);

const drawBox = (doc, unit) => {
  const frame = layer('frame');
  frame.style.display = doc.people.length ? '' : 'none';
  if (!doc.people.length) return;
  const {x0, y0, x1, y1} = boxOf(doc.people[chosen]);
  const gap = 18 * unit;
  const box = {x: x0 - gap, y: y0 - gap, width: x1 - x0 + 2 * gap, height: y1 - y0 + 2 * gap};
  const rect = frame.querySelector('rect');
  Object.entries(box).forEach(([key, value]) => rect.setAttribute(key, value));
  rect.setAttribute('stroke-width', 1.5 * unit);
  const grip = layer('grip');
  grip.setAttribute('cx', Math.min(box.x + box.width, doc.width - 8 * unit));
  grip.setAttribute('cy', Math.min(box.y + box.height, doc.height - 8 * unit));
  grip.setAttribute('r', 8 * unit);
};

const drawPhoto = ({photo, width, height}) => {
  const image = layer('photo');
  image.style.display = photo ? '' : 'none';
  if (!photo) return;
  const address = pictures.url(photo.id);
  if (image.getAttribute('href') !== address) image.setAttribute('href', address);
  image.setAttribute('width', width);
  image.setAttribute('height', height);
  image.style.opacity = photo.opacity;
};

const refresh = (doc) => {
  const person = doc.people[chosen];
  enable('undo', edits.canUndo);
  enable('redo', edits.canRedo);
  ['mirror', 'larger', 'smaller', 'remove'].forEach((name) => enable(name, !!person));
  element.querySelector('.when-photo').hidden = !doc.photo;
  element.querySelector('[name=opacity]').value = doc.photo?.opacity ?? 0.6;
  element.querySelectorAll('.joints input[data-joint]').forEach((box) => {
    box.checked = !!person && seen(person[box.dataset.joint]);
    box.disabled = !person;
  });
  element.querySelectorAll('.joints input[data-part]').forEach((box) => {
    const part = PARTS[box.dataset.part];
    box.checked = !!person && isShown(person, part);
    box.disabled = !person || !isKnown(person, part);
  });
};

// ------------------------------------------------------------------ pointer

const spot = (event) => {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [at.x, at.y];
};
const within = ([x, y]) => [
  Math.min(edits.doc.width, Math.max(0, x)), Math.min(edits.doc.height, Math.max(0, y)),
];

// What a pointer has taken hold of: points of a person, at the first of them or anywhere; null: all of it.
const heldBy = (target) => {
  const joint = target.closest('.joint');
  if (joint) return {points: withParts(Number(joint.dataset.joint)), exact: true};
  const part = target.closest('.part');
  if (!part) return null;
  const point = part.classList.contains('open') && target.closest('.point');
  return point ? {points: [Number(point.dataset.point)], exact: true} : {points: between(PARTS[part.dataset.part])};
};

svg.addEventListener('pointerdown', (event) => {
  if (event.button) return;
  if (view.takes(event)) {
    if (drag) { drag = null; edits.cancel(); }
    return;
  }
  if (drag) return;
  const from = spot(event);
  const group = event.target.closest('.person');
  if (group) chosen = Number(group.dataset.person);
  const person = edits.doc.people[chosen];
  if (!person || !(group || event.target.closest('.frame'))) return;
  event.preventDefault();
  const grip = event.target === layer('grip');
  drag = {id: event.pointerId, from, person, held: heldBy(event.target), grip};
  event.target.closest('.joint, .part')?.focus({preventScroll: true});
  svg.setPointerCapture(event.pointerId);
  edits.begin();
  draw();
});

const dragged = ({from, person, held, grip}, to) => {
  if (held) {
    const [x, y] = held.exact ? within(to) : to;
    const [ox, oy] = held.exact ? person[held.points[0]] : from;
    return movedPoints(person, held.points, x - ox, y - oy);
  }
  if (!grip) return moved(person, to[0] - from[0], to[1] - from[1]);
  const {x0, y0} = boxOf(person);
  const reach = (point) => Math.hypot(point[0] - x0, point[1] - y0);
  return scaled(person, Math.max(0.1, reach(to) / Math.max(1, reach(from))), x0, y0);
};

svg.addEventListener('pointermove', (event) => {
  view.moved(event);
  if (drag?.id === event.pointerId) edits.drag(withPerson(chosen, dragged(drag, spot(event))));
});
const drop = (event) => {
  view.lifted(event);
  if (drag?.id !== event.pointerId) return;
  drag = null;
  edits.end();
};
svg.addEventListener('pointerup', drop);
svg.addEventListener('pointercancel', drop);

// ------------------------------------------------------------------ keyboard

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

svg.addEventListener('focusin', (event) => {
  const group = event.target.closest('.person');
  if (group && chosen !== Number(group.dataset.person)) { chosen = Number(group.dataset.person); draw(); }
});
const STEP_PX = 4;
const SIZES = {'+': 1.1, '=': 1.1, '-': 1 / 1.1};

const stepped = (person, points, key, far) => {
  const [dx, dy] = ARROWS[key].map((part) => part * STEP_PX * (far ? 4 : 1));
  const [x, y] = person[points[0]];
  const [tx, ty] = points.length > 1 && points[0] >= JOINTS ? [x + dx, y + dy] : within([x + dx, y + dy]);
  return movedPoints(person, points, tx - x, ty - y);
};
const sized = (person, part, factor) => {
  const [x, y] = person[part.bones ? part.from : part.joint];
  const larger = scaled(person, factor, x, y);
  return person.map((point, index) => (index >= part.from && index < part.to ? larger[index] : point));
};
const hidden = (person, joint) => person.map((point, index) => (index === joint ? [point[0], point[1], 0] : point));

svg.addEventListener('keydown', (event) => {
  const joint = event.target.closest('.joint');
  const part = event.target.closest('.part') && PARTS[event.target.closest('.part').dataset.part];
  if (!joint && !part) return;
  const at = Number(joint?.dataset.joint);
  if (ARROWS[event.key] && event.altKey) {
    const [dx, dy] = ARROWS[event.key].map((way) => way * STEP_PX * (event.shiftKey ? 4 : 1));
    change((person) => moved(person, dx, dy));
  } else if (ARROWS[event.key]) {
    change((person) => stepped(person, part ? between(part) : withParts(at), event.key, event.shiftKey));
  } else if (part && SIZES[event.key] && !event.ctrlKey && !event.metaKey) {
    change((person) => sized(person, part, SIZES[event.key]));
  } else if (event.key === 'Delete' || event.key === 'Backspace') {
    change((person) => (part ? showPart(person, part, false) : hidden(person, at)));
  } else return;
  event.preventDefault();
});

// ------------------------------------------------------------------ buttons

const centred = (factor) => change((person) => {
  const {x0, y0, x1, y1} = boxOf(person);
  return scaled(person, factor, (x0 + x1) / 2, (y0 + y1) / 2);
});

const add = () => {
  const {doc} = edits;
  const points = FACTS.presets[element.querySelector('[name=preset]').value];
  const step = Math.ceil(doc.people.length / 2) * (doc.people.length % 2 ? 1 : -1);
  const person = presetPerson(points, doc, doc.width * Math.min(0.85, Math.max(0.15, 0.5 + 0.24 * step)));
  chosen = doc.people.length;
  edits.set({...doc, people: [...doc.people, person]});
};

const resized = (doc, {width, height}) => ({
  ...doc, width, height,
  people: doc.people.map((person) => mapPoints(person, (x, y) => [x * width / doc.width, y * height / doc.height])),
});

const exportJson = () => pictures.download(
  new Blob([JSON.stringify(toOpenPose(edits.doc), null, 1)], {type: 'application/json'}), 'pose.json');

historyKeys(edits, {
  add,
  mirror: () => change(mirroredPerson),
  larger: () => centred(1.1),
  smaller: () => centred(1 / 1.1),
  remove: () => edits.set({...edits.doc, people: edits.doc.people.filter((_, index) => index !== chosen)}),
  nearer: () => view.by(1.5),
  farther: () => view.by(1 / 1.5),
  find: () => find(),
  unphoto: () => edits.set({...edits.doc, photo: null}),
  export: exportJson,
  save: () => pictures.png(drawPoseMap(edits.doc)).then((png) => pictures.download(png, 'pose.png')),
});

element.querySelector('.joints').addEventListener('change', ({target}) => {
  const at = Number(target.dataset.joint);
  change((person) => (target.dataset.part
    ? showPart(person, PARTS[target.dataset.part], target.checked)
    : person.map((point, index) => (index === at ? [...within(point), target.checked ? 1 : 0] : point))));
});
element.querySelector('[name=opacity]').addEventListener('input', (event) => {
  edits.drag({...edits.doc, photo: {...edits.doc.photo, opacity: Number(event.target.value)}});
});

const readJson = (file) => attempt(async () => {
  const given = await file.text().then(JSON.parse).catch(() => problem('This file is no JSON.'));
  edits.set({...edits.doc, ...fromOpenPose(given, edits.doc)});
});
const beneath = (id) => attempt(async () => {
  const image = await pictures.image(id);
  const size = canvasSize(image.naturalWidth, image.naturalHeight);
  edits.set({...resized(edits.doc, size), photo: {id, opacity: 0.6}});
});
pictures.welcome(element, (file, name) => (name === 'json' || file.type === 'application/json'
  ? readJson(file) : attempt(async () => beneath(await pictures.store(file)))));

// ------------------------------------------------------------------ from a photo

// Which preprocessor finds people is told by the page: one whose nets are installed.
const find = () => attempt(async () => {
  if (!finder) throw new Error('No net that finds people is installed. Choose OpenPose under Photo to get one.');
  const {photo} = edits.doc;
  say('Looking for people');
  const known = await pictures.note(await makeMap(photo.id, finder), NOTE);
  if (!known?.people.length) throw new Error('Nobody was found in this photo.');
  edits.set({...edits.doc, ...fromOpenPose(known, edits.doc)});
  say('');
});

// ------------------------------------------------------------------ the page

const open = async (id, photo) => {
  const known = await pictures.note(id, NOTE);
  if (known) {
    edits.set({...edits.doc, photo: photo ? {id: photo, opacity: 0.6} : null, ...fromOpenPose(known, edits.doc)});
    return;
  }
  await beneath(id);
  say('This picture does not say where its joints are. Move a person over it.');
};

// A pose that nobody has touched takes the shape of the picture to be made.
const told = () => {
  const {open: id, photo, frame, finder: known} = props.value || {};
  if (known !== undefined) finder = known;
  if (id) attempt(() => open(id, photo));
  else if (frame && !edits.canUndo && !pictures.kept(STORE)) edits.start(usualDoc(canvasSize(...frame)));
};
watch('value', told);

const isPose = (doc) => doc?.width > 0 && doc.height > 0 && Array.isArray(doc.people)
  && doc.people.every((person) => [JOINTS, POINTS].includes(person?.length) && person.flat().every(Number.isFinite));

window.easelEditors = {...window.easelEditors, pose: async () => {
  const {doc} = edits;
  const isThere = (person) => shownLimbs(person).length || PARTS.some((part) => isShown(person, part));
  if (!doc.people.some(isThere)) problem('There is no person in the pose. Add one.');
  return {image: await pictures.store(await pictures.png(drawPoseMap(doc), NOTE, toOpenPose(doc)))};
}};

const stored = pictures.kept(STORE);
edits.start(isPose(stored) ? {...stored, people: stored.people.map(whole)} : edits.doc);
new ResizeObserver(draw).observe(svg);
told();
