// The options of inpainting, as they stand in the request. FACTS holds their usual values.
const inpaint = window.easelInpaint;
const FRAME_MS = 300;
const CHOSEN = 'easel-inpaint-area'; // that a person chose the area, so that no photo changes it any more
const {keep, kept} = window.easelPictures;
const sidesOf = (options) => ({...FACTS.outpaint, ...options.outpaint});
const number = (input) => Math.min(Number(input.max), Math.max(Number(input.min), Math.round(Number(input.value) || 0)));

const show = ({options}) => {
  const sides = sidesOf(options);
  element.querySelectorAll('[data-option]').forEach((input) => {
    const name = input.dataset.option;
    const value = options[name] ?? FACTS[name];
    if (input.type === 'checkbox') input.checked = value;
    else if (input !== document.activeElement || input.type === 'range') input.value = value;
  });
  element.querySelectorAll('[data-side]').forEach((input) => {
    if (input !== document.activeElement) input.value = sides[input.dataset.side];
  });
  const area = options.area ?? FACTS.area;
  element.querySelector('.when-masked').hidden = area !== 'only masked';
  document.getElementById('inpaint').dataset.area = area;
};

const frameLater = window.easelPictures.debounced(FRAME_MS, () => trigger('frame', {}));
element.addEventListener('input', ({target}) => {
  const {option, side} = target.dataset;
  if (side) {
    const sides = {...sidesOf(inpaint.state.options), [side]: number(target)};
    inpaint.option('outpaint', sides);
    frameLater();
  } else if (option) {
    const value = target.type === 'checkbox' ? target.checked : target.value;
    if (option === 'area') keep(CHOSEN, true);
    inpaint.option(option, ['number', 'range'].includes(target.type) ? number(target) : value);
  }
});
document.getElementById('inpaint').addEventListener('click', ({target}) => {
  if (target.closest('[data-keeps-size]')) inpaint.option('area', 'only masked');
});
watch('value', () => { if (props.value?.area && !kept(CHOSEN)) inpaint.suggest({area: props.value.area}); });
inpaint.listen(show);
