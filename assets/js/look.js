// The pictures of an image prompt: a list of ids.
const pictures = window.easelPictures;
const STORE = 'easel-look';
const MAX_PICTURES = 16;
const list = element.querySelector('.pictures');
let ids = [];

const show = () => {
  list.replaceChildren(...ids.map((id, index) => {
    const item = document.createElement('li');
    const image = Object.assign(new Image(), {src: pictures.url(id), alt: `Picture ${index + 1}`});
    const button = Object.assign(document.createElement('button'), {type: 'button', className: 'act icon', textContent: '×'});
    button.dataset.do = 'remove';
    button.dataset.at = index;
    button.setAttribute('aria-label', `Take picture ${index + 1} away`);
    item.append(image, button);
    return item;
  }));
  element.querySelector('.hint').hidden = ids.length > 0;
  enable('clear', ids.length > 0);
};
const set = (next) => {
  if (next.length > MAX_PICTURES) say(`An image prompt takes at most ${MAX_PICTURES} pictures.`, true);
  ids = [...new Set(next)].slice(0, MAX_PICTURES);
  pictures.keep(STORE, ids);
  show();
};

historyKeys({undo() {}, redo() {}}, {
  clear: () => set([]),
  remove: (button) => set(ids.filter((_, index) => index !== Number(button.dataset.at))),
});
const take = (file) => attempt(async () => {
  const id = await pictures.store(file);
  set([...ids, id]);
});
pictures.welcome(element, take);
pictures.pasted(() => element.offsetParent, take);

const told = () => {
  const {open, example} = props.value || {};
  if (open) set(open);
  else if (example && !ids.length && !pictures.kept(STORE)) set([example]);
};
watch('value', told);

window.easelEditors = {...window.easelEditors, look: async () => {
  if (!ids.length) throw new Error('There is no picture yet. Add one to the stage.');
  return {images: ids};
}};

const stored = pictures.kept(STORE);
if (Array.isArray(stored)) set(stored.filter((id) => typeof id === 'string')); else show();
told();
