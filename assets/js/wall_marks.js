// Which pictures of the wall are selected is known here; Python hears of every change.
const boxes = () => [...element.querySelectorAll('.mark input')];
const marks = () => boxes().filter((box) => box.checked).map((box) => box.value);
window.easelMarks = () => marks().join();
const tell = () => trigger('marked');
let last = null;

element.addEventListener('change', (event) => {
  if (event.target.matches('.mark input')) tell();
});
element.addEventListener('click', (event) => {
  const box = event.target.closest('.mark input');
  if (!box) return;
  const all = boxes();
  if (event.shiftKey && last && all.includes(last)) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    all.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
    tell();
  }
  last = box;
});
window.easelUnmark = () => {
  boxes().forEach((box) => { box.checked = false; });
  tell();
};
