// What is painted anew: photo, mask and options, as the request's own fields hold them. The editor and the
// options both change it here and hear of what else did: a picture that was restored, a mask taken away.
window.easelInpaint = (() => {
  const STORE = 'easel-inpaint';
  const LOOK_MS = 30; // until Gradio has written into the page what it has just heard
  const pictures = window.easelPictures;
  const box = (path) => document.querySelector(`#field-${path} textarea, #field-${path} input`);
  const listeners = [];
  let said = '';
  let flush = async () => {};
  const state = {photo: '', mask: null, options: pictures.kept(STORE) || {}};

  const isOutpainted = () => Object.values(state.options.outpaint || {}).some((length) => length > 0);
  const text = () => (state.mask || isOutpainted()
    ? JSON.stringify({...state.options, ...(state.mask ? {mask: state.mask} : {})}) : '');
  const tell = () => listeners.forEach((listener) => listener(state));
  const tab = () => document.getElementById('inpaint');

  const write = () => {
    said = text();
    const input = box('inpaint');
    if (input.value !== said) {
      input.value = said;
      input.dispatchEvent(new Event('input', {bubbles: true}));
    }
  };
  const parsed = (given) => { try { return JSON.parse(given) || {}; } catch { return {}; } };

  const look = () => {
    const [given, photo] = [box('inpaint')?.value ?? '', box('source-image')?.value ?? ''];
    if (given === said && photo === state.photo) return;
    if (given !== said) {
      const {mask = null, ...options} = parsed(given);
      state.mask = mask;
      state.options = given ? options : {...state.options, outpaint: {}};
      pictures.keep(STORE, state.options);
    }
    said = given;
    state.photo = photo;
    tell();
  };

  return {
    state,
    hear() { setTimeout(look, LOOK_MS); },
    listen(listener) { listeners.push(listener); listener(state); },
    masked(id) { state.mask = id; write(); tell(); },
    option(name, value) {
      state.options = {...state.options, [name]: value};
      pictures.keep(STORE, state.options);
      write();
      tell();
    },
    // What suits a photo that was just opened. It is written with the mask, once there is one.
    suggest(options) {
      state.options = {...state.options, ...options};
      pictures.keep(STORE, state.options);
      tell();
    },
    // The editor says how to store what has been painted last.
    flushBy(work) { flush = work; },
    // The values of the form with the mask, which is at `index`, as it is on the canvas now.
    async submitted(values, index) {
      const isStored = await flush().then(() => true, () => false);
      const held = isStored ? box('inpaint').value : 'The mask could not be stored.';
      return values.map((value, at) => (at === index ? held : value));
    },
    show(view) { if (tab()) tab().dataset.view = view; },
    get view() { return tab()?.dataset.view || 'mask'; },
  };
})();
