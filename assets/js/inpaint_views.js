// The Inpaint tab's mask or its result: one of them is seen.
element.addEventListener('click', ({target}) => {
  const {view} = target.closest('[data-view]')?.dataset ?? {};
  if (view) window.easelInpaint.show(view);
});
const mark = () => element.querySelectorAll('[data-view]').forEach((button) => {
  button.setAttribute('aria-pressed', String(button.dataset.view === window.easelInpaint.view));
});
new MutationObserver(mark).observe(document.getElementById('inpaint'), {attributes: true, attributeFilter: ['data-view']});
mark();
