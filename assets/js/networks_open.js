// Opens the view of all networks at once; its cards come from the server and are fresh each time.
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-action="browse"]')) window.easelNetworks.open();
});
