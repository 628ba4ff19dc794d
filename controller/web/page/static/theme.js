// Light or dark before the first paint, so that nothing flashes. A plain script: modules come later.
{
  const chosen = localStorage.getItem("graphwall-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
