// The entries of the stack, each field of it one hidden text box of JSON. Every edit happens right here, the
// request reads the text, and the server only draws the cards anew when there is more to see than a value.
window.easelStack = (() => {
  const lists = {};
  const list = (path) => (lists[path] ??= {
    open: [], text: '[]', shown: null, arranged: null, around: '', focus: '', drawn: 0,
  });
  const box = (path) => document.querySelector(`#field-${path} textarea, #field-${path} input`);
  const type = (input, text) => {
    input.value = text;
    input.dispatchEvent(new Event('input', {bubbles: true}));
  };

  const read = (path) => {
    try {
      const entries = JSON.parse(box(path).value || '[]');
      return Array.isArray(entries) ? entries : [];
    } catch {
      return [];
    }
  };
  const write = (path, entries) => {
    const text = JSON.stringify(entries);
    type(box(path), text);
    return text;
  };

  // What the field `name` ('weight', 'blocks.down') of an entry holds; undefined where it is the usual value.
  const value = (entry, name) => name.split('.').reduce((part, key) => part?.[key], entry);

  // One value of one card. The card shows it already, so nothing is drawn.
  const edit = (path, index, name, given) => {
    const entries = read(path);
    if (!entries[index]) return;
    const keys = name.split('.');
    const last = keys.pop();
    let part = entries[index];
    keys.forEach((key) => { part = part[key] ??= {}; });
    part[last] = given;
    list(path).shown = JSON.stringify(entries);
    write(path, entries);
  };

  // More than a value: `change` is done to the entries, and to the flags that say which are open.
  // `focus` is the selector of what has the focus afterwards.
  const rearrange = (path, change, focus = '') => {
    const entries = read(path);
    const own = list(path);
    const open = entries.map((_, index) => Boolean(own.open[index]));
    change(entries, false);
    change(open, true);
    Object.assign(own, {open, focus, shown: null, arranged: JSON.stringify(entries)});
    write(path, entries);
  };
  const add = (path, entry) => rearrange(path, (all, areFlags) => all.push(areFlags ? false : entry));
  const move = (path, from, to, focus) => {
    if (to < 0 || to >= read(path).length) return;
    rearrange(path, (all) => all.splice(to, 0, ...all.splice(from, 1)), focus);
  };

  // A number that grows whenever the cards of `path` no longer show what its `text` says, or what they say
  // depends on something else (`context`) that has changed.
  const drawn = (path, text, ...context) => {
    const own = list(path);
    const around = JSON.stringify(context);
    const isOther = text !== own.text && text !== own.shown;
    if (isOther) {
      if (text !== own.arranged) own.open = [];
      own.shown = null;
    }
    if (isOther || (around !== own.around && text !== '[]')) own.drawn += 1;
    Object.assign(own, {text, around});
    return String(own.drawn);
  };

  // Adds words to a prompt; says whether they were not there yet.
  const say = (words, field = 'prompt', glue = ', ') => {
    const input = box(field);
    if (input.value.toLowerCase().includes(words.toLowerCase())) return false;
    const before = input.value.replace(/[\s,]+$/, '');
    type(input, before ? `${before}${glue}${words}` : words);
    return true;
  };

  return {list, read, value, edit, rearrange, add, move, drawn, say};
})();
