// Leaves for another site in this tab, which Python cannot ask a browser to do: the checkout, the billing portal.
import { component, type View } from "./component";

interface DepartureData {
  url: string;
  nonce: string;
}

/** Nonces already used in this document: whoever comes back by the Back button is not sent away again. */
const gone = new Set<string>();

class Departure implements View<DepartureData> {
  update({ url, nonce }: DepartureData): void {
    if (!nonce || gone.has(nonce)) return;
    gone.add(nonce);
    const target = new URL(url, location.href);
    if (target.protocol === "https:" || target.protocol === "http:") location.assign(target);
  }

  destroy(): void {
    // Nothing is held.
  }
}

export default component<DepartureData>("", () => new Departure());
