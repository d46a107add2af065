// The view of all networks: a dialogue that is searched, filtered and added from right here (see stack.js).
const stack = window.easelStack;
const dialog = document.createElement('dialog');
dialog.className = 'panel';
dialog.setAttribute('aria-label', 'Add to the stack');
(document.querySelector('.gradio-container .contain') || document.body).append(dialog);
dialog.append(element);

let kind = '';
const all = (selector) => [...element.querySelectorAll(selector)];
const words = () => (element.querySelector('input[type="search"]')?.value || '').toLowerCase().split(/\s+/);
const fits = (card) => (!kind || card.dataset.kind === kind)
  && words().every((word) => card.dataset.search.includes(word));

const filter = () => {
  const cards = all('.network');
  cards.forEach((card) => { card.hidden = !fits(card); });
  all('[data-do="kind"]').forEach((chip) => chip.setAttribute('aria-pressed', String(chip.dataset.kind === kind)));
  const none = element.querySelector('.none');
  if (none) none.hidden = cards.some((card) => !card.hidden);
};

// Which of them the stack holds already.
const compare = () => all('[data-do="add"]').forEach((button) => {
  const {model} = JSON.parse(button.dataset.entry);
  const held = stack.read(button.dataset.path).some((entry) => entry.model === model);
  const badge = button.parentElement.querySelector('.in-stack');
  if (badge) badge.hidden = !held;
});

const say = (sentence) => {
  const said = element.querySelector('.said');
  if (said) said.textContent = sentence;
};
const place = {prompt: 'the prompt', negative_prompt: 'the negative prompt'};
const write = (word, where) => say(stack.say(word, where)
  ? `“${word}” is in ${place[where]}.` : `“${word}” stood in ${place[where]} already.`);

const ACTIONS = {
  close: () => dialog.close(),
  kind: (source) => { kind = source.dataset.kind; filter(); },
  word: (source) => write(source.dataset.word, 'prompt'),
  say: (source) => write(source.dataset.word, source.dataset.where),
  add: (source) => {
    stack.add(source.dataset.path, JSON.parse(source.dataset.entry));
    say(`${source.closest('.network').dataset.name} was added.`);
    compare();
  },
};

element.addEventListener('click', (event) => {
  const source = event.target.closest('[data-do]');
  if (source) ACTIONS[source.dataset.do]?.(source);
  else if (event.target.closest('[data-action="suggest"]')) say('Its settings are in the form.');
});
element.addEventListener('input', filter);
dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener('close', () => document.querySelector('[data-home]')?.focus());

const settle = () => { filter(); compare(); };
watch('value', () => {
  settle();
  if (dialog.open && !element.contains(document.activeElement)) element.querySelector('input')?.focus();
});

window.easelNetworks = {
  open: () => {
    if (dialog.open) return;
    say('');
    dialog.showModal();
    settle();
    element.querySelector('input[type="search"]')?.focus();
  },
};
