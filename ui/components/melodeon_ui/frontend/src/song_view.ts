// One song in full: a large waveform with its sections, and lyrics that follow the music.
import Hover from "wavesurfer.js/dist/plugins/hover.esm.js";
import Regions from "wavesurfer.js/dist/plugins/regions.esm.js";
import Timeline from "wavesurfer.js/dist/plugins/timeline.esm.js";
import { component, type View } from "./component";
import { clock, h, prefersStill, relabel } from "./dom";
import { engine, type Engine } from "./engine";
import css from "./song_view.css";
import { SeekBar, Waveform } from "./waveform";
import type { Line, Section, Song } from "./words";

interface SongViewData {
  song: Song;
  lines: Line[];
  sections: Section[];
  lyrics_text: string;
}

/** After somebody scrolls the lyrics, leave them where they are for this long. */
const HANDS_OFF_MS = 4000;
const SECTION_COLOURS = 5;

/** Equal names ("Chorus 1", "chorus 2") get equal colours, in the order in which they first appear. */
function sectionColours(sections: Section[]): number[] {
  const seen: string[] = [];
  return sections.map(({ name }) => {
    const kind = name.toLowerCase().replace(/[\s\d]+$/, "");
    if (!seen.includes(kind)) seen.push(kind);
    return seen.indexOf(kind) % SECTION_COLOURS;
  });
}

/** What is shown for one song; another song gets another one. */
class Sheet {
  private readonly offs: (() => void)[] = [];
  private waveform: Waveform | null = null;
  private ended = false;
  private lineNow = -1;
  private handsOffUntil_ms = 0;

  private readonly toggle = h("button", { type: "button", class: "round", click: () => this.playOrPause() });
  private readonly time = h("p", { class: "time" });
  private readonly wave = h("div", { class: "wave" });
  private readonly lineButtons: HTMLButtonElement[];
  private readonly sectionButtons: HTMLButtonElement[];
  private readonly lyrics: HTMLElement | null;
  private readonly seekBar: SeekBar;

  constructor(root: HTMLElement, private readonly engine: Engine, private readonly data: SongViewData) {
    const { song, sections, lines } = data;
    const colours = sectionColours(sections);
    this.sectionButtons = sections.map((section, index) =>
      h("button", { type: "button", class: `chip c${colours[index]}`, click: () => this.startAt(section.start_s) },
        section.name, h("span", {}, clock(section.start_s))));
    this.lineButtons = lines.map((line) =>
      h("button", { type: "button", class: "line", click: () => this.startAt(line.start_s) }, line.text));
    this.lyrics = this.drawLyrics();
    this.seekBar = new SeekBar(this.wave, `Position in ${song.title}`, {
      position_s: () => this.position_s, duration_s: () => this.duration_s, seek: (to_s) => this.startAt(to_s),
    });
    root.replaceChildren(
      h("section", { class: "sheet", "aria-label": "Waveform" },
        h("div", { class: "head" }, this.toggle, h("div", { class: "chips" }, ...this.sectionButtons), this.time),
        this.wave),
      ...(this.lyrics ? [this.lyrics] : []));
    this.offs.push(engine.on(["time", "track"], () => this.drawTime()), engine.on(["state", "track"], () => this.drawState()));
    this.drawState();
    this.drawTime();
    void this.drawWaveform(colours);
  }

  recolour(): void {
    this.waveform?.recolour();
  }

  destroy(): void {
    this.ended = true;
    this.offs.forEach((off) => off());
    this.waveform?.destroy();
  }

  private get mine(): boolean {
    return this.engine.current?.id === this.data.song.id;
  }

  private get position_s(): number {
    return this.mine ? this.engine.position_s : 0;
  }

  private get duration_s(): number {
    return this.mine ? this.engine.duration_s : this.data.song.duration_s;
  }

  private startAt(at_s: number): void {
    this.handsOffUntil_ms = 0;
    this.engine.playFrom(this.data.song, at_s);
  }

