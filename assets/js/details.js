// The panel about one image: a click on the picture shows it as large as the screen.
element.addEventListener('click', (event) => {
  if (!event.target.matches('.picture')) return;
  if (document.fullscreenElement) document.exitFullscreen(); else event.target.requestFullscreen?.();
});
