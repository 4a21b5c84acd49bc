// Light or dark: the reader's choice, else the system's.

const root = document.documentElement;
const repaints = [];

{
  const button = document.querySelector("[data-theme-button]");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const say = () => { button.textContent = now() === "dark" ? "Light" : "Dark"; };
  const apply = () => { say(); for (const repaint of repaints) repaint(); };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    apply();
  });
  dark.addEventListener("change", apply);
  say();
}
