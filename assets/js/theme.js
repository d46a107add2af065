// The switch of light and dark; page.js puts the choice back when the page is loaded anew.
element.addEventListener('click', (event) => {
  if (!event.target.closest('[data-action="theme"]')) return;
  const dark = document.body.classList.toggle('dark');
  localStorage.setItem('easel-theme', dark ? 'dark' : 'light');
});
