// Objects painted one after another: a list of masks and phrases. Each is painted by a job of its own, from the
// result of the job before.
const pictures = window.easelPictures;
const inpaint = window.easelInpaint;
const STORE = 'easel-inpaint-objects';
const JOBS_ROUTE = 'studio/v1/jobs';
const ASK_MS = 200;
const box = (path) => document.querySelector(`${path} textarea, ${path} input`);

// {entries: [{text: the request's inpaint field, phrase}], at: number of the one being painted or -1, job: its id}
let state = {entries: [], at: -1, job: '', ...pictures.kept(STORE)};
const set = (change) => {
  state = {...state, ...change};
  pictures.keep(STORE, state);
  show();
};

const row = ({text, phrase}, index) => {
  const item = document.createElement('li');
  const image = Object.assign(new Image(), {src: pictures.url(JSON.parse(text).mask), alt: '', className: 'thumb'});
  const words = Object.assign(document.createElement('span'), {textContent: phrase});
  const remove = Object.assign(document.createElement('button'), {type: 'button', className: 'act icon', textContent: '×'});
  remove.dataset.do = 'remove';
  remove.dataset.index = index;
  remove.setAttribute('aria-label', `Remove ${phrase}`);
  remove.disabled = state.at >= 0;
  item.classList.toggle('current', index === state.at);
  item.append(image, words, remove);
  return item;
};
const show = () => {
  element.querySelector('.object-list').replaceChildren(...state.entries.map(row));
  const isPainting = state.at >= 0;
  enable('all', !isPainting && state.entries.length > 0);
  enable('add', !isPainting);
  element.querySelector('[data-do=stop]').hidden = !isPainting;
};

const add = () => attempt(async () => {
  const [text] = await inpaint.submitted([''], 0);
  const phrase = box('#inpaint-prompt').value.trim();
  if (!text || !JSON.parse(text).mask) throw new Error('Nothing is masked. Paint over the place of this object.');
  if (!phrase) throw new Error('Say what should be there first.');
  // Canvas that one object adds would leave the masks of the others without their photo's shape.
  const {outpaint, ...own} = JSON.parse(text);
  set({entries: [...state.entries, {text: JSON.stringify(own), phrase}]});
  inpaint.masked(null);
});
const remove = (button) => set({entries: state.entries.filter((_, index) => index !== Number(button.dataset.index))});

// Asks for entry number `at`; the answer comes as the component's value.
const paintEntry = (at, after) => {
  const {text, phrase} = state.entries[at];
  set({at, job: ''});
  trigger('paint', {inpaint: text, phrase, after});
};
const stopped = (sentence) => { set({at: -1, job: ''}); say(sentence, true); };
const ended = async (id) => {
  let job = await pictures.send(`${JOBS_ROUTE}/${id}`);
  while (['queued', 'running'].includes(job.state)) {
    await new Promise((done) => setTimeout(done, ASK_MS));
    job = await pictures.send(`${JOBS_ROUTE}/${id}`);
  }
  return job;
};
const follow = async (id) => {
  const job = await ended(id).catch((error) => ({failure: error}));
  if (state.job !== id) return;
  const number = state.at + 1;
  if (job.state !== 'finished') stopped(`Stopped at object ${number}: ${job.failure?.message ?? 'it was cancelled.'}`);
  else if (number < state.entries.length) paintEntry(number, id);
  else {
    set({at: -1, job: ''});
    say('All objects are painted. Go on with the result, or change the list and paint again.');
  }
};
const cancel = () => {
  const {job} = state;
  if (job) pictures.send(`${JOBS_ROUTE}/${job}`, {method: 'DELETE'}).catch(() => {});
  else stopped('Stopped.');
};

historyKeys({undo() {}, redo() {}}, {add, remove, all: () => { say(''); paintEntry(0, ''); }, stop: cancel});
watch('value', () => {
  const {job, problem} = props.value || {};
  if (problem) stopped(problem);
  else if (job && state.at >= 0) { set({job}); follow(job); }
});

// After a reload: the job went on meanwhile. Where it was never queued there is nothing to follow.
if (state.at >= 0 && state.job) follow(state.job);
else set({at: -1});
if (state.entries.length) element.querySelector('details').open = true;
