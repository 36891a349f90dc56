// A small menu in the top layer: nothing clips it, Escape and a click outside close it.
import { h, iconButton, materialIcon } from "./dom";
import type { MenuItem } from "./words";

const EDGE_PX = 8;
function place(menu: HTMLElement, button: HTMLElement): void {
  const anchor = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = anchor.bottom + 4;
  const top = below + height + EDGE_PX > innerHeight ? anchor.top - height - 4 : below;
  menu.style.top = `${Math.max(EDGE_PX, top)}px`;
  menu.style.left = `${Math.max(EDGE_PX, Math.min(anchor.right - width, innerWidth - width - EDGE_PX))}px`;
}

function move(items: HTMLButtonElement[], event: KeyboardEvent): void {
  const root = items[0]?.getRootNode() as ShadowRoot;
  const now = items.indexOf(root.activeElement as HTMLButtonElement);
  const last = items.length - 1;
  const target = ({
    ArrowDown: now >= last ? 0 : now + 1, ArrowUp: now <= 0 ? last : now - 1, Home: 0, End: last,
  } as Record<string, number>)[event.key];
  if (target === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  items[target]?.focus();
}

/** The "⋯" button and its menu; `pick` hears the chosen item's id. */
export function menuButton(label: string, items: MenuItem[], pick: (id: string) => void): HTMLButtonElement {
  // Pressing the button of an open menu is a click outside, which closes it: the click must not open it again.
  let closesOnly = false;
  const button = iconButton("more", label, () => {
    if (!closesOnly) openMenu(button, items, label, pick);
    closesOnly = false;
  });
  button.addEventListener("pointerdown", () => { closesOnly = button.getAttribute("aria-expanded") === "true"; });
  button.classList.add("more");
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  return button;
}

function openMenu(button: HTMLButtonElement, items: MenuItem[], label: string, pick: (id: string) => void): void {
  const entries = items.map((item) =>
    h("button", {
      type: "button", role: "menuitem", tabindex: -1, class: item.danger ? "danger" : "",
      click: () => { menu.hidePopover(); pick(item.id); },
    }, item.icon ? materialIcon(item.icon) : null, item.label));
  const menu = h("div", { role: "menu", class: "menu", popover: "auto", "aria-label": label }, ...entries);
  const follow = (): void => place(menu, button);
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Tab") menu.hidePopover();
    else move(entries, event);
  });
  // The browser gives the focus back by itself, but not to a button inside a shadow root.
  let focusWasInside = false;
  menu.addEventListener("beforetoggle", () => {
    focusWasInside = menu.contains((menu.getRootNode() as ShadowRoot).activeElement);
  });
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    if (focusWasInside) button.focus();
    button.setAttribute("aria-expanded", "false");
    window.removeEventListener("scroll", follow, true);
    window.removeEventListener("resize", follow);
    menu.remove();
  });
  button.after(menu);
  menu.showPopover();
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  window.addEventListener("scroll", follow, true);
  window.addEventListener("resize", follow);
  entries[0]?.focus({ preventScroll: true });
}
