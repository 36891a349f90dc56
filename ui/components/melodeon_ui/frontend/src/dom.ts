// Building DOM without HTML strings: text from people only ever becomes text nodes and attributes.

export type Child = Node | string | null | undefined | false;
type Handler = (event: never) => void;
type Attribute = string | number | boolean | undefined | Handler;

/** One element: functions become listeners, `true` an empty attribute, `false` and `undefined` nothing. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Attribute> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** A length of time as `m:ss`, or `h:mm:ss` from one hour on. */
export function clock(time_s: number): string {
  const whole = Number.isFinite(time_s) ? Math.max(0, Math.floor(time_s)) : 0;
  const seconds = String(whole % 60).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${seconds}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${seconds}`;
}

/** The address when it stays on this site or is plain web, else nothing: no `javascript:` behind a link. */
export function safeHref(address: string | undefined): string | undefined {
  if (!address) return undefined;
  const url = new URL(address, location.href);
  return url.protocol === "http:" || url.protocol === "https:" ? address : undefined;
}

/** Should the browser itself follow this click (new tab, new window, download)? */
export function wantsNewTab(event: MouseEvent): boolean {
  return event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
}

export const prefersStill = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

const FILLED = {
  play: "M8 5.2v13.6L19 12z",
  pause: "M6.5 5h4v14h-4zM13.5 5h4v14h-4z",
  next: "M5.5 6l9 6-9 6zM16 6h2.200v12H16z",
  previous: "M18.5 6l-9 6 9 6zM5.8 6H8v12H5.800z",
};
const DRAWN = {
  shuffle: "M3.5 7H7c4.5 0 5.5 10 10 10h3M17.5 14.500L20 17l-2.5 2.500M3.5 17H7c1.5 0 2.6-1.1 3.5-2.600M13.5 9.600C14.4 8.1 15.5 7 17 7h3M17.5 4.500L20 7l-2.5 2.5",
  repeat: "M4.5 12v-2a3 3 0 0 1 3-3H19M16.5 4.500L19 7l-2.5 2.500M19.5 12v2a3 3 0 0 1-3 3H5M7.5 19.500L5 17l2.5-2.5",
  volume: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM15.5 9a4.3 4.3 0 0 1 0 6M18 6.500a7.8 7.8 0 0 1 0 11",
  muted: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500zM16 9.500l5 5M21 9.500l-5 5",
  queue: "M4 6h16M4 11h16M4 16h7M15.5 14v6l5-3z",
  close: "M6.5 6.500l11 11M17.5 6.500l-11 11",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  note: "M9 17.500V6l10-2v11.500M9 17.500a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 15.500a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  check: "M5 12.500l4.5 4.500L19 7.5",
  alert: "M12 9v4.500M12 16.500h.01M12 4L3 19.500h18z",
  wait: "M12 7v5l3 2M12 3.500a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17z",
};
export type IconName = keyof typeof FILLED | keyof typeof DRAWN;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  if (name in FILLED) {
    path.setAttribute("d", FILLED[name as keyof typeof FILLED]);
    path.setAttribute("fill", "currentColor");
  } else {
    path.setAttribute("d", DRAWN[name as keyof typeof DRAWN]);
    svg.setAttribute("class", "drawn");
  }
  svg.append(path);
  return svg;
}

/** An icon of Streamlit's own icon font, by the name that `:material/name:` uses. */
export function materialIcon(name: string): HTMLElement {
  return h("span", { class: "material", "aria-hidden": "true" }, name.replace(/^:material\/|:$/g, ""));
}

/** A round button that shows only an icon and therefore needs a name. */
export function iconButton(name: IconName, label: string, onClick: (event: MouseEvent) => void): HTMLButtonElement {
  return h("button", { type: "button", class: "icon", "aria-label": label, title: label, click: onClick }, icon(name));
}

/** Put another icon into a button, and another name on it. */
export function relabel(button: HTMLElement, name: IconName, label: string): void {
  if (button.getAttribute("aria-label") === label) return;
  button.replaceChildren(icon(name));
  button.setAttribute("aria-label", label);
  button.title = label;
}
