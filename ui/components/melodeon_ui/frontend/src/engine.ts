// The one thing that makes sound: a single Audio element per document, outside React and outside every
// component, so that page changes, reruns and server restarts cannot touch it. Components only look at it.
import { forget, openDoors, recall, remember, type Doors } from "./engine_doors";
import type { Song } from "./words";

export type Repeat = "off" | "all" | "one";
type EngineEvent = "track" | "queue" | "state" | "time" | "volume" | "mode";

/** A play counts after this much listening, or after half of a shorter song. */
const COUNTED_AFTER_S = 30;
/** Larger steps of the clock are seeks, not listening. */
const LONGEST_STEP_S = 2;
const SAVE_EVERY_S = 5;
const RETRY_AFTER_MS = 1500;
const RESTART_BEFORE_S = 3;

export class Engine {
  readonly audio = new Audio();
  queue: Song[] = [];
  index = -1;
  shuffle = false;
  repeat: Repeat = "off";
  /** May single letters (j, l, m) steer the player? People can switch it off in the queue panel. */
  letterKeys = true;
  /** A sentence when the current song cannot be played. */
  problem = "";
  api = "/api/v1";
  /** The player's last `stop` flag: only its rising edge stops the music. */
  stopFlag = false;

  private readonly bus = new EventTarget();
  private readonly doors: Doors;
  private readonly peaksByAddress = new Map<string, Promise<number[]>>();
  private unshuffled: Song[] = [];
  private wanted = false;
  private retried = false;
  private counted = false;
  private listened_s = 0;
  private last_s = 0;
  private saved_s = 0;
  private resumeAt_s: number | null = null;

  constructor() {
    this.audio.preload = "metadata";
    this.doors = openDoors(this);
    this.listen();
    this.restore();
  }

  get current(): Song | null {
    return this.queue[this.index] ?? null;
  }

  get playing(): boolean {
    return this.current !== null && !this.audio.paused && this.problem === "";
  }

  get position_s(): number {
    return this.resumeAt_s ?? this.audio.currentTime;
  }

  get duration_s(): number {
    return Number.isFinite(this.audio.duration) ? this.audio.duration : (this.current?.duration_s ?? 0);
  }

  get hasNext(): boolean {
    return this.index + 1 < this.queue.length || (this.repeat === "all" && this.queue.length > 0);
  }

  /** Listen to some events; the answer ends it. */
  on(events: EngineEvent[], listener: () => void): () => void {
    for (const event of events) this.bus.addEventListener(event, listener);
    return () => events.forEach((event) => this.bus.removeEventListener(event, listener));
  }

  /** Play these songs from one of them on; asked for the current song, pause or go on instead. */
  playQueue(songs: Song[], index: number): void {
    const song = songs[index];
    if (!song) return;
    if (this.current?.id === song.id) return this.toggle();
    this.unshuffled = [...songs];
    this.queue = this.shuffle ? [song, ...shuffled(songs.filter((other) => other !== song))] : [...songs];
    this.load(this.queue.indexOf(song));
  }

  /** Play one song from a moment on, keeping the queue around it. */
  playFrom(song: Song, at_s: number): void {
    if (this.current?.id === song.id) {
      this.seek(at_s);
      if (!this.playing) this.play();
      return;
    }
    if (!this.queue.some((other) => other.id === song.id)) this.insert(song, this.index + 1);
    this.load(this.queue.findIndex((other) => other.id === song.id), { at_s });
  }

  playNext(song: Song): void {
    this.add(song, () => this.index + 1);
  }

  enqueue(song: Song): void {
    this.add(song, () => this.queue.length);
  }

  load(index: number, { play = true, at_s = 0 } = {}): void {
    const song = this.queue[index];
    if (!song) return;
    this.index = index;
    this.problem = "";
    this.retried = this.counted = false;
    this.listened_s = 0;
    this.setSource(song, at_s);
    if (play) this.play();
    this.tell("track", "queue", "state", "time");
    this.save();
  }

  play(): void {
    if (!this.current) return;
    if (this.problem) return this.load(this.index, { at_s: this.last_s });
    this.wanted = true;
    // A refusal (no gesture yet, source replaced meanwhile) leaves the element paused, which the views show.
    this.audio.play().catch(() => this.tell("state"));
  }

