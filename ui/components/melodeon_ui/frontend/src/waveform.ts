// A waveform that is only a picture of the engine's position: wavesurfer gets a media element of its own
// that never plays, so that two waveforms never fight over the one that does.
import WaveSurfer, { type WaveSurferOptions } from "wavesurfer.js";
import { clock } from "./dom";

const STEP_S = 5;
const LEAP_S = 30;

export type Look = Pick<WaveSurferOptions, "height" | "barWidth" | "barGap" | "barRadius" | "cursorWidth" | "plugins">;

/** A canvas needs colours, not custom properties: let the browser resolve them. */
function resolved(place: HTMLElement, colour: string): string {
  const probe = document.createElement("i");
  probe.style.color = colour;
  place.append(probe);
  const answer = getComputedStyle(probe).color;
  probe.remove();
  return answer;
}

function colours(place: HTMLElement): Pick<WaveSurferOptions, "waveColor" | "progressColor" | "cursorColor"> {
  return {
    waveColor: resolved(place, "color-mix(in srgb, var(--ink) 34%, var(--paper))"),
    progressColor: resolved(place, "var(--accent)"),
    cursorColor: resolved(place, "var(--ink)"),
  };
}

export class Waveform {
  private readonly surfer: WaveSurfer;

  constructor(private readonly place: HTMLElement, peaks: number[], duration_s: number, look: Look) {
    const silent = document.createElement("audio");
    silent.preload = "none";
    this.surfer = WaveSurfer.create({
      ...look, ...colours(place), container: place, media: silent, peaks: [peaks.length ? peaks : [0, 0]],
      duration: duration_s, interact: false, hideScrollbar: true, normalize: true, barMinHeight: 1,
    });
  }

  onReady(act: () => void): void {
    this.surfer.on("ready", act);
  }

  moveTo(position_s: number): void {
    this.surfer.setTime(position_s);
  }

  recolour(): void {
    this.surfer.setOptions(colours(this.place));
  }

  destroy(): void {
    this.surfer.destroy();
  }
}

export interface Seekable {
  position_s(): number;
  duration_s(): number;
  seek(to_s: number): void;
}

/** Make an element the seek bar: pointer, touch, keys and what a screen reader says. */
export class SeekBar {
  constructor(private readonly bar: HTMLElement, label: string, private readonly track: Seekable) {
    for (const [name, value] of [["role", "slider"], ["tabindex", "0"], ["aria-label", label], ["aria-valuemin", "0"]]) {
      bar.setAttribute(name as string, value as string);
    }
    bar.addEventListener("pointerdown", (event) => this.drag(event));
    bar.addEventListener("keydown", (event) => this.key(event));
    this.show();
  }

  show(): void {
    const duration_s = this.track.duration_s();
    const position_s = Math.min(this.track.position_s(), duration_s);
    this.bar.setAttribute("aria-valuemax", String(Math.round(duration_s)));
    this.bar.setAttribute("aria-valuenow", String(Math.round(position_s)));
    this.bar.setAttribute("aria-valuetext", `${clock(position_s)} of ${clock(duration_s)}`);
  }

  private drag(down: PointerEvent): void {
    if (down.button !== 0) return;
    const follow = (event: PointerEvent): void => {
      const { left, width } = this.bar.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - left) / width));
      this.track.seek(share * this.track.duration_s());
    };
    this.bar.setPointerCapture(down.pointerId);
    this.bar.addEventListener("pointermove", follow);
    const end = (): void => this.bar.removeEventListener("pointermove", follow);
    this.bar.addEventListener("pointerup", end, { once: true });
    this.bar.addEventListener("pointercancel", end, { once: true });
    follow(down);
  }

  private key(event: KeyboardEvent): void {
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    const now_s = this.track.position_s();
    const target_s = ({
      ArrowRight: now_s + STEP_S, ArrowUp: now_s + STEP_S, ArrowLeft: now_s - STEP_S, ArrowDown: now_s - STEP_S,
      PageUp: now_s + LEAP_S, PageDown: now_s - LEAP_S, Home: 0, End: this.track.duration_s(),
    } as Record<string, number>)[event.key];
    if (target_s === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.track.seek(Math.max(0, target_s));
  }
}
