// Tells the server the reader's zone, so that it writes times as the reader's clock has them. A classic
// script in the head: the first page may already lead to the second.
(function () {
  try {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/.test(zone)) return;
    if (document.cookie.split("; ").includes(`strata_zone=${zone}`)) return;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `strata_zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
  } catch {
    // Then times stay in the zone of the site, and the page says which.
  }
})();
