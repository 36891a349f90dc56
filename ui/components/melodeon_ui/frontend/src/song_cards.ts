// Songs as cards, rows or a pair of takes. Playing happens in the same click, without Python.
import { component, type Trigger, type View } from "./component";
import { clock, h, icon, relabel, safeHref, wantsNewTab, type IconName } from "./dom";
import { engine, type Engine } from "./engine";
import { menuButton } from "./menu";
import css from "./song_cards.css";
import type { MenuItem, Song, SongCard, SongStatus } from "./words";

type Layout = "grid" | "list" | "pair";

interface CardsData {
  songs: SongCard[];
  layout: Layout;
  menu: MenuItem[];
  empty: string | null;
}

/** Menu entries that the browser does by itself. */
const PLAY_NEXT = "play_next";
const ADD_TO_QUEUE = "add_to_queue";

const WAITING: Partial<Record<SongStatus, { text: string; icon: IconName | null }>> = {
  queued: { text: "In the queue", icon: "wait" },
  processing: { text: "Being made", icon: null },
  failed: { text: "Failed", icon: "alert" },
  "no credits": { text: "Needs credits", icon: "alert" },
  cancelled: { text: "Cancelled", icon: "close" },
};

function playable(card: SongCard): card is SongCard & Song {
  return !card.loading && (card.status ?? "processed") === "processed" && Boolean(card.src);
}

/** A stable hue for a song without a cover. */
function hue(id: string): number {
  const GOLDEN_ANGLE = 137.5;
  return ([...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 9973, 7) * GOLDEN_ANGLE) % 360;
}

class SongCards implements View<CardsData> {
  private readonly engine: Engine = engine();
  private readonly off: () => void;
  private data: CardsData = { songs: [], layout: "grid", menu: [], empty: null };
  private drawn: { id: string; look: string; element: HTMLElement }[] = [];
  private readonly list = h("ul", { class: "cards" });

  constructor(private readonly root: HTMLElement, private readonly trigger: Trigger) {
    const offs = [
      this.engine.on(["track", "state"], () => this.showPlaying()),
      this.engine.on(["time"], () => this.showTime()),
    ];
    this.off = () => offs.forEach((off) => off());
  }

  update(data: CardsData): void {
    this.data = data;
    if (data.songs.length === 0) {
      this.drawn = [];
      this.root.replaceChildren(...(data.empty ? [h("p", { class: "empty" }, icon("note"), data.empty)] : []));
      return;
    }
    this.list.className = `cards ${data.layout}`;
    if (!this.list.isConnected) this.root.replaceChildren(this.list);
    this.draw();
    this.showPlaying();
  }

  destroy(): void {
    this.off();
  }

  /** Only what changed is drawn anew, so that a focused card or an open menu survives its neighbours. */
  private draw(): void {
    const before = this.drawn;
    const frame = JSON.stringify([this.data.layout, this.data.menu]);
    this.drawn = this.data.songs.map((card, place) => {
      const look = frame + JSON.stringify(card);
      const known = before[place]?.look === look ? before[place] : before.find((other) => other.look === look);
      return known ?? { id: card.id, look, element: this.card(card) };
    });
    const samePlaces = before.length === this.drawn.length && this.drawn.every((now, i) => now.id === before[i]?.id);
    if (!samePlaces) return this.list.replaceChildren(...this.drawn.map((now) => now.element));
    this.drawn.forEach((now, i) => {
      if (now.element !== before[i]?.element) before[i]?.element.replaceWith(now.element);
    });
  }

  private card(card: SongCard): HTMLElement {
    if (card.loading) {
      const bones = ["art", "bone", "bone short"].map((part) => h("span", { class: part }));
      return h("li", { class: "card loading", "aria-busy": "true" }, ...bones, h("span", { class: "unseen" }, "Loading"));
    }
    const title = card.title || "Untitled";
    return h("li", { class: `card ${playable(card) ? "ready" : "unready"}`, "data-id": card.id },
      this.art(card, title),
      h("div", { class: "text" },
        this.title(card, title),
        card.artist ? h("p", { class: "artist" }, this.face(card, card.artist), h("span", {}, card.artist)) : null),
      this.more(card, title),
      this.facts(card));
  }

  private title(card: SongCard, title: string): HTMLElement {
    const href = safeHref(card.page);
    if (!href) return h("p", { class: "title", title }, title);
    return h("a", { class: "title", href, title, click: (event: MouseEvent) => this.open(event, card.id) }, title);
  }

