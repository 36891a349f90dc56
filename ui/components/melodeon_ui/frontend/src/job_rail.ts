// Jobs at work: bars, stages, time left and Cancel, drawn from the event stream without any rerun.
import { component, type Trigger, type View } from "./component";
import { h, icon, iconButton } from "./dom";
import { hasEnded, jobFeed, type JobFeed } from "./job_feed";
import css from "./job_rail.css";
import type { Job } from "./words";

type Labels = Record<string, string>;

interface RailData {
  api: string;
  layout: "rail" | "panel";
  labels: Labels;
}

/** Streamlit keeps one trigger a rerun: two songs ready at once are told one after the other. */
const BETWEEN_TRIGGERS_MS = 1500;
/** Music and cover are made side by side, so a stage is over when a later column has begun. */
const STAGES = ["text", "music", "cover", "tags"];

function fill(template: string | undefined, values: Record<string, number>): string {
  return (template ?? "").replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

function timeLeft(labels: Labels, eta_s: number | null): string {
  if (eta_s === null || eta_s <= 0) return "";
  if (eta_s < 90) return fill(labels["seconds_left"], { seconds: Math.max(5, Math.round(eta_s / 5) * 5) });
  return fill(labels["minutes_left"], { minutes: Math.round(eta_s / 60) });
}

/** One job; its elements stay the same while it moves, so that a focused button keeps its focus. */
class Row {
  private readonly title = h("p", { class: "title" });
  private readonly percent = h("span", { class: "percent" });
  private readonly bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, h("span"));
  private readonly stages = h("ol", { class: "stages" });
  private readonly line = h("p", { class: "line" });
  private readonly cancel = h("button", { type: "button", class: "cancel", click: () => void this.askToCancel() });
  private readonly dismiss: HTMLButtonElement;
  private cancelling = false;
  private refused = false;
  readonly element: HTMLElement;

  constructor(private job: Job, private readonly data: RailData, feed: JobFeed) {
    this.dismiss = iconButton("close", data.labels["dismiss"] ?? "", () => feed.dismiss(job.id));
    this.dismiss.classList.add("dismiss");
    this.element = h("li", { class: "job" },
      h("div", { class: "head" }, this.title, this.percent, this.dismiss),
      this.bar,
      data.layout === "panel" ? this.stages : null,
      h("div", { class: "foot" }, this.line, this.cancel));
    this.show(job);
  }

  show(job: Job): void {
    this.job = job;
    const { labels } = this.data;
    const ended = hasEnded(job);
    const percent = Math.round(100 * Math.max(0, Math.min(1, job.state === "processed" ? 1 : job.progress)));
    this.element.dataset["state"] = job.state;
    this.title.textContent = this.title.title = job.title || (labels["untitled"] ?? "");
    this.percent.textContent = ended ? (labels[job.state] ?? job.state) : job.state === "processing" ? `${percent} %` : "";
    this.bar.hidden = ended && job.state !== "processed";
    this.bar.setAttribute("aria-label", this.title.textContent);
    this.bar.setAttribute("aria-valuenow", String(percent));
    this.bar.style.setProperty("--done", `${percent}%`);
    this.line.textContent = this.words();
    this.cancel.hidden = ended;
    this.cancel.disabled = this.cancelling;
    this.cancel.textContent = labels[this.cancelling ? "cancelling" : "cancel"] ?? "";
    this.cancel.setAttribute("aria-label", `${this.cancel.textContent} ${this.title.textContent}`);
    this.dismiss.hidden = !ended;
    this.showStages();
  }

  private words(): string {
    const { job, data: { labels } } = this;
    if (this.refused) return labels["cancel_failed"] ?? "";
    if (job.state === "processed") return "";
    if (hasEnded(job)) return job.reason ?? "";
    const left = timeLeft(labels, job.eta_s);
    const place = job.position ? fill(labels["position"], { position: job.position }) : (labels["queued"] ?? "");
    const doing = job.state === "queued" ? place : job.message || (labels[job.stage ?? "processing"] ?? "");
    return [doing, left].filter(Boolean).join(" · ");
  }

  private showStages(): void {
    const { job, data: { labels, layout } } = this;
    if (layout !== "panel") return;
    this.stages.hidden = hasEnded(job) && job.state !== "processed";
    const now = job.state === "processed" ? STAGES.length : STAGES.indexOf(job.stage ?? "");
    this.stages.replaceChildren(...STAGES.map((stage, index) =>
      h("li", { class: index < now ? "done" : index === now ? "now" : "", "aria-current": index === now ? "step" : undefined },
        index < now ? icon("check") : h("i"), labels[stage] ?? stage)));
  }

  private async askToCancel(): Promise<void> {
    this.cancelling = true;
    this.refused = false;
    this.show(this.job);
    const address = `${this.data.api}/jobs/${encodeURIComponent(this.job.id)}/cancel`;
    const answer = await fetch(address, { method: "POST", credentials: "same-origin", headers: { "X-Melodeon": "1" } }).catch(() => null);
    if (answer?.ok) return;
    this.cancelling = false;
    this.refused = true;
    this.show(this.job);
  }
}

