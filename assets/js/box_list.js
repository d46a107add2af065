// The list beside the boxes: phrases, colours, order, pictures; and the options of the whole layout.
const PHRASES = 'easel-phrases';
const REMEMBERED = 60;

const row = (index) => {
  const one = document.createElement('li');
  one.className = 'box-row';
  one.id = `field-boxes-boxes-${index}`;
  one.dataset.index = index;
  one.innerHTML = element.querySelector('template.box-row').innerHTML;
  one.querySelector('.number').textContent = index + 1;
  one.querySelectorAll('[aria-label]').forEach((part) => {
    part.setAttribute('aria-label', `${part.getAttribute('aria-label')} ${index + 1}`);
  });
  return one;
};

const setUnlessTyping = (input, value) => {
  if (input !== document.activeElement && input.value !== String(value)) input.value = value;
};

const drawList = (doc) => {
  const list = element.querySelector('.box-list');
  const keys = doc.boxes.map(({key}) => key).join();
  if (list.dataset.keys !== keys) {
    list.dataset.keys = keys;
    list.replaceChildren(...doc.boxes.map((_, index) => row(index)));
  }
  doc.boxes.forEach((box, index) => fillRow(list.children[index], box, index, doc.boxes.length));
  element.querySelector('.no-boxes').hidden = doc.boxes.length > 0;
};

const fillRow = (one, {phrase, colour, image}, index, count) => {
  const isChosen = index === chosen;
  one.classList.toggle('chosen', isChosen);
  one.querySelector('.row-more').hidden = !isChosen;
  setUnlessTyping(one.querySelector('[name=phrase]'), phrase);
  const swatch = one.querySelector('[name=colour]');
  swatch.value = colour;
  swatch.style.setProperty('--colour', colour);
  one.querySelector('[data-do=earlier]').disabled = index === 0;
  one.querySelector('[data-do=later]').disabled = index === count - 1;
  const look = one.querySelector('.look');
  look.hidden = !image;
  one.querySelector('[data-do=unlook]').hidden = !image;
  if (image && !look.src.endsWith(image)) look.src = pictures.url(image);
};

const drawOptions = (doc) => {
  ['share', 'strength'].forEach((name) => {
    const slider = named(name);
    setUnlessTyping(slider, doc[name]);
    element.querySelector(`output[for=${name}]`).textContent = name === 'share'
      ? `${Math.round(doc.share * 100)} %` : doc.strength.toFixed(2);
  });
  named('on').checked = doc.on;
  named('inside').checked = doc.inside;
  named('inside').disabled = !doc.photo;
  named('model').value = doc.model;
  element.querySelector('.boxes').classList.toggle('off', !doc.on);
};

const drawChecks = (doc) => {
  const sentences = doc.on ? checkedBoxes(doc.boxes) : [];
  const list = element.querySelector('.checks');
  const text = sentences.join('|');
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...sentences.slice(0, 4).map((sentence) => Object.assign(document.createElement('li'), {textContent: sentence})));
};

// GLIGEN models: those of other families are greyed, and where none fits, what to do.
const drawModels = ({models = [], missing = '', installable = true} = {}) => {
  const select = named('model');
  const option = (value, text, reason) => Object.assign(document.createElement('option'), {
    value, textContent: reason ? `${text}: ${reason}` : text, disabled: !!reason, title: reason || '',
  });
  select.replaceChildren(option('', 'The first that fits'), ...models.map(({id, name, reason}) => option(id, name, reason)));
  element.querySelector('.no-model').hidden = !missing;
  element.querySelector('.no-model span').textContent = missing;
  element.querySelector('.no-model [data-do=models]').hidden = !installable;
  select.value = edits.doc.model;
};

// ------------------------------------------------------------------ phrases

const rememberPhrases = () => {
  const now = edits.doc.boxes.map(({phrase}) => phrase.trim()).filter(Boolean);
  pictures.keep(PHRASES, [...new Set([...now, ...(pictures.kept(PHRASES) || [])])].slice(0, REMEMBERED));
};

// Parts of a caption that may name things: "a red ball and a house, at night" has three.
const phrasesIn = (caption) => caption.split(/,|;|\.|\band\b|\bwith\b|\bnext to\b|\bon\b|\bunder\b/i)
  .map((part) => part.trim()).filter((part) => part && part.length <= 60);

const suggestPhrases = () => {
  const used = new Set(edits.doc.boxes.map(({phrase}) => phrase.trim()));
  const known = [...phrasesIn(page.read('prompt')), ...(pictures.kept(PHRASES) || [])];
  const fresh = [...new Set(known)].filter((phrase) => !used.has(phrase));
  element.querySelector('datalist').replaceChildren(
    ...fresh.map((phrase) => Object.assign(document.createElement('option'), {value: phrase})));
};

