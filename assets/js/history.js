// Undo and redo of an editor whose document is never changed in place: every edit makes a new one.
const DEPTH = 200;

const history = (first, changed) => {
  let past = [];
  let future = [];
  let now = first;
  let before = null; // the document as it was when a drag began

  const move = (from, to) => {
    if (!from.length) return;
    to.push(now);
    now = from.pop();
    changed(now);
  };
  const remember = (old) => { past = [...past, old].slice(-DEPTH); future = []; };

  return {
    get doc() { return now; },
    get canUndo() { return past.length > 0; },
    get canRedo() { return future.length > 0; },
    set(doc) { remember(now); now = doc; changed(now); },
    begin() { before = now; },
    drag(doc) { now = doc; changed(now); },
    end() {
      const old = before;
      before = null;
      if (old && old !== now) { remember(old); changed(now); }
    },
    cancel() {
      const old = before;
      before = null;
      if (old && old !== now) { now = old; changed(now); }
    },
    undo() { move(past, future); },
    redo() { move(future, past); },
    start(doc) { past = []; future = []; now = doc; changed(now); },
  };
};

// The buttons that every editor has, and Ctrl+Z, Ctrl+Shift+Z, Ctrl+Y while it is in use.
const historyKeys = (edits, does) => {
  element.addEventListener('click', (event) => {
    const button = event.target.closest('[data-do]');
    if (button && !button.disabled) ({undo: edits.undo, redo: edits.redo, ...does})[button.dataset.do]?.(button);
  });
  element.addEventListener('keydown', (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    if (key === 'y' || event.shiftKey) edits.redo(); else edits.undo();
  });
};

const enable = (name, on) => {
  element.querySelectorAll(`[data-do="${name}"]`).forEach((button) => { button.disabled = !on; });
};

// One line for what went wrong or what to do next.
const say = (sentence, wrong = false) => {
  const line = element.querySelector('.editor-line');
  line.textContent = sentence;
  line.classList.toggle('wrong', wrong);
};

const attempt = async (work) => {
  try {
    say('');
    return await work();
  } catch (error) {
    say(error.message, true);
    return null;
  }
};

// The size that a picture's canvas has: its shape, the longer side `side` px, both sides multiples of 8.
const canvasSize = (width, height, side = 768) => {
  const factor = side / Math.max(width, height);
  const round = (length) => Math.max(64, Math.round(length * factor / 8) * 8);
  return {width: round(width), height: round(height)};
};
