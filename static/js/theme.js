// Sets the reader's theme before the first paint. A classic script in the head, for a module would
// run too late and the page would flash in the other theme.
(function () {
  const root = document.documentElement;
  let theme = null;
  try {
    theme = localStorage.getItem("strata-theme");
  } catch {
    // Storage can be forbidden; then the system's theme it is.
  }
  if (theme === "light" || theme === "dark" || theme === "contrast") root.dataset.theme = theme;
  // High contrast is one set of colours, whether the reader chose it here or in the system.
  const wish = matchMedia("(prefers-contrast: more)");
  const apply = function () {
    if (root.dataset.theme === "contrast" || wish.matches) root.dataset.contrast = "more";
    else delete root.dataset.contrast;
  };
  apply();
  wish.addEventListener("change", apply);
  document.addEventListener("strata:theme", apply);
})();
