// The keyboard on the wall: arrows walk, Enter opens, Space selects, Delete deletes, Escape closes.
const columns = () => getComputedStyle(wall).gridTemplateColumns.split(' ').length;

const target = (key) => {
  const all = cards();
  const at = all.indexOf(current);
  const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -at, End: all.length - 1 - at};
  return key in steps ? all[at + steps[key]] || (at < 0 ? all[0] : null) : undefined;
};

// With the details open they follow, once the arrows rest.
let following = null;
const follow = (card) => {
  clearTimeout(following);
  if (details()) following = setTimeout(() => open(card), 120);
};

const go = (card) => {
  card.querySelector('.open').focus();
  card.scrollIntoView({block: 'nearest'});
  follow(card);
};

element.addEventListener('keydown', (event) => {
  const card = event.target.closest('.card');
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
  const next = target(event.key);
  if (next !== undefined) {
    event.preventDefault();
    if (next) go(next);
  } else if (event.key === 'Delete') {
    trigger('delete', {ids: marks().length ? marks() : [card.dataset.image]});
  } else if (event.key === ' ' && event.target.matches('.open')) {
    event.preventDefault();
    card.querySelector('.mark input').click();
  }
});

document.addEventListener('keydown', (event) => {
  const elsewhere = !element.offsetParent || document.fullscreenElement || document.querySelector('dialog[open]');
  if (event.key !== 'Escape' || elsewhere || event.target.getAttribute?.('aria-expanded') === 'true') return;
  if (details()) document.querySelector('#details [data-action=close]').click();
  else if (marks().length) window.easelUnmark();
});

document.addEventListener('click', (event) => {
  if (event.target.closest('#details [data-action=close]')) {
    closed();
    current?.querySelector('.open').focus({preventScroll: true});
  }
  const step = event.target.closest('#details [data-step]');
  if (!step) return;
  const all = cards();
  const next = all[all.findIndex((card) => card.hasAttribute('aria-current')) + Number(step.dataset.step)];
  next?.scrollIntoView({block: 'nearest'});
  open(next);
});
