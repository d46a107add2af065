// A photo and its map. The map is made by a job of the queue; of several wishes only the newest counts.
const pictures = window.easelPictures;
const STORE = 'easel-map';
const WAIT_MS = 300;
const named = (name) => element.querySelector(`[name="${name}"]`);
const well = element.querySelector('.map-well');

let state = {photo: null, fade: 1, ...pictures.kept(STORE)};
let map = null;      // id of the map that is shown
let wish = 0;        // number of the newest wish
let making = null;   // promise of the newest map
let failure = null;  // why there is none
const made = new Map();

const visible = () => element.offsetParent !== null;
const preprocessor = () => window.easelPreprocessor();

// ------------------------------------------------------------------ making the map

const mapOf = async (photo, options, mine) => {
  const key = JSON.stringify([photo, options]);
  if (made.has(key)) return made.get(key);
  const id = await makeMap(photo, options, () => mine === wish);
  if (id) made.set(key, id);
  return id;
};

const make = async () => {
  const mine = ++wish;
  const {photo} = state;
  if (!photo) return;
  element.classList.add('working');
  try {
    const id = await mapOf(photo, preprocessor(), mine);
    if (mine !== wish) return;
    map = id;
    say('');
  } catch (error) {
    if (mine === wish) { map = null; failure = error; say(error.message, true); }
  } finally {
    if (mine === wish) { element.classList.remove('working'); show(); }
  }
};
let timer = null;
const makeNow = () => { clearTimeout(timer); making = make(); return making; };
const makeLater = () => { clearTimeout(timer); timer = setTimeout(makeNow, WAIT_MS); };
const wanted = () => { wish++; map = null; making = null; if (visible()) makeLater(); };

// ------------------------------------------------------------------ showing

const source = (image, id) => {
  const address = id ? pictures.url(id) : '';
  if (image.getAttribute('src') !== address) image.setAttribute('src', address);
  image.hidden = !id;
};
const show = () => {
  element.querySelectorAll('img.photo').forEach((image) => source(image, state.photo));
  const shown = element.querySelector('.map');
  if (map || !state.photo) source(shown, map);
  shown.style.opacity = state.fade;
  element.querySelector('.hint').hidden = !!state.photo;
  well.classList.toggle('empty-well', !state.photo);
  ['draw', 'save'].forEach((name) => enable(name, !!state.photo));
  named('fade').value = state.fade;
};
const set = (change) => {
  const photo = state.photo;
  state = {...state, ...change};
  pictures.keep(STORE, state);
  if (state.photo !== photo) wanted();
  show();
};

// ------------------------------------------------------------------ what can be done with it

const currentMap = async () => {
  if (!state.photo) throw new Error('There is no photo yet. Drop one on the stage.');
  while (!map) {
    const newest = making || makeNow();
    await newest;
    if (!map && newest === making) {
      making = null; // so that the next wish tries again
      throw failure;
    }
  }
  return map;
};
const mapFile = async () => fetch(pictures.url(await currentMap())).then((reply) => reply.blob());

historyKeys({undo() {}, redo() {}}, {
  draw: () => attempt(async () => trigger('draw', {id: await currentMap(), photo: state.photo})),
  save: () => attempt(async () => pictures.download(await mapFile(), 'map.png')),
});
named('fade').addEventListener('input', (event) => set({fade: Number(event.target.value)}));

const take = (file) => attempt(async () => set({photo: await pictures.store(file)}));
pictures.welcome(element, take);
pictures.pasted(visible, take);
document.addEventListener('easel-preprocessor', wanted);

// ------------------------------------------------------------------ the page

// What is shown first comes when the tab has been opened; who adds at once waits for it.
let hasOpened = null;
const opened = new Promise((resolve) => { hasOpened = resolve; });

const told = () => {
  const {open: id, example} = props.value || {};
  if (id) { set({photo: id}); wanted(); }
  else if (example && !state.photo) set({photo: example});
  if (state.photo) hasOpened();
};
watch('value', told);

window.easelEditors = {...window.easelEditors, photo: async () => {
  if (!state.photo) await opened;
  return {image: state.photo, preprocessor: preprocessor()};
}};

new ResizeObserver(() => { if (visible() && state.photo && !map && !making) makeLater(); }).observe(well);
show();
told();
