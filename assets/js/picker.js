// The choice of a model that follows a map.
element.addEventListener('change', (event) => trigger('choose', {id: event.target.value}));
// The browser keeps what a person chose, whatever the new list says is chosen.
const told = () => {
  const select = element.querySelector('select');
  const said = select?.querySelector('option[selected]');
  if (said) select.value = said.value;
};
watch('value', told);
told();
