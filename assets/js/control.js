// What the Control tab asks of its editors. Which one shows is told to the style sheet by data-source.
window.easelControl = (() => {
  const tab = () => document.getElementById('control');

  // The tab is built when it is first opened; what was said last is what it shows then.
  let shown = 'photo';
  const apply = () => {
    if (!tab()) { setTimeout(apply, 100); return; }
    tab().dataset.source = shown;
    if (shown !== 'look') tab().dataset.arrangement = shown;
  };
  const show = (source) => { shown = source; apply(); };

  const said = async (make) => {
    try { return JSON.stringify(await make()); } catch (error) { return JSON.stringify({problem: error.message}); }
  };
  const from = (source) => window.easelEditors[source]();
  const unit = (source) => said(() => from(source));

  // Look from the image prompt, arrangement from what was shown before it.
  const both = () => said(async () => {
    const arrangement = tab().dataset.arrangement || 'photo';
    return {...await from('look'), arrangement: {source: arrangement, ...await from(arrangement)}};
  });

  const kind = (source) => (source === 'photo' ? window.easelPreprocessor?.().kind ?? '' : source);

  // On a narrow screen the stack covers the page, so it makes way.
  const uncover = () => {
    if (innerWidth <= 768) document.querySelector('.sidebar.open .toggle-button')?.click();
  };

  return {show, unit, both, kind, uncover};
})();
