// The library's wall: tiles as Python tells of them, more as a person scrolls, and always where that person was.
const wall = element.querySelector('.wall');
const empty = element.querySelector('.wall-empty');
const end = element.querySelector('.wall-end');
const cards = () => [...wall.children];
const cardOf = (id) => cards().find((card) => card.dataset.image === id);
const markup = new WeakMap();
let total = 0;
let current = null;

// ---------------------------------------------------------------- tiles

// One stop of the Tab key for the whole wall: the card that was used last; arrows lead to the others.
const reachable = (card, on) => card.querySelectorAll('button, input').forEach((one) => { one.tabIndex = on ? 0 : -1; });

const makeCurrent = (card) => {
  if (current && current !== card) reachable(current, false);
  current = card || null;
  if (current) reachable(current, true);
};

const built = ([id, html]) => {
  const template = document.createElement('template');
  template.innerHTML = html;
  const card = template.content.firstElementChild;
  markup.set(card, html);
  reachable(card, false);
  return card;
};

// A card that is there already stays the element that it is: its picture, its mark and the focus with it.
const fill = (start, tiles) => {
  const before = start ? cards() : [];
  const taken = new Set(before.map((card) => card.dataset.image));
  const known = new Map(cards().map((card) => [card.dataset.image, card]));
  const next = tiles.filter(([id]) => !taken.has(id)).map(([id, html]) => {
    const card = known.get(id);
    return card && markup.get(card) === html ? card : built([id, html]);
  });
  const staying = new Set([...before, ...next]);
  cards().filter((card) => !staying.has(card)).forEach((card) => card.remove());
  let at = wall.children[before.length] || null;
  next.forEach((card) => {
    if (card === at) at = at.nextElementSibling;
    else wall.insertBefore(card, at);
  });
};

const change = ([id, html]) => {
  const old = cardOf(id);
  if (!old) return;
  const card = built([id, html]);
  card.querySelector('.mark input').checked = old.querySelector('.mark input').checked;
  old.getAttributeNames().forEach((name) => { if (name === 'aria-current') card.setAttribute(name, 'true'); });
  const focused = old.contains(document.activeElement) && document.activeElement.className;
  old.replaceWith(card);
  if (old === current) makeCurrent(card);
  if (focused) [...card.querySelectorAll('button, input')].find((one) => one.className === focused)?.focus();
};

// Who stood on a card that goes stands on its successor.
const keepingFocus = (work) => {
  const index = cards().indexOf(current);
  const focused = current?.contains(document.activeElement);
  work();
  if (current?.isConnected) return;
  makeCurrent(cards()[Math.min(Math.max(index, 0), cards().length - 1)]);
  if (focused) current?.querySelector('.open').focus({preventScroll: true});
};

watch('value', () => {
  const told = props.value;
  if (!told) return;
  const marked = marks().join();
  if (told.changed) { change(told.changed); return; }
  total = told.total;
  keepingFocus(() => {
    if (told.gone) told.gone.forEach((id) => cardOf(id)?.remove());
    else fill(told.start, told.tiles);
  });
  empty.innerHTML = told.empty;
  if (marks().join() !== marked) tell();
  seek();
});

// ---------------------------------------------------------------- more of them

const BUSY_MS = 5000;
let askedFor = -1;
let askedAt = 0;

const near = new IntersectionObserver((entries) => {
  const count = wall.children.length;
  const busy = askedFor === count && Date.now() - askedAt < BUSY_MS;
  if (!entries.some((entry) => entry.isIntersecting) || busy || !count || count >= total) return;
  askedFor = count;
  askedAt = Date.now();
  trigger('more');
}, {rootMargin: '800px'});

// Looks anew: what was added may not have filled the window.
const seek = () => { near.unobserve(end); near.observe(end); };
near.observe(end);

// ---------------------------------------------------------------- where a person was

let place = 0;
// The wall is narrower beside the details. The card that was at this height stays at this height.
let held = null;
const hold = (card) => { if (card) held = {card, top: card.getBoundingClientRect().top}; };

addEventListener('scroll', () => {
  if (!element.offsetParent) return;
  place = scrollY;
  hold(held?.card);
}, {passive: true});

let width = 0;
new ResizeObserver(() => {
  const was = width;
  width = wall.clientWidth;
  if (!width || width === was) return;
  const moved = held?.card.isConnected ? held.card.getBoundingClientRect().top - held.top : 0;
  held = null;
  if (was) scrollBy(0, moved);
  else scrollTo(0, place); // the tab is shown again
}).observe(wall);

// ---------------------------------------------------------------- the details of one

const details = () => document.querySelector('#details .details[data-image]');

const open = (card) => {
  if (!card) return;
  cards().forEach((one) => one.toggleAttribute('aria-current', false));
  card.setAttribute('aria-current', 'true');
  makeCurrent(card);
  hold(card);
  window.easelOpened = card.dataset.image;
  trigger('open');
};

const closed = () => {
  const card = cards().find((one) => one.hasAttribute('aria-current'));
  hold(card || current);
  card?.removeAttribute('aria-current');
};

element.addEventListener('click', (event) => {
  const card = event.target.closest('.card');
  const action = event.target.closest('[data-action]')?.dataset;
  if (!card) return;
  makeCurrent(card);
  if (action?.action === 'open') open(card);
  else if (action?.action === 'favourite') trigger('favourite', {id: action.id});
});
element.addEventListener('focusin', (event) => makeCurrent(event.target.closest('.card') || current));
