// What every component shares: one view per mount, kept through data and theme changes.
import baseCss from "./base.css";

export interface Arguments<Data> {
  data: Data;
  parentElement: HTMLElement | ShadowRoot;
  setTriggerValue(name: string, value: unknown): void;
}

export type Trigger = (name: string, value: unknown) => void;

export interface View<Data> {
  /** Called on the first mount and again whenever the data or the theme has changed. */
  update(data: Data): void;
  destroy(): void;
}

interface Mount<Data> {
  view: View<Data>;
  latest: Arguments<Data>;
  calls: number;
}

function dress(parent: HTMLElement | ShadowRoot, css: string): void {
  const place = parent.getRootNode();
  if (!(place instanceof ShadowRoot)) return;
  place.adoptedStyleSheets = [baseCss, css].map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
}

/**
 * Streamlit's entry point for a component. Streamlit calls it again with the same parent on every change,
 * and may run the clean-up of an overtaken call late: only the clean-up of the newest call counts.
 */
export function component<Data>(css: string, create: (root: HTMLElement, trigger: Trigger) => View<Data>) {
  const mounts = new WeakMap<Node, Mount<Data>>();
  return (given: Arguments<Data>): (() => void) => {
    const parent = given.parentElement;
    let mount = mounts.get(parent);
    if (!mount) {
      const root = document.createElement("div");
      root.className = "melodeon";
      dress(parent, css);
      parent.append(root);
      const fresh = { latest: given, calls: 0 } as Mount<Data>;
      const view = create(root, (name, value) => fresh.latest.setTriggerValue(name, value));
      fresh.view = { update: (data) => view.update(data), destroy: () => { view.destroy(); root.remove(); } };
      mounts.set(parent, fresh);
      mount = fresh;
    }
    const current = mount;
    current.latest = given;
    current.view.update(given.data);
    const call = ++current.calls;
    return () => {
      if (call !== current.calls || mounts.get(parent) !== current) return;
      mounts.delete(parent);
      current.view.destroy();
    };
  };
}
