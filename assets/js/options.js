// Which preprocessor is chosen, and its options.
// Whoever shows maps hears of each change as 'easel-preprocessor'.
const pictures = window.easelPictures;
const STORE = 'easel-preprocessor';
const kinds = element.querySelector('[name=kind]');
const sets = [...element.querySelectorAll('fieldset')];
const chosenSet = () => sets.find((set) => set.dataset.kind === kinds.value);
const inputsOf = (set) => [...set.querySelectorAll('[name]:not([type=file])')];

// A number that is half typed or out of bounds means the usual one.
const valueOf = (input) => {
  if (input.type === 'checkbox') return input.checked;
  if (input.type === 'hidden') return input.value || null;
  if (input.type !== 'number') return input.value;
  return Number(input.value !== '' && input.checkValidity() ? input.value : input.dataset.default);
};
const chosen = () => ({
  kind: kinds.value,
  ...Object.fromEntries(inputsOf(chosenSet()).map((input) => [input.name, valueOf(input)])),
});

const show = () => {
  sets.forEach((set) => { set.hidden = set.dataset.kind !== kinds.value; });
  element.querySelectorAll('[data-for]').forEach((range) => {
    range.value = range.parentElement.querySelector('[type=number]').value;
  });
};
const tell = () => {
  show();
  pictures.keep(STORE, chosen());
  document.dispatchEvent(new CustomEvent('easel-preprocessor'));
};
const put = (options) => {
  if (!sets.some((set) => set.dataset.kind === options?.kind)) return;
  kinds.value = options.kind;
  inputsOf(chosenSet()).forEach((input) => {
    const value = options[input.name];
    if (value === undefined) return;
    if (input.type === 'checkbox') input.checked = value === true;
    else input.value = value ?? '';
  });
  show();
};
const tellKind = () => trigger('kind', {kind: kinds.value});

element.addEventListener('input', (event) => {
  if (event.target.type === 'file') return;
  if (event.target.dataset.for) event.target.parentElement.querySelector('[type=number]').value = event.target.value;
  tell();
  if (event.target === kinds) tellKind();
});
pictures.welcome(element, async (file, name) => {
  const hidden = chosenSet().querySelector(`[type=hidden][name="${name}"]`);
  if (!hidden) return;
  hidden.value = await pictures.store(file).catch(() => '');
  tell();
});

// The nets that are installed, to choose from; what is here needs no download.
const offer = (nets) => {
  const fitting = (node) => nets.filter((net) => node.dataset.layouts.split(' ').includes(net.layout));
  element.querySelectorAll('select[data-layouts]').forEach((select) => {
    const held = select.value;
    select.replaceChildren(select.options[0], ...fitting(select).map((net) => new Option(net.name, net.id)));
    select.value = fitting(select).some((net) => net.id === held) ? held : '';
  });
  element.querySelectorAll('.download').forEach((note) => { note.hidden = fitting(note).length > 0; });
};

const told = () => {
  const {nets, open} = props.value || {};
  if (nets) offer(nets);
  if (!open) return;
  put(open);
  tell();
  tellKind();
};
watch('value', told);

window.easelPreprocessor = chosen;
put(pictures.kept(STORE) || {kind: kinds.value});
told();
