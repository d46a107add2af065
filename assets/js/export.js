// Fetches the zip of the marked pictures, and hands it to the browser as a download. Gives the banner's text:
// nothing, or the sentence that says why there is no file.
async () => {
  const problem = (sentence) => {
    const line = Object.assign(document.createElement('p'), {className: 'problem', textContent: sentence});
    line.setAttribute('role', 'alert');
    return line.outerHTML;
  };
  const images = window.easelMarks().split(',').filter(Boolean);
  try {
    const reply = await fetch('URL_OF_EXPORT', {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({images}),
    });
    if (!reply.ok) {
      const {message} = await reply.json().catch(() => ({}));
      return problem(message || `The export failed (${reply.status}). Try it again.`);
    }
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await reply.blob());
    link.download = 'easel-images.zip';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    return '';
  } catch {
    return problem('The export got no answer. Is Easel still running? Try it again.');
  }
}
