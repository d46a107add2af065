// The catalogue is searched right here; what is being downloaded stays in sight.
const find = document.createElement('input');
find.type = 'search';
find.placeholder = 'name, kind or family';
find.setAttribute('aria-label', 'Search what can be installed');
const finder = document.createElement('div');
finder.className = 'finder';
finder.append(find);
element.before(finder);

const filter = () => {
  const words = find.value.toLowerCase().split(/\s+/);
  for (const row of element.querySelectorAll('li')) {
    const text = row.textContent.toLowerCase();
    row.hidden = !row.querySelector('progress') && !words.every((word) => text.includes(word));
  }
};
find.addEventListener('input', filter);
watch('value', filter);
