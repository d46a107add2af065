// What the Boxes tab and the rest of the page tell each other. Its editor is built when the tab is first opened,
// so what the page has said until then is told to it afterwards.
window.easelBoxes = (() => {
  const LOOK_MS = 60; // until Gradio has read what was written into a field
  const told = {};
  let editor = null;
  const field = (path) => document.querySelector(`#field-${path} textarea, #field-${path} input`);

  const tell = (name, ...given) => {
    told[name] = given;
    editor?.[name](...given);
  };
  const attach = (own) => {
    editor = own;
    Object.entries(told).forEach(([name, given]) => own[name](...given));
  };

  // Says whether the field was another one before.
  const write = (path, text) => {
    const input = field(path);
    if (!input || input.value === text) return false;
    input.value = text;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    return true;
  };
  const read = (path) => field(path)?.value ?? '';

  // Everything that the request has to say of the boxes stands in the form; a new word each time, or none
  // where the editor has told what is wrong.
  const settle = async (before) => {
    if (editor && !await editor.settle()) return before;
    await new Promise((done) => { setTimeout(done, LOOK_MS); });
    return String(Date.now());
  };

  return {tell, attach, write, read, settle};
})();
