// The boxes editor's buttons and files, and what the rest of the page tells the editor or wants of it.
const lookAt = (under) => {
  if (under === 'photo' && !edits.doc.photo) { named('photo').click(); return; }
  view.under = under;
  saveLater();
  draw();
};
const close = (button) => button.closest('details')?.removeAttribute('open');

historyKeys(edits, {
  add, snap: () => { view.snap = !view.snap; draw(); },
  show: () => { view.boxes = !view.boxes; draw(); },
  nearer: () => zoom.by(1.5),
  farther: () => zoom.by(1 / 1.5),
  under: (button) => lookAt(button.dataset.under),
  choose: (button) => choose(indexOf(button)),
  duplicate: (button) => duplicate(indexOf(button)),
  remove: (button) => remove(indexOf(button)),
  earlier: (button) => reorder(indexOf(button), indexOf(button) - 1),
  later: (button) => reorder(indexOf(button), indexOf(button) + 1),
  unlook: (button) => edits.set(withBox(indexOf(button), {image: null})),
  clear: () => { edits.set(touched({...edits.doc, boxes: []})); chosen = -1; draw(); },
  preset: (button) => { lay(FACTS.presets[button.dataset.at].boxes, edits.doc.boxes); close(button); },
  recall: (button) => { lay(keptLayouts()[button.dataset.at].boxes); close(button); },
  forget: (button) => { pictures.keep(LAYOUTS, keptLayouts().filter((_, index) => index !== Number(button.dataset.at))); drawLayouts(); },
  keep: keepLayout,
  export: () => pictures.download(new Blob([layoutText(edits.doc.boxes, shape())], {type: 'application/json'}), 'layout.json'),
  unphoto: () => { view.under = 'blank'; edits.set({...edits.doc, photo: null, inside: false}); },
  adopt: () => attempt(async () => takePhoto(await pictures.store(await (await fetch(result.src)).blob()))),
  models: () => trigger('models', {}),
  unstart,
});

const measure = async () => {
  if (!edits.doc.photo) { photoSize = null; return; }
  const {naturalWidth: width, naturalHeight: height} = await pictures.image(edits.doc.photo);
  photoSize = {width, height};
};
const takePhoto = async (id) => {
  const {naturalWidth: width, naturalHeight: height} = await pictures.image(id);
  photoSize = {width, height};
  view.under = 'photo';
  edits.set({...edits.doc, photo: id});
  trigger('shape', {width, height});
};
pictures.welcome(element, (file, name) => attempt(async () => {
  if (file.type === 'application/json' || file.name.endsWith('.json')) lay(readLayout(await file.text()));
  else if (name === 'look') change(await pictures.store(file).then((image) => () => ({image})));
  else await takePhoto(await pictures.store(file));
}));
pictures.pasted(() => element.offsetParent, (file) => attempt(async () => takePhoto(await pictures.store(file))));

// ------------------------------------------------------------------ the page

// All that Generate needs is in the form. An empty prompt becomes the phrases.
const settle = async () => {
  naming.blur();
  if (edits.doc.example) edits.set(touched(edits.doc));
  const phrases = edits.doc.boxes.map(({phrase}) => phrase.trim()).filter(Boolean);
  const typed = document.querySelector('#boxes-prompt textarea').value.trim();
  page.write('prompt', typed || (edits.doc.on ? phrases.join(' and ') : ''));
  page.write('boxes', textOf(edits.doc));
  rememberPhrases();
  const isDone = await attempt(async () => { await writeMask(); return true; });
  if (isDone) lookAt('result');
  return isDone;
};

const isDoc = (doc) => Array.isArray(doc?.boxes) && doc.boxes.length <= FACTS.most
  && doc.boxes.every(({box, phrase}) => isNumbers(box, 4) && typeof phrase === 'string');
const start = () => {
  const stored = pictures.kept(STORE);
  if (!isDoc(stored)) return;
  const {under = 'blank', ...doc} = stored;
  view.under = under;
  edits.start({...exampleDoc(), ...doc, boxes: withKeys(doc.boxes)});
  if (doc.inside) masked = 'before';
  measure().then(draw, () => edits.start({...edits.doc, photo: null, inside: false}));
};
const begin = () => {
  if (!window.easelRestored) { setTimeout(begin, 100); return; }
  live = true;
  adopt(page.read('boxes'));
  heardMask();
  drawStart();
};

start();
drawLayouts();
watch('value', () => drawModels(props.value || {}));
page.attach({
  text: (text) => adopt(text ?? ''),
  start: () => setTimeout(() => { heardMask(); drawStart(); }, 60),
  frame: (width, height) => { if (width > 0 && height > 0) { frame = {width, height}; draw(); } },
  result: (given) => {
    result = given;
    draw();
  },
  settle,
});
drawModels(props.value || {});
new ResizeObserver(draw).observe(svg);
draw();
begin();