class JobRail implements View<RailData> {
  private shown = "";
  private feed: JobFeed | null = null;
  private data: RailData | null = null;
  private stopReading = (): void => undefined;
  private told: Promise<void> = Promise.resolve();
  private readonly rows = new Map<string, Row>();
  private readonly list = h("ul", { class: "jobs" });
  private readonly balance = h("p", { class: "balance" });
  private readonly offline = h("p", { class: "offline", hidden: true });
  private readonly spoken = h("p", { class: "unseen", role: "status" });

  constructor(private readonly root: HTMLElement, private readonly trigger: Trigger) {
    root.append(this.list, this.offline, this.balance, this.spoken);
  }

  update(data: RailData): void {
    const wanted = JSON.stringify(data);
    if (wanted === this.shown) return;
    this.shown = wanted;
    this.data = data;
    this.stopReading();
    this.rows.clear();
    this.root.classList.toggle("panel", data.layout === "panel");
    this.list.setAttribute("aria-label", data.labels["jobs"] ?? "");
    this.feed = jobFeed(data.api);
    this.stopReading = this.feed.read(() => this.draw(), (job) => this.tell(job));
    this.draw();
  }

  destroy(): void {
    this.stopReading();
  }

  private tell(job: Job): void {
    this.spoken.textContent = `${job.title}: ${this.data?.labels[job.state] ?? job.state}`;
    this.told = this.told.then(() => {
      this.trigger(job.state === "processed" ? "finished" : "ended", job.id);
      return new Promise((resolve) => setTimeout(resolve, BETWEEN_TRIGGERS_MS));
    });
  }

  private draw(): void {
    const { feed, data } = this;
    if (!feed || !data) return;
    for (const [id, row] of this.rows) {
      if (feed.jobs.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    for (const [id, job] of feed.jobs) {
      const row = this.rows.get(id);
      if (row) row.show(job);
      else this.addRow(new Row(job, data, feed), id);
    }
    this.list.hidden = feed.jobs.size === 0;
    this.offline.hidden = feed.online || feed.jobs.size === 0;
    this.offline.textContent = data.labels["offline"] ?? "";
    this.drawBalance(data.labels);
  }

  private addRow(row: Row, id: string): void {
    this.rows.set(id, row);
    this.list.append(row.element);
  }

  private drawBalance(labels: Labels): void {
    const balance = this.data?.layout === "rail" ? this.feed?.balance : null;
    this.balance.hidden = !balance;
    if (!balance) return;
    const { available_credits: available, held_credits: held } = balance;
    const words = [fill(labels[available === 1 ? "balance_one" : "balance"], { available })];
    if (held > 0) words.push(fill(labels["held"], { held }));
    this.balance.textContent = words.join(" · ");
  }
}

export default component<RailData>(css, (root, trigger) => new JobRail(root, trigger));
