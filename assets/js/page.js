// What holds for the whole page: keys, light or dark, calendars, a server that is gone, and a stack that starts closed on a phone.
(() => {
  const isSeen = (button) => button.offsetParent !== null;
  const shown = (...selectors) => [...document.querySelectorAll(selectors.join())].find(isSeen);

  const listIsOpen = (target) =>
    target.getAttribute?.('aria-expanded') === 'true' || document.querySelector('dialog[open]');

  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      shown('#generate', '#inpaint-paint', '#boxes-generate')?.click();
    } else if (event.key === 'Escape' && !listIsOpen(event.target)) {
      shown('#cancel', '#inpaint-result [data-action=cancel]', '#boxes-doing [data-action=cancel]')?.click();
    }
  }, true);

  const chosen = localStorage.getItem('easel-theme');
  const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  const apply = () => document.body.classList.toggle('dark', dark);
  if (document.body) apply(); else document.addEventListener('DOMContentLoaded', apply);

  // A calendar where a day is asked for: Gradio's text boxes have no such type of their own.
  const calendars = () => document
    .querySelectorAll('#field-since input, #field-until input')
    .forEach((input) => { if (input.type !== 'date') input.type = 'date'; });

  // Gradio's sentence for a server that is gone says what the page does, not what a person can do.
  const GONE = 'Easel does not answer. Check that it still runs. The page comes back by itself, as you left it.';
  const gone = () => document.querySelectorAll('[data-testid="toast-text"]').forEach((words) => {
    if (words.textContent.startsWith('Connection to the server was lost')) words.textContent = GONE;
  });
  new MutationObserver(() => { calendars(); gone(); }).observe(document.documentElement, {childList: true, subtree: true});

  // On a narrow screen the stack would cover the page, so it starts closed there.
  const fold = (tries) => {
    const toggle = document.querySelector('.sidebar.open .toggle-button');
    toggle?.click();
    if (tries && (toggle || !document.querySelector('.sidebar'))) setTimeout(() => fold(tries - 1), 150);
  };
  if (innerWidth <= 768) fold(60);
})();
