// The bar at the foot of every page. It draws what the engine does and passes on what people ask.
import { component, type Trigger, type View } from "./component";
import { clock, h, iconButton, relabel, safeHref, wantsNewTab } from "./dom";
import { engine, type Engine } from "./engine";
import pageCss from "./page.css";
import css from "./player.css";
import { drawQueue } from "./queue_panel";
import { SeekBar, Waveform } from "./waveform";

interface PlayerData {
  api: string;
  stop: boolean;
}

const REPEAT_LABELS = { off: "Repeat: off", all: "Repeat: all songs", one: "Repeat: this song" };

class Player implements View<PlayerData> {
  private readonly engine: Engine = engine();
  private readonly offs: (() => void)[] = [];
  private waveform: Waveform | null = null;

  private readonly cover = h("img", { alt: "", width: 52, height: 52 });
  private readonly title = h("a", { class: "title", click: (event: MouseEvent) => this.open(event) });
  private readonly artist = h("p", { class: "artist" });
  private readonly spoken = h("p", { class: "unseen", role: "status" });
  private readonly shuffle = iconButton("shuffle", "Shuffle", () => this.engine.toggleShuffle());
  private readonly previous = iconButton("previous", "Previous song", () => this.engine.previous());
  private readonly toggle = h("button", { type: "button", class: "round", click: () => this.engine.toggle() });
  private readonly next = iconButton("next", "Next song", () => this.engine.next());
  private readonly repeat = iconButton("repeat", REPEAT_LABELS.off, () => this.engine.cycleRepeat());
  private readonly elapsed = h("span", { class: "time" });
  private readonly wave = h("div", { class: "wave" });
  private readonly length = h("span", { class: "time" });
  private readonly mute = iconButton("volume", "Mute", () => this.engine.toggleMute());
  private readonly volume = h("input", {
    type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Volume", class: "volume",
    input: () => this.engine.setVolume(Number(this.volume.value)),
  });
  private readonly queueButton = iconButton("queue", "Queue", () => this.showQueue(this.panel.hidden));
  private readonly panel = h("div", { class: "queue", id: "queue", hidden: true });
  private readonly bar = h(
    "section", { class: "bar", "aria-label": "Player", hidden: true },
    h("div", { class: "song" }, this.cover, h("div", { class: "names" }, this.title, this.artist)),
    h("div", { class: "middle" },
      h("div", { class: "controls" }, this.shuffle, this.previous, this.toggle, this.next, this.repeat),
      h("div", { class: "seek" }, this.elapsed, this.wave, this.length)),
    h("div", { class: "side" }, this.mute, this.volume, this.queueButton),
    this.spoken, this.panel,
  );
  private readonly seekBar = new SeekBar(this.wave, "Position in the song", {
    position_s: () => this.engine.position_s,
    duration_s: () => this.engine.duration_s,
    seek: (to_s) => this.engine.seek(to_s),
  });

  constructor(root: HTMLElement, private readonly trigger: Trigger) {
    dressPage();
    root.append(this.bar);
    this.queueButton.setAttribute("aria-expanded", "false");
    this.queueButton.setAttribute("aria-controls", "queue");
    this.bar.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.panel.hidden) return;
      this.showQueue(false);
      this.queueButton.focus();
    });
    this.offs.push(
      this.engine.on(["track"], () => void this.drawTrack()),
      this.engine.on(["state"], () => this.drawState()),
      this.engine.on(["time"], () => this.drawTime()),
      this.engine.on(["volume"], () => this.drawVolume()),
      this.engine.on(["mode", "queue"], () => this.drawQueueAndModes()),
    );
    void this.drawTrack();
    this.drawState();
    this.drawVolume();
    this.drawQueueAndModes();
  }

  update(data: PlayerData): void {
    this.engine.api = data.api;
    if (data.stop && !this.engine.stopFlag) this.engine.clear({ everywhere: true });
    this.engine.stopFlag = data.stop;
    this.waveform?.recolour();
  }

  destroy(): void {
    this.offs.forEach((off) => off());
    this.waveform?.destroy();
  }

  private open(event: MouseEvent): void {
    if (wantsNewTab(event)) return;
    event.preventDefault();
    if (this.engine.current) this.trigger("open", this.engine.current.id);
  }

  private showQueue(shown: boolean): void {
    this.panel.hidden = !shown;
    this.queueButton.setAttribute("aria-expanded", String(shown));
    if (shown) this.panel.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  }

  private async drawTrack(): Promise<void> {
    const song = this.engine.current;
    this.bar.hidden = !song;
    this.waveform?.destroy();
    this.waveform = null;
    if (!song) return this.showQueue(false);
    this.cover.src = song.cover_small || song.cover;
    this.cover.hidden = !this.cover.getAttribute("src");
    this.title.textContent = song.title;
    this.title.href = safeHref(song.page) ?? "#";
    this.title.title = song.title;
    this.spoken.textContent = `Now: ${song.title}, ${song.artist}`;
    this.drawTime();
    const peaks = await this.engine.peaks(song);
    if (this.engine.current !== song || this.waveform || !this.bar.isConnected) return;
    this.waveform = new Waveform(this.wave, peaks, song.duration_s, { height: 30, barWidth: 2, barGap: 1, barRadius: 2, cursorWidth: 0 });
    this.waveform.onReady(() => this.drawTime());
  }

  private drawState(): void {
    const { playing, problem, current } = this.engine;
    relabel(this.toggle, playing ? "pause" : "play", problem ? "Try again" : playing ? "Pause" : "Play");
    this.bar.classList.toggle("problem", problem !== "");
    this.artist.textContent = problem || (current?.artist ?? "");
    if (problem) this.spoken.textContent = problem;
  }

  private drawTime(): void {
    const { position_s, duration_s } = this.engine;
    this.elapsed.textContent = clock(position_s);
    this.length.textContent = clock(duration_s);
    this.wave.style.setProperty("--played", `${duration_s > 0 ? (100 * position_s) / duration_s : 0}%`);
    this.waveform?.moveTo(position_s);
    this.seekBar.show();
  }

  private drawVolume(): void {
    const { audio } = this.engine;
    const silent = audio.muted || audio.volume === 0;
    this.volume.value = String(silent ? 0 : audio.volume);
    this.volume.style.setProperty("--level", `${Number(this.volume.value) * 100}%`);
    relabel(this.mute, silent ? "muted" : "volume", silent ? "Unmute" : "Mute");
  }

  private drawQueueAndModes(): void {
    this.shuffle.setAttribute("aria-pressed", String(this.engine.shuffle));
    this.repeat.classList.toggle("one", this.engine.repeat === "one");
    this.repeat.classList.toggle("on", this.engine.repeat !== "off");
    relabel(this.repeat, "repeat", REPEAT_LABELS[this.engine.repeat]);
    this.next.disabled = !this.engine.hasNext;
    drawQueue(this.panel, this.engine);
  }
}

/** The little that Streamlit's own widgets need besides the theme; once per document. */
const pageSheet = new CSSStyleSheet();
pageSheet.replaceSync(pageCss);

function dressPage(): void {
  if (!document.adoptedStyleSheets.includes(pageSheet)) document.adoptedStyleSheets.push(pageSheet);
}

export default component<PlayerData>(css, (root, trigger) => new Player(root, trigger));
