// Takes each problem that names a field to that field, and back off as soon as the person edits it.
const clear = (field) => {
  delete field.dataset.problem;
  field.querySelector(':scope > .problem-note')?.remove();
  field.querySelectorAll('[aria-invalid]').forEach((input) => {
    input.removeAttribute('aria-invalid');
    input.removeAttribute('aria-describedby');
  });
};

const mark = (field, problem) => {
  clear(field);
  const note = document.createElement('p');
  note.className = 'problem-note';
  note.id = `${field.id}-problem`;
  note.textContent = problem.textContent;
  note.setAttribute('role', 'alert');
  field.append(note);
  field.dataset.problem = element.closest('[id]:not([id^="html-"])')?.id || 'problems';
  // A slider alone is a tool's, like the size of a brush: what is wrong is not in there.
  const input = field.querySelector('textarea, input:not([type=range])');
  input?.setAttribute('aria-invalid', 'true');
  input?.setAttribute('aria-describedby', note.id);
  field.addEventListener('input', () => { clear(field); problem.remove(); }, {once: true});
  if (isSeen(field)) problem.classList.add('placed');
  else problem.dataset.field = '';
};

// Where a field is hidden or folded away, what it belongs to is still there: the card of its entry
// (`loras-0-model` is told at `loras-0`), or the heading of its part.
const placeOf = (name) => {
  const words = name.split('-');
  for (let length = words.length; length; length--) {
    const field = document.getElementById(`field-${words.slice(0, length).join('-')}`);
    if (field?.offsetParent) return field;
  }
  return document.getElementById(`part-${words[0]}`);
};

// In a sidebar that is folded away nobody would read it, so the sentence stays in the banner too.
const isSeen = (field) => !field.closest('.sidebar:not(.open)');

const place = (tries = 10) => {
  let waiting = false;
  element.querySelectorAll('.problem:not(.placed)').forEach((problem) => {
    const field = problem.dataset.field && placeOf(problem.dataset.field);
    if (field && field.offsetParent) mark(field, problem); else waiting = waiting || !!problem.dataset.field;
  });
  if (waiting && tries) setTimeout(() => place(tries - 1), 100);
  else document.querySelector('[data-problem]')?.scrollIntoView({block: 'nearest', behavior: 'smooth'});
};

const owner = () => element.closest('[id]:not([id^="html-"])')?.id || 'problems';
watch('value', () => {
  document.querySelectorAll(`[data-problem="${owner()}"]`).forEach(clear);
  element.querySelectorAll('.placed').forEach((problem) => problem.classList.remove('placed'));
  place();
});
