// A picture that is dropped anywhere on the Generate tab, or pasted there, is what the next one starts from.
// Dropped where nobody takes it, it does not make the browser leave the page for it.
(() => {
  const pictures = window.easelPictures;
  const part = () => document.getElementById('part-source');
  const isHere = () => Boolean(part()?.offsetParent);
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const over = (is) => document.body.classList.toggle('over-generate', is);

  // The part's own field takes it, and says what is wrong with it. It is there once the part is open.
  const give = (file, tries = 20) => {
    const heading = part().querySelector('.label-wrap');
    if (!heading.classList.contains('open')) heading.click();
    const field = part().querySelector('[data-testid="image"] input[type="file"]');
    if (!field) { if (tries) setTimeout(() => give(file, tries - 1), 50); return; }
    const held = new DataTransfer();
    held.items.add(file);
    field.files = held.files;
    field.dispatchEvent(new Event('change', {bubbles: true}));
  };

  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    over(isHere() && !event.defaultPrevented);
    event.preventDefault();
  });
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener('drop', (event) => {
    over(false);
    if (event.defaultPrevented || !hasFiles(event)) return;
    event.preventDefault();
    const file = [...event.dataTransfer.files].find((one) => one.type.startsWith('image/'));
    if (file && isHere()) give(file);
  });
  pictures.pasted(isHere, give);
})();
