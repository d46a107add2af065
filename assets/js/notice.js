// A notice has been read after a while; one that can be undone stays longer.
let ending = null;
watch('value', () => {
  clearTimeout(ending);
  const seconds = element.querySelector('[data-action]') ? 60 : 15;
  ending = setTimeout(() => element.replaceChildren(), seconds * 1000);
});
