// The engine's doors to the browser: what it remembers, the lock screen, other tabs, the keyboard.
import type { Engine, Repeat } from "./engine";
import type { Song } from "./words";

const STORAGE_KEY = "melodeon.player";
const CHANNEL = "melodeon.player";
const LONGEST_QUEUE = 200;
const KEPT_BEFORE = 50;
const JUMP_S = 10;

interface Remembered {
  queue: Song[];
  index: number;
  position_s: number;
  counted: boolean;
  volume: number;
  muted: boolean;
  shuffle: boolean;
  repeat: Repeat;
  letterKeys: boolean;
}

type Announcement = "playing" | "cleared";

export interface Doors {
  announce(what: Announcement): void;
  /** Bring the lock screen up to date. */
  show(): void;
}

export function remember(state: Remembered): void {
  const from = Math.max(0, state.index - KEPT_BEFORE);
  const kept = { ...state, queue: state.queue.slice(from, from + LONGEST_QUEUE), index: state.index - from };
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(kept));
  } catch {
    // Private windows and full disks: the music goes on, only the memory is missing.
  }
}

export function recall(): Remembered | null {
  try {
    const state = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "null") as Remembered | null;
    const usable = state && Array.isArray(state.queue) && state.queue[state.index]?.src;
    return usable ? state : null;
  } catch {
    return null;
  }
}

export function forget(): void {
  try {
    localStorage.removeItem(STORAGE_KEY);
  } catch {
    // Storage is closed to us, so nothing is in it.
  }
}

export function openDoors(engine: Engine): Doors {
  listenToKeys(engine);
  return { announce: joinTabs(engine), show: showOnLockScreen(engine) };
}

/** Only one tab plays, and leaving in one tab silences all of them. */
function joinTabs(engine: Engine): (what: Announcement) => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.addEventListener("message", (event: MessageEvent<Announcement>) => {
    if (event.data === "playing") engine.pause();
    if (event.data === "cleared") engine.clear();
  });
  return (what) => channel.postMessage(what);
}

/** No seekbackward/seekforward handlers: with them phones show jumps instead of next and previous. */
function showOnLockScreen(engine: Engine): () => void {
  const session = navigator.mediaSession;
  if (!session) return () => undefined;
  session.setActionHandler("play", () => engine.play());
  session.setActionHandler("pause", () => engine.pause());
  session.setActionHandler("stop", () => engine.pause());
  session.setActionHandler("previoustrack", () => engine.previous());
  session.setActionHandler("nexttrack", () => engine.next());
  session.setActionHandler("seekto", (details) => engine.seek(details.seekTime ?? 0));
  let shown: Song | null = null;
  return () => {
    const song = engine.current;
    session.playbackState = song ? (engine.playing ? "playing" : "paused") : "none";
    if (song !== shown) session.metadata = song && describe(song);
    shown = song;
    const duration = engine.duration_s;
    if (song && duration > 0) session.setPositionState({ duration, position: Math.min(engine.position_s, duration) });
  };
}

function describe(song: Song): MediaMetadata {
  const artwork = song.cover ? [{ src: new URL(song.cover, location.href).href }] : [];
  return new MediaMetadata({ title: song.title, artist: song.artist, artwork });
}

const OWN_KEYS = /^(slider|listbox|option|tab|menuitem|menuitemradio|gridcell|grid|spinbutton|combobox|textbox)$/;

function needsItsKeys(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT|CANVAS)$/.test(target.tagName)) return true;
  if (OWN_KEYS.test(target.getAttribute("role") ?? "")) return true;
  return event.key === " " && /^(BUTTON|A|SUMMARY)$/.test(target.tagName);
}

function listenToKeys(engine: Engine): void {
  const act = (event: KeyboardEvent): boolean => {
    const { key } = event;
    if (key === " ") engine.toggle();
    else if (key === "ArrowRight" && event.shiftKey) engine.next();
    else if (key === "ArrowLeft" && event.shiftKey) engine.previous();
    else if (!engine.letterKeys) return false;
    else if (key === "l") engine.seek(engine.position_s + JUMP_S);
    else if (key === "j") engine.seek(engine.position_s - JUMP_S);
    else if (key === "m") engine.toggleMute();
    else return false;
    return true;
  };
  const onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || !engine.current || needsItsKeys(event)) return;
    if (!act(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  window.addEventListener("keydown", onKey, true);
}
