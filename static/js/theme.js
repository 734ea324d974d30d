// Sets the reader's theme before the first paint. A classic script in the head, for a module would
// run too late and the page would flash in the other theme.
(function () {
  try {
    const theme = localStorage.getItem("strata-theme");
    if (theme === "light" || theme === "dark") {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Storage can be forbidden; then the system's theme it is.
  }
})();
