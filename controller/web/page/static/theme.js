// Light or dark before the first paint, so that nothing flashes. A plain script: modules come later.
{
  const chosen = localStorage.getItem("graphwall-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

// A phone that changes its network while it loads loses a module, and with it the whole page: load it again.
{
  const TRIES = "graphwall-tries", MOST = 5, WAIT = 700; // ms
  addEventListener("error", ({ target }) => {
    const tries = Number(sessionStorage.getItem(TRIES));
    if (!(target instanceof HTMLScriptElement) || tries >= MOST) return;
    sessionStorage.setItem(TRIES, String(tries + 1));
    setTimeout(() => location.reload(), WAIT);
  }, true);
  addEventListener("graphwall-started", () => sessionStorage.removeItem(TRIES));
}