  pause(): void {
    this.wanted = false;
    this.audio.pause();
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  next(): void {
    if (!this.hasNext) return;
    this.load((this.index + 1) % this.queue.length);
  }

  previous(): void {
    if (this.position_s > RESTART_BEFORE_S || this.index <= 0) this.seek(0);
    else this.load(this.index - 1);
  }

  seek(to_s: number): void {
    const at_s = Math.max(0, Math.min(to_s, this.duration_s));
    if (this.audio.readyState === HTMLMediaElement.HAVE_NOTHING) this.resumeAt_s = at_s;
    else this.audio.currentTime = at_s;
    this.tell("time");
  }

  setVolume(volume: number): void {
    this.audio.volume = Math.max(0, Math.min(1, volume));
    this.audio.muted = false;
    this.save();
  }

  toggleMute(): void {
    this.audio.muted = !this.audio.muted;
    this.save();
  }

  toggleShuffle(): void {
    const song = this.current;
    this.shuffle = !this.shuffle;
    if (this.shuffle) {
      this.unshuffled = [...this.queue];
      const others = shuffled(this.queue.filter((other) => other !== song));
      this.queue = song ? [song, ...others] : others;
    } else {
      const known = this.unshuffled.filter((one) => this.queue.includes(one));
      this.queue = [...known, ...this.queue.filter((one) => !known.includes(one))];
    }
    this.index = song ? this.queue.indexOf(song) : -1;
    this.tell("mode", "queue");
    this.save();
  }

  cycleRepeat(): void {
    this.repeat = ({ off: "all", all: "one", one: "off" } as const)[this.repeat];
    this.tell("mode", "queue");
    this.save();
  }

  setLetterKeys(on: boolean): void {
    this.letterKeys = on;
    this.tell("mode");
    this.save();
  }

  remove(index: number): void {
    const wasCurrent = index === this.index;
    const wasPlaying = this.playing;
    this.queue = this.queue.filter((_, other) => other !== index);
    if (this.queue.length === 0) return this.clear();
    if (index < this.index) this.index -= 1;
    if (wasCurrent) return this.load(Math.min(index, this.queue.length - 1), { play: wasPlaying });
    this.tell("queue");
    this.save();
  }

  /** Drop what comes after and before the current song. */
  keepOnlyCurrent(): void {
    const song = this.current;
    if (!song) return this.clear();
    this.queue = [song];
    this.index = 0;
    this.tell("queue");
    this.save();
  }

  /** Silence, and nothing left behind: the engine outlives the login, so leaving must be told to it. */
  clear({ everywhere = false } = {}): void {
    this.pause();
    this.queue = this.unshuffled = [];
    this.index = -1;
    this.problem = "";
    this.resumeAt_s = null;
    this.peaksByAddress.clear();
    this.audio.removeAttribute("src");
    this.audio.load();
    forget();
    if (everywhere) this.doors.announce("cleared");
    this.tell("track", "queue", "state", "time");
  }

  /** The loudness outline of a song, 0-1, fetched once; empty when it cannot be had. */
  peaks(song: Song): Promise<number[]> {
    let peaks = this.peaksByAddress.get(song.peaks);
    if (!peaks) {
      peaks = fetchPeaks(song.peaks).catch(() => {
        this.peaksByAddress.delete(song.peaks);
        return [];
      });
      this.peaksByAddress.set(song.peaks, peaks);
    }
    return peaks;
  }

  private add(song: Song, place: () => number): void {
    if (this.current?.id === song.id) return;
    const already = this.queue.findIndex((other) => other.id === song.id);
    if (already >= 0) {
      this.queue = this.queue.filter((_, index) => index !== already);
      if (already < this.index) this.index -= 1;
    }
    this.insert(song, place());
    if (this.index < 0) return this.load(0);
    this.tell("queue");
    this.save();
  }

  private insert(song: Song, place: number): void {
    this.queue = [...this.queue.slice(0, place), song, ...this.queue.slice(place)];
    this.unshuffled = [...this.unshuffled, song];
  }

  private setSource(song: Song, at_s: number): void {
    this.resumeAt_s = at_s > 0 ? at_s : null;
    this.last_s = this.saved_s = at_s;
    this.audio.src = song.src;
  }

  private listen(): void {
    const { audio } = this;
    audio.addEventListener("loadedmetadata", () => {
      if (this.resumeAt_s !== null) audio.currentTime = Math.min(this.resumeAt_s, this.duration_s);
      this.resumeAt_s = null;
      this.tell("time");
    });
    for (const type of ["play", "playing", "pause", "waiting", "emptied"]) {
      audio.addEventListener(type, () => this.tell("state"));
    }
    audio.addEventListener("play", () => this.doors.announce("playing"));
    audio.addEventListener("pause", () => {
      if (!audio.ended && !audio.error) this.wanted = false;
      this.save();
    });
    audio.addEventListener("seeked", () => this.tell("time"));
    audio.addEventListener("volumechange", () => this.tell("volume"));
    audio.addEventListener("timeupdate", () => this.tick());
    audio.addEventListener("ended", () => this.ended());
    audio.addEventListener("error", () => this.failed());
    window.addEventListener("pagehide", () => this.save());
  }

  private tick(): void {
    if (this.resumeAt_s !== null || !this.current) return;
    const now_s = this.audio.currentTime;
    const step_s = now_s - this.last_s;
    this.last_s = now_s;
    if (!this.audio.paused && step_s > 0 && step_s < LONGEST_STEP_S) this.listened_s += step_s;
    if (Math.abs(now_s - this.saved_s) > SAVE_EVERY_S) this.save();
    this.countPlay(this.current);
    this.tell("time");
  }

  private countPlay(song: Song): void {
    if (this.counted || this.listened_s < Math.min(COUNTED_AFTER_S, this.duration_s / 2)) return;
    this.counted = true;
    const body = JSON.stringify({ listened_s: Math.round(this.listened_s) });
    const address = `${this.api}/songs/${encodeURIComponent(song.id)}/plays`;
    navigator.sendBeacon(address, new Blob([body], { type: "application/json" }));
  }

  private ended(): void {
    if (this.repeat === "one") return this.load(this.index);
    if (this.hasNext) return this.next();
    this.load(0, { play: false });
  }

  /** A broken stream is tried once more where it broke; then the person is told. */
  private failed(): void {
    const song = this.current;
    if (!song || !this.audio.hasAttribute("src")) return;
    const at_s = this.resumeAt_s ?? this.last_s;
    if (this.retried) {
      this.problem = "This song cannot be played right now.";
      this.last_s = at_s;
      this.tell("state");
      return;
    }
    this.retried = true;
    setTimeout(() => {
      if (this.current?.id !== song.id || !this.audio.error) return;
      this.setSource(song, at_s);
      if (this.wanted) this.play();
    }, RETRY_AFTER_MS);
  }

  private save(): void {
    if (!this.current) return;
    this.saved_s = this.position_s;
    remember({
      queue: this.queue, index: this.index, position_s: this.position_s, counted: this.counted,
      volume: this.audio.volume, muted: this.audio.muted, shuffle: this.shuffle, repeat: this.repeat,
      letterKeys: this.letterKeys,
    });
  }

  private restore(): void {
    const state = recall();
    if (!state) return;
    this.queue = this.unshuffled = state.queue;
    this.shuffle = state.shuffle;
    this.repeat = state.repeat;
    this.letterKeys = state.letterKeys;
    this.audio.volume = state.volume;
    this.audio.muted = state.muted;
    this.load(state.index, { play: false, at_s: state.position_s });
    this.counted = state.counted;
    this.save();
  }

  private tell(...events: EngineEvent[]): void {
    for (const event of events) this.bus.dispatchEvent(new Event(event));
    this.doors.show();
  }
}

function shuffled<T>(things: T[]): T[] {
  const deck = [...things];
  for (let last = deck.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [deck[last], deck[other]] = [deck[other] as T, deck[last] as T];
  }
  return deck;
}

async function fetchPeaks(address: string): Promise<number[]> {
  if (!address) return [];
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`peaks: ${answer.status}`);
  const body: unknown = await answer.json();
  const peaks = Array.isArray(body) ? body : (body as { peaks?: unknown }).peaks;
  if (!Array.isArray(peaks)) throw new Error("peaks: not a list");
  return peaks.map(Number);
}

declare global {
  interface Window {
    __melodeon?: Engine;
  }
}

export function engine(): Engine {
  window.__melodeon ??= new Engine();
  return window.__melodeon;
}
