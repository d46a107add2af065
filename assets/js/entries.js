// One list of cards (see stack.js): sliders, switches, order, details.
const stack = window.easelStack;
const pathOf = () => element.querySelector('.entries').dataset.path;
const cards = () => [...element.querySelectorAll('.entry')];
const indexOf = (target) => cards().indexOf(target.closest('.entry'));
const fields = (card, name) => [...card.querySelectorAll(`[data-field="${name}"]`)];

// ------------------------------------------------------------------ values

const scale = (input) => Number(input.dataset.scale || 1);
const rounded = (number) => Number(number.toFixed(4));

// What an input means in the entry; undefined where it means nothing yet (a half-typed number).
const meaning = (input) => {
  if (input.type === 'checkbox') return input.checked;
  if (input.tagName === 'SELECT') return input.value;
  if (input.value.trim() === '') return 'optional' in input.dataset ? null : undefined;
  const number = Number(input.value);
  const inside = number >= Number(input.min) && number <= Number(input.max);
  return input.type === 'range' || inside ? rounded(number / scale(input)) : undefined;
};

const show = (input, value) => {
  if (input.type === 'checkbox') input.checked = value === true;
  else if (value === null) input.value = '';
  else input.value = typeof value === 'number' ? rounded(value * scale(input)) : value;
};

// How far a slider is along: its track is coloured up to there.
const along = (input) => {
  const share = (input.value - input.min) / (input.max - input.min);
  input.style.setProperty('--at', `${Math.min(100, Math.max(0, 100 * share))}%`);
};

// The inputs that stand for the same value, each with it; the one that is being typed into is left alone.
const together = (card, name, value, except) =>
  fields(card, name).forEach((input) => {
    if (input !== except) show(input, value);
    if (input.type === 'range') along(input);
  });

// After a drawing, the cards hold what the text says; a value that it leaves out is the drawn one.
const settle = (card, entry) => card.querySelectorAll('[data-field]').forEach((input) => {
  if (input === document.activeElement && input.type === 'number') return;
  if (input.type === 'range') queueMicrotask(() => along(input));
  const held = stack.value(entry, input.dataset.field);
  if (held !== undefined) show(input, held);
  else if (input.type === 'checkbox') input.checked = input.hasAttribute('checked');
  else if (input.tagName === 'SELECT') input.value = input.dataset.usual;
  else input.value = input.getAttribute('value');
});

// ------------------------------------------------------------------ looks that follow the values

const usual = (entry, name, value) => [undefined, null, value].includes(stack.value(entry, name));
const fitsTag = (entry) => ['down', 'mid', 'up'].every((block) => usual(entry, `blocks.${block}`, 1))
  && usual(entry, 'start', 0) && usual(entry, 'end', 1);

const tagOf = (card, entry) => {
  const {tag, name} = card.dataset;
  const weight = entry.weight ?? 1;
  const text = entry.text_encoder_weight ?? weight;
  return `<${tag}:${name}:${text === weight ? weight : `${text}:${weight}`}>`;
};

const dress = (card, entry, open) => {
  card.classList.toggle('off', entry.enabled === false);
  const toggle = card.querySelector('[data-do="open"]');
  toggle?.setAttribute('aria-expanded', String(open));
  const details = card.querySelector('.entry-details');
  if (details) details.hidden = !open;
  const tag = card.querySelector('[data-do="tag"]');
  if (tag) {
    tag.disabled = !fitsTag(entry);
    tag.title = fitsTag(entry) ? 'Write it into the prompt instead'
      : 'A prompt tag has no room for block weights and a range of steps';
  }
};

const dressAll = () => {
  const path = element.querySelector('.entries')?.dataset.path;
  if (!path) return;
  const own = stack.list(path);
  const entries = stack.read(path);
  cards().forEach((card, index) => {
    if (!entries[index]) return;
    settle(card, entries[index]);
    dress(card, entries[index], Boolean(own.open[index]));
  });
  if (!own.focus) return;
  const target = element.querySelector(own.focus) || document.querySelector('[data-home]');
  (target?.disabled ? target.closest('.entry')?.querySelector('[data-do="open"]') : target)?.focus();
  own.focus = '';
};

// ------------------------------------------------------------------ what a person does

const heard = (event) => {
  const input = event.target.closest('[data-field]');
  if (!input) return;
  const card = input.closest('.entry');
  const name = input.dataset.field;
  const value = meaning(input);
  if (value === undefined) return;
  together(card, name, value, input);
  // A slider is dragged through many values; the one where it is let go counts.
  if (input.type === 'range' && event.type === 'input') return;
  stack.edit(pathOf(), indexOf(card), name, value);
  dress(card, stack.read(pathOf())[indexOf(card)], !card.querySelector('.entry-details')?.hidden);
};

// What was typed and means nothing gives way to what holds.
const left = (event) => {
  const input = event.target.closest('input[type="number"][data-field]');
  if (!input || meaning(input) !== undefined) return;
  const number = Number(input.value);
  if (input.value.trim() === '' || Number.isNaN(number)) {
    const held = stack.value(stack.read(pathOf())[indexOf(input)], input.dataset.field);
    show(input, held === undefined ? Number(input.getAttribute('value')) / scale(input) : held);
    return;
  }
  input.value = Math.min(Number(input.max), Math.max(Number(input.min), number));
  heard({target: input, type: 'change'});
};

const at = (index, action) => `.entry:nth-child(${index + 1}) [data-do="${action}"]`;
const ACTIONS = {
  open: (path, index, card) => {
    const own = stack.list(path);
    own.open[index] = !own.open[index];
    dress(card, stack.read(path)[index], own.open[index]);
  },
  up: (path, index) => stack.move(path, index, index - 1, at(index - 1, 'up')),
  down: (path, index) => stack.move(path, index, index + 1, at(index + 1, 'down')),
  copy: (path, index) => stack.rearrange(
    path, (all) => all.splice(index + 1, 0, structuredClone(all[index])), at(index + 1, 'copy')),
  remove: (path, index) => stack.rearrange(
    path, (all) => all.splice(index, 1), at(Math.max(0, Math.min(index, cards().length - 2)), 'remove')),
  tag: (path, index, card) => {
    stack.say(tagOf(card, stack.read(path)[index]), 'prompt', ' ');
    ACTIONS.remove(path, index);
  },
  word: (path, index, card, source) => stack.say(source.dataset.word),
};

element.addEventListener('input', heard);
element.addEventListener('change', (event) => { heard(event); left(event); });
element.addEventListener('click', (event) => {
  const source = event.target.closest('[data-do]');
  if (!source || source.disabled) return;
  const card = source.closest('.entry');
  ACTIONS[source.dataset.do]?.(pathOf(), indexOf(card), card, source);
});
element.addEventListener('keydown', (event) => {
  const by = {ArrowUp: -1, ArrowDown: 1}[event.key];
  const card = event.target.closest('.entry');
  if (!event.altKey || !by || !card) return;
  event.preventDefault();
  const index = indexOf(card);
  const held = event.target.dataset;
  const same = held.do ? `[data-do="${held.do}"]` : held.field ? `[data-field="${held.field}"]` : '[data-do="open"]';
  stack.move(pathOf(), index, index + by, `.entry:nth-child(${index + by + 1}) ${same}`);
});
watch('value', dressAll);
dressAll();
