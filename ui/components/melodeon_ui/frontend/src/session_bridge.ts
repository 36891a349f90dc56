// Trades a one-time ticket for the session cookie, which only an HTTP answer can set, without a page load.
import { component, type Trigger, type View } from "./component";
import { forget } from "./engine_doors";
import { SESSION_CHANGED } from "./job_feed";

interface BridgeData {
  api: string;
  op: "sign_in" | "sign_out" | null;
  nonce: string;
  ticket: string;
}

/** Nonces already used in this document: a remount or a theme change must not sign anybody in again. */
const used = new Set<string>();

async function exchange({ api, op, ticket }: BridgeData): Promise<boolean> {
  const request: RequestInit = {
    method: op === "sign_in" ? "POST" : "DELETE",
    credentials: "same-origin",
    headers: { "content-type": "application/json", "x-melodeon": "1" },
    body: JSON.stringify({ ticket }),
  };
  const answer = await fetch(`${api}/auth/session`, request).catch(() => null);
  return answer?.ok ?? false;
}

function silence(): void {
  if (window.__melodeon) window.__melodeon.clear({ everywhere: true });
  else forget();
}

class SessionBridge implements View<BridgeData> {
  constructor(private readonly trigger: Trigger) {}

  update(data: BridgeData): void {
    if (!data.op || !data.nonce || used.has(data.nonce)) return;
    used.add(data.nonce);
    if (data.op === "sign_out") silence();
    void exchange(data).then((ok) => {
      window.dispatchEvent(new Event(SESSION_CHANGED));
      this.trigger("done", ok);
    });
  }

  destroy(): void {
    // Nothing is held: a running exchange may end after the view.
  }
}

export default component<BridgeData>("", (_, trigger) => new SessionBridge(trigger));
