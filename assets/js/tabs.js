// The tab that a person is on stands in the address: a reload, a link, and the browser's back and forward find it.
(() => {
  const FIRST = 'generate';
  const WAIT_MS = 30;
  const named = () => location.hash.replace(/^#\/?/, '') || FIRST; // '#generate' itself would be the button of that name
  const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper [role="tab"]')];
  const selected = () => tabs().find((tab) => tab.getAttribute('aria-selected') === 'true')?.dataset.tabId;

  const follow = () => {
    if (named() !== selected()) tabs().find((tab) => tab.dataset.tabId === named())?.click();
  };
  const tell = () => {
    const tab = selected();
    if (tab && tab !== named()) window.history.pushState(null, '', `#/${tab}`);
  };

  const begin = () => {
    if (!selected()) { setTimeout(begin, WAIT_MS); return; }
    follow();
    new MutationObserver(tell).observe(document.querySelector('#tabs > .tab-wrapper'), {
      attributes: true, attributeFilter: ['aria-selected'], subtree: true,
    });
    addEventListener('popstate', follow);
  };
  begin();
})();