// ------------------------------------------------------------------ typing

const listed = element.querySelector('.box-list');
const indexOf = (part) => Number(part.closest('li').dataset.index);

element.addEventListener('focusin', (event) => {
  const {target} = event;
  if (target.list) suggestPhrases();
  if (!target.closest('.box-row')) return;
  if (chosen !== indexOf(target)) { chosen = indexOf(target); draw(); }
  if (target.name === 'phrase') edits.begin();
});
element.addEventListener('focusout', ({target}) => { if (target.closest('.box-row') && target.name === 'phrase') edits.end(); });
listed.addEventListener('input', ({target}) => {
  if (target.name === 'phrase') edits.drag(withBox(indexOf(target), {phrase: target.value}));
});
listed.addEventListener('change', ({target}) => {
  if (target.name === 'colour') edits.set(withBox(indexOf(target), {colour: target.value}));
});
listed.addEventListener('keydown', (event) => {
  if (event.target.name !== 'phrase') return;
  if (event.ctrlKey || event.metaKey) event.stopPropagation(); // undo of what is typed, not of boxes
  if (event.key === 'Enter' && !event.ctrlKey) event.target.blur();
});

const options = element.querySelector('.box-options');
options.addEventListener('pointerdown', () => edits.begin());
options.addEventListener('input', ({target}) => {
  if (target.type === 'range') edits.drag({...edits.doc, [target.name]: Number(target.value)});
});
element.addEventListener('change', ({target}) => {
  if (target.type === 'range') edits.end();
  else if (target.name === 'model') edits.set({...edits.doc, model: target.value});
  else if (target.name === 'on') edits.set({...edits.doc, on: target.checked, example: false});
  else if (target.name === 'inside') setInside(target.checked);
});

// ------------------------------------------------------------------ layouts

const LAYOUTS = 'easel-layouts';
const MOST_LAYOUTS = 12;
const keptLayouts = () => pictures.kept(LAYOUTS) || [];

const sketchOf = (boxes) => {
  const rects = boxes.map(({box: [x0, y0, x1, y1], colour}, index) => {
    const rect = document.createElementNS(SVG, 'rect');
    const fill = /^#[0-9a-f]{6}$/i.test(colour || '') ? colour : FACTS.colours[index % FACTS.colours.length];
    Object.entries({x: x0 * 32, y: y0 * 32, width: (x1 - x0) * 32, height: (y1 - y0) * 32, fill, stroke: fill})
      .forEach(([key, value]) => rect.setAttribute(key, value));
    return rect;
  });
  const small = document.createElementNS(SVG, 'svg');
  small.setAttribute('viewBox', '0 0 32 32');
  small.setAttribute('aria-hidden', 'true');
  small.append(...rects);
  return small;
};

const layoutButton = (name, boxes, data) => {
  const button = Object.assign(document.createElement('button'), {type: 'button', className: 'act layout', title: name});
  Object.assign(button.dataset, data);
  button.append(sketchOf(boxes), Object.assign(document.createElement('span'), {textContent: name}));
  return button;
};

const drawLayouts = () => {
  const line = (...parts) => { const one = document.createElement('li'); one.append(...parts); return one; };
  element.querySelector('.presets').replaceChildren(...FACTS.presets.map(({name, boxes}, at) => (
    line(layoutButton(name, boxes, {do: 'preset', at})))));
  element.querySelector('.kept').replaceChildren(...keptLayouts().map(({name, boxes}, at) => {
    const forget = Object.assign(document.createElement('button'), {type: 'button', className: 'act icon bare', textContent: '×', title: `Forget ${name}`});
    forget.setAttribute('aria-label', forget.title);
    Object.assign(forget.dataset, {do: 'forget', at});
    return line(layoutButton(name, boxes, {do: 'recall', at}), forget);
  }));
};

const keepLayout = () => {
  const {boxes} = edits.doc;
  if (!boxes.length) { say('There is no box to keep. Draw one first.', true); return; }
  const name = boxes.map(({phrase}) => phrase.trim()).filter(Boolean).join(', ') || `${boxes.length} boxes`;
  const own = {name, boxes: boxes.map(({box, phrase, colour}) => ({box, phrase, colour}))};
  pictures.keep(LAYOUTS, [own, ...keptLayouts().filter((one) => one.name !== name)].slice(0, MOST_LAYOUTS));
  drawLayouts();
  say(`Kept as "${name}".`);
};
