// Where a unit of the stack holds: a mask is an uploaded picture, or what is drawn in the sketch editor.
// This script hears 'masked' and 'unmask'.
const pictures = window.easelPictures;
const found = async (make) => {
  const line = element.querySelector('.editor-line');
  try {
    trigger('masked', {id: await make()});
  } catch (error) {
    line.textContent = error.message;
    line.classList.add('wrong');
  }
};
pictures.welcome(element, (file) => found(() => pictures.store(file)));
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-sketch]')) found(async () => (await window.easelEditors.sketch()).image);
});
