// One event stream per document, however many views show it; it outlives page changes.
import type { Balance, Job } from "./words";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** What arrives this soon after the first event of a connection is the picture of now; later events are news. */
const SNAPSHOT_MS = 1000;
/** A success or a cancellation stays in sight this long; a failure until it is dismissed. */
const GOODBYE_MS = 6000;

/** Fired on `window` when somebody signed in or out: the stream belongs to the cookie it was opened with. */
export const SESSION_CHANGED = "melodeon:session";

export const hasEnded = (job: Job): boolean => job.state !== "queued" && job.state !== "processing";

export class JobFeed {
  /** Jobs at work, and those that ended while this page watched, until dismissed. */
  readonly jobs = new Map<string, Job>();
  balance: Balance | null = null;
  online = true;

  private readonly bus = new EventTarget();
  private readonly finished = new Set<string>();
  /** Jobs that this connection has told of. */
  private readonly told = new Set<string>();
  private source: EventSource | null = null;
  private firstEventAt_ms = Infinity;
  private wait_ms = FIRST_WAIT_MS;
  private timer = 0;
  private readers = 0;

  constructor(private readonly api: string) {
    window.addEventListener(SESSION_CHANGED, () => this.startAgain());
  }

  /** Read the feed; `onEnd` hears each job that ends after it was at work, exactly once. The answer ends it. */
  read(onChange: () => void, onEnd: (job: Job) => void): () => void {
    const end = (event: Event): void => onEnd((event as CustomEvent<Job>).detail);
    this.bus.addEventListener("change", onChange);
    this.bus.addEventListener("end", end);
    this.readers += 1;
    if (!this.source) this.connect();
    return () => {
      this.bus.removeEventListener("change", onChange);
      this.bus.removeEventListener("end", end);
      this.readers -= 1;
      // A page change unmounts one view and mounts the next: close only when nobody came back.
      setTimeout(() => this.readers === 0 && this.disconnect(), SNAPSHOT_MS);
    };
  }

  dismiss(id: string): void {
    this.jobs.delete(id);
    this.changed();
  }

  private connect(): void {
    clearTimeout(this.timer);
    const source = new EventSource(`${this.api}/events`);
    this.source = source;
    source.addEventListener("open", () => {
      this.firstEventAt_ms = Infinity;
      this.wait_ms = FIRST_WAIT_MS;
      this.online = true;
      this.told.clear();
      this.changed();
    });
    source.addEventListener("job", (event) => {
      const job = JSON.parse(event.data) as Job;
      this.noteEvent();
      this.told.add(job.id);
      this.take(job);
    });
    source.addEventListener("balance", (event) => {
      this.noteEvent();
      this.balance = JSON.parse(event.data) as Balance;
      this.changed();
    });
    source.addEventListener("error", () => this.broken(source));
  }

  /** The browser reconnects by itself after a lost connection, but gives up after a refusal: we do not. */
  private broken(source: EventSource): void {
    this.online = false;
    this.changed();
    if (source.readyState !== EventSource.CLOSED || source !== this.source) return;
    this.timer = setTimeout(() => this.connect(), this.wait_ms);
    this.wait_ms = Math.min(2 * this.wait_ms, LONGEST_WAIT_MS);
  }

  private disconnect(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private startAgain(): void {
    this.disconnect();
    this.jobs.clear();
    this.balance = null;
    this.changed();
    if (this.readers > 0) this.connect();
  }

  private noteEvent(): void {
    if (this.firstEventAt_ms < Infinity) return;
    this.firstEventAt_ms = performance.now();
    setTimeout(() => this.askForUntold(), SNAPSHOT_MS);
  }

  /** The picture of a new connection holds no job that ended long before it while we were away. */
  private askForUntold(): void {
    for (const job of this.jobs.values()) if (!hasEnded(job) && !this.told.has(job.id)) void this.ask(job.id);
  }

  private async ask(id: string): Promise<void> {
    const answer = await fetch(`${this.api}/jobs/${id}`).catch(() => null);
    if (answer?.ok) this.take(((await answer.json()) as { data: Job }).data);
    else if (answer?.status === 404) this.dismiss(id);
  }

  private take(job: Job): void {
    const isNews = performance.now() - this.firstEventAt_ms > SNAPSHOT_MS;
    if (hasEnded(job) && !this.jobs.has(job.id) && !isNews) return;
    if (this.finished.has(job.id)) return;
    const before = this.jobs.get(job.id);
    this.jobs.set(job.id, job);
    if (job.state === "processed" || job.state === "cancelled") setTimeout(() => this.dismiss(job.id), GOODBYE_MS);
    if (job.state === "processed") this.finished.add(job.id);
    const wasAtWork = before !== undefined && !hasEnded(before);
    if (job.state === "processed" || (hasEnded(job) && wasAtWork)) {
      this.bus.dispatchEvent(new CustomEvent("end", { detail: job }));
    }
    this.changed();
  }

  private changed(): void {
    this.bus.dispatchEvent(new Event("change"));
  }
}

declare global {
  interface Window {
    __melodeonJobs?: Record<string, JobFeed>;
  }
}

export function jobFeed(api: string): JobFeed {
  const feeds = (window.__melodeonJobs ??= {});
  return (feeds[api] ??= new JobFeed(api));
}
