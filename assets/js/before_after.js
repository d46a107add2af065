// A slider between photo and result. A result that has just been asked for is shown at once.
const FRESH = 8; // where the line stands at first, in %: all that is new is seen, and the line to drag, too
let at = FRESH;
let job = null;

const place = () => {
  const section = element.querySelector('.before-after');
  const before = section?.querySelector('.before');
  const after = section?.querySelector('.after');
  if (!after || !before) return;
  section.style.setProperty('--at', `${at}%`);
  section.querySelector('[name=fade]').value = at;
  if (!after.naturalWidth || !before.naturalWidth) return;
  const compare = section.querySelector('.compare');
  compare.style.setProperty('--ratio', after.naturalWidth / after.naturalHeight);
  const [left, top, right, bottom] = section.dataset.sides.split(' ').map(Number);
  const [width, height] = [before.naturalWidth, before.naturalHeight];
  const [across, down] = [width + left + right, height + top + bottom];
  Object.assign(before.style, {
    left: `${100 * left / across}%`, top: `${100 * top / down}%`, width: `${100 * width / across}%`, height: `${100 * height / down}%`,
  });
};

const moveTo = (event) => {
  const box = element.querySelector('.compare').getBoundingClientRect();
  at = Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width));
  place();
};
element.addEventListener('pointerdown', (event) => {
  const compare = event.target.closest('.compare');
  if (!compare) return;
  event.preventDefault();
  compare.setPointerCapture(event.pointerId);
  moveTo(event);
});
element.addEventListener('pointermove', (event) => {
  if (event.target.closest('.compare')?.hasPointerCapture(event.pointerId)) moveTo(event);
});
element.addEventListener('input', (event) => { at = Number(event.target.value); place(); });
element.addEventListener('load', place, true);

const heard = () => {
  const section = element.querySelector('[data-job]');
  const newest = section?.dataset.job ?? '';
  // What comes while the page is loaded was asked for before: a person finds the view that the tab opens with.
  if (window.easelRestored && job !== null && newest && newest !== job) {
    at = FRESH;
    window.easelInpaint.show('result');
  }
  job = newest;
  place();
};
watch('value', heard);
heard();
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-back], [data-action=go_on]')) window.easelInpaint.show('mask');
});