  /** Decoration beside the name: the artist's picture over their letter, which shows where the picture is missing. */
  private face(card: SongCard, artist: string): HTMLElement | null {
    if (!card.artist_picture && !card.artist_colour) return null;
    const face = h("i", { class: "face", "aria-hidden": "true" }, [...artist][0]?.toUpperCase());
    if (card.artist_colour) face.style.setProperty("--face", card.artist_colour);
    if (card.artist_picture) {
      const picture = h("img", {
        src: card.artist_picture, alt: "", loading: "lazy", decoding: "async", error: () => picture.remove(),
      });
      face.append(picture);
    }
    return face;
  }

  private art(card: SongCard, title: string): HTMLElement {
    const art = h("div", { class: "art", style: `--hue:${hue(card.id)}` });
    const address = this.data.layout === "list" ? card.cover_small || card.cover : card.cover || card.cover_small;
    if (address) {
      const picture = h("img", { src: address, alt: "", loading: "lazy", decoding: "async", error: () => picture.remove() });
      art.append(picture);
    }
    if (playable(card)) {
      const play = h("button", { type: "button", class: "play", "data-title": title, click: () => this.play(card.id) });
      art.append(h("span", { class: "played" }), play);
      return art;
    }
    const state = WAITING[card.status ?? "queued"];
    art.append(h("div", { class: `state ${card.status === "failed" || card.status === "no credits" ? "bad" : ""}` },
      state?.icon ? icon(state.icon) : h("span", { class: "spinner" }),
      h("p", {}, card.status_text || state?.text || "Not ready yet")));
    return art;
  }

  private facts(card: SongCard): HTMLElement {
    const tempo = card.tempo_bpm ? `${Math.round(card.tempo_bpm)} bpm` : null;
    const tags = (card.tags ?? []).slice(0, this.data.layout === "grid" ? 1 : 4);
    const length = card.duration_s ? clock(card.duration_s) : null;
    const words = [...tags, tempo, length, this.data.layout === "pair" ? card.engine_label : null];
    const badges = (card.badges ?? []).map((badge) => h("li", { class: "badge" }, badge));
    const waiting = playable(card) ? null : card.status_text || WAITING[card.status ?? "queued"]?.text;
    return h("div", { class: "facts" },
      this.data.layout === "list" && waiting ? h("p", { class: "waiting" }, waiting) : null,
      words.some(Boolean) ? h("p", { class: "words" }, ...words.filter(Boolean).map((word) => h("span", {}, word))) : null,
      badges.length ? h("ul", { class: "badges", "aria-label": "Marks" }, ...badges) : null);
  }

  private more(card: SongCard, title: string): HTMLElement | null {
    const local = [PLAY_NEXT, ADD_TO_QUEUE];
    const items = (card.menu ?? this.data.menu).filter((item) => playable(card) || !local.includes(item.id));
    if (items.length === 0) return null;
    return menuButton(`More for ${title}`, items, (item) => this.act(card, item));
  }

  private act(card: SongCard, item: string): void {
    if (item === PLAY_NEXT && playable(card)) this.engine.playNext(card);
    else if (item === ADD_TO_QUEUE && playable(card)) this.engine.enqueue(card);
    else this.trigger("action", { song: card.id, item });
  }

  private open(event: MouseEvent, id: string): void {
    if (wantsNewTab(event)) return;
    event.preventDefault();
    this.trigger("open", id);
  }

  private play(id: string): void {
    const songs = this.data.songs.filter(playable);
    this.engine.playQueue(songs, songs.findIndex((song) => song.id === id));
  }

  private showPlaying(): void {
    for (const { id, element } of this.drawn) {
      const current = this.engine.current?.id === id;
      const playing = current && this.engine.playing;
      element.classList.toggle("current", current);
      element.classList.toggle("playing", playing);
      const button = element.querySelector<HTMLElement>(".play");
      if (button) relabel(button, playing ? "pause" : "play", `${playing ? "Pause" : "Play"} ${button.dataset["title"]}`);
    }
    this.showTime();
  }

  private showTime(): void {
    const now = this.drawn.find(({ id }) => id === this.engine.current?.id);
    const { position_s, duration_s } = this.engine;
    now?.element.style.setProperty("--played", `${duration_s > 0 ? (100 * position_s) / duration_s : 0}%`);
  }
}

export default component<CardsData>(css, (root, trigger) => new SongCards(root, trigger));