  private playOrPause(): void {
    if (this.mine) this.engine.toggle();
    else this.engine.playFrom(this.data.song, 0);
  }

  private drawLyrics(): HTMLElement | null {
    const { lyrics_text: text } = this.data;
    if (this.lineButtons.length) {
      const box = h("div", { class: "lyrics" }, ...this.lineButtons);
      const leave = (): void => { this.handsOffUntil_ms = performance.now() + HANDS_OFF_MS; };
      box.addEventListener("wheel", leave, { passive: true });
      box.addEventListener("touchmove", leave, { passive: true });
      return h("section", { "aria-label": "Lyrics" }, box);
    }
    if (!text.trim()) return null;
    const paragraphs = text.split("\n").map((line) => h("p", { class: /^\[.*\]$/.test(line.trim()) ? "mark" : "" }, line || "\u00a0"));
    return h("section", { class: "words", "aria-label": "Lyrics" }, ...paragraphs);
  }

  private async drawWaveform(colours: number[]): Promise<void> {
    const { song, sections } = this.data;
    const peaks = await this.engine.peaks(song);
    if (this.ended) return;
    const regions = Regions.create();
    const plugins = [
      regions,
      Timeline.create({ height: 18, style: { fontSize: "11px", color: "var(--soft)" }, secondaryLabelOpacity: 1 }),
      Hover.create({ lineColor: "var(--ink)", labelColor: "var(--paper)", labelBackground: "var(--ink)", labelSize: "12px", formatTimeCallback: clock }),
    ];
    this.waveform = new Waveform(this.wave, peaks, song.duration_s, { height: 104, barWidth: 3, barGap: 2, barRadius: 3, plugins });
    this.waveform.onReady(() => {
      sections.forEach((section, index) => regions.addRegion({
        start: section.start_s, end: section.end_s, drag: false, resize: false, color: `var(--section-${colours[index]})`,
      }));
      this.drawTime();
    });
  }

  private drawState(): void {
    const playing = this.mine && this.engine.playing;
    relabel(this.toggle, playing ? "pause" : "play", `${playing ? "Pause" : "Play"} ${this.data.song.title}`);
  }

  private drawTime(): void {
    const now_s = this.position_s;
    this.time.textContent = `${clock(now_s)} / ${clock(this.duration_s)}`;
    this.waveform?.moveTo(now_s);
    this.seekBar.show();
    this.data.sections.forEach((section, index) => {
      mark(this.sectionButtons[index], this.mine && section.start_s <= now_s && now_s < section.end_s);
    });
    this.drawLine(this.mine ? this.data.lines.findLastIndex((line) => line.start_s <= now_s) : -1);
  }

  private drawLine(index: number): void {
    if (index === this.lineNow) return;
    mark(this.lineButtons[this.lineNow], false);
    this.lineNow = index;
    const line = this.lineButtons[index];
    const box = line?.parentElement;
    mark(line, true);
    if (!line || !box || performance.now() < this.handsOffUntil_ms) return;
    const top = line.offsetTop - box.offsetTop - (box.clientHeight - line.offsetHeight) / 2;
    box.scrollTo({ top, behavior: prefersStill() ? "instant" : "smooth" });
  }
}

function mark(element: HTMLElement | undefined, current: boolean): void {
  if (current) element?.setAttribute("aria-current", "true");
  else element?.removeAttribute("aria-current");
}

class SongView implements View<SongViewData> {
  private sheet: Sheet | null = null;
  private shown = "";

  constructor(private readonly root: HTMLElement) {}

  update(data: SongViewData): void {
    const wanted = JSON.stringify(data);
    if (wanted === this.shown) return this.sheet?.recolour();
    this.shown = wanted;
    this.sheet?.destroy();
    this.sheet = new Sheet(this.root, engine(), data);
  }

  destroy(): void {
    this.sheet?.destroy();
  }
}

export default component<SongViewData>(css, (root) => new SongView(root));
