// The queue, opened from the player: what plays, what comes, and the letter keys' switch.
import { clock, h, iconButton } from "./dom";
import type { Engine } from "./engine";
import type { Song } from "./words";

function row(engine: Engine, song: Song, index: number): HTMLElement {
  const current = index === engine.index;
  const play = (): void => (current ? engine.toggle() : engine.load(index));
  return h("li", { class: current ? "current" : "", "aria-current": current ? "true" : undefined },
    h("button", { type: "button", class: "pick", click: play },
      h("span", { class: "unseen" }, current ? "Now playing: " : "Play "),
      h("span", { class: "title" }, song.title), h("span", { class: "artist" }, song.artist)),
    h("span", { class: "time" }, clock(song.duration_s)),
    iconButton("close", `Remove ${song.title} from the queue`, () => engine.remove(index)));
}

export function drawQueue(panel: HTMLElement, engine: Engine): void {
  const inside = panel.contains((panel.getRootNode() as ShadowRoot).activeElement);
  const scrolled = panel.querySelector("ol")?.scrollTop ?? 0;
  const letters = h("input", {
    type: "checkbox", checked: engine.letterKeys, change: () => engine.setLetterKeys(letters.checked),
  });
  const rows = h("ol", {}, ...engine.queue.map((song, index) => row(engine, song, index)));
  const clear = h("button", { type: "button", class: "clear", click: () => engine.keepOnlyCurrent() }, "Clear the rest");
  clear.disabled = engine.queue.length < 2;
  panel.replaceChildren(
    h("div", { class: "head" }, h("h3", {}, `Queue · ${engine.queue.length}`), clear),
    rows,
    h("label", { class: "keys" }, letters, "Letter keys: J and L jump, M mutes"),
  );
  rows.scrollTop = scrolled;
  if (inside) (rows.querySelector<HTMLElement>("li.current .pick") ?? clear).focus();
}
