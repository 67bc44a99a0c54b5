// A client of an Outlay server in one file: plain fetch, no build, no dependency.
//
//   const outlay = new Outlay({ address: "https://outlay.example.com", key: process.env.OUTLAY_KEY });
//   await outlay.record({ provider: "openai", service: "gpt-4o", usage: { input_tokens: 1200, output_tokens: 350 } });
//
// Money comes as exact decimal text. Every event has an id of its own from the start, so that a retry counts once.

const TRIES = 4;
const KEPT_MAX = 10_000;
const BATCH = 500;
const AGAIN = new Set([429, 502, 503, 504]);

/** What the server refused: `code` is stable, `problem` the whole answer (a refused call names its budget). */
export class OutlayError extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? "the server refused this");
    this.name = "OutlayError";
    this.code = problem.code;
    this.status = problem.status;
    this.problem = problem;
  }
}

/** The server cannot be reached. */
export class OutlayUnreachable extends Error {
  constructor(address, cause) {
    super(`${address} cannot be reached`, { cause });
    this.name = "OutlayUnreachable";
    this.code = "server_unreachable";
  }
}

export class Outlay {
  #address;
  #headers;
  #kept = [];

  constructor({ address = process.env.OUTLAY_LEDGER, key = process.env.OUTLAY_KEY } = {}) {
    this.#address = address.replace(/\/+$/, "");
    this.#headers = { "content-type": "application/json", accept: "application/json" };
    if (key) this.#headers.authorization = `Bearer ${key}`;
  }

  /** How many events wait in this process because the server was away. */
  get waiting() {
    return this.#kept.length;
  }

  /** Keep one call. While the server is away it waits here and goes with the next one that arrives, or with flush(). */
  async record(event) {
    const told = { id: crypto.randomUUID(), time: new Date().toISOString(), ...event };
    try {
      const outcome = await this.#send("POST", "/v1/events", told);
      if (this.#kept.length) await this.flush();
      return outcome;
    } catch (error) {
      if (!(error instanceof OutlayUnreachable)) throw error;
      if (this.#kept.length >= KEPT_MAX) throw error;
      this.#kept.push(told);
      return { id: told.id, outcome: "waiting" };
    }
  }

  /** Keep many calls at once; an outcome for each, in order. */
  async recordMany(events) {
    const told = events.map((event) => ({ id: crypto.randomUUID(), ...event }));
    return (await this.#send("POST", "/v1/events", told)).outcomes;
  }

  /** Send what waits; how many events. Call it before a function's instance is frozen. */
  async flush() {
    let sent = 0;
    while (this.#kept.length) {
      const batch = this.#kept.slice(0, BATCH);
      await this.#send("POST", "/v1/events", batch);
      this.#kept.splice(0, batch.length);
      sent += batch.length;
    }
    return sent;
  }

  /** Hold what a call may cost at worst. Throws OutlayError `budget_spent` or `budget_reserved` where it does not fit. */
  async reserve(call) {
    return this.#send("POST", "/v1/reserve", { id: crypto.randomUUID(), ...call });
  }

  /** Put what happened in the place of what is held. */
  async settle(id, happened) {
    return this.#send("POST", "/v1/settle", { id, ...happened });
  }

  /** Let go of what is held: the call was not made. */
  async release(id) {
    return this.#send("POST", "/v1/release", { id });
  }

  /** Costs in groups: costs({ by: ["day", "feature"], where: { user: "u42" }, since: "2026-03-01" }). */
  async costs({ by = [], where = {}, ...rest } = {}) {
    const query = new URLSearchParams(rest);
    for (const name of by) query.append("by", name);
    for (const [name, value] of Object.entries(where)) {
      for (const one of [value].flat()) query.append(`where.${name}`, one ?? "");
    }
    return this.get(`/v1/costs?${query}`);
  }

  /** Any other resource of the server, such as /analytics/dashboard?days=30. */
  async get(path) {
    return this.#send("GET", path);
  }

  async #send(method, path, body) {
    let pause = 100;
    for (let left = TRIES - 1; ; left--) {
      let answer;
      try {
        const content = body === undefined ? undefined : JSON.stringify(body);
        answer = await fetch(this.#address + path, { method, headers: this.#headers, body: content });
      } catch (error) {
        if (!left) throw new OutlayUnreachable(this.#address, error);
      }
      if (answer?.ok) return answer.json();
      if (answer) {
        const problem = await readProblem(answer);
        const refused = String(problem.code).startsWith("budget_");
        if (!left || refused || !AGAIN.has(answer.status)) throw new OutlayError(problem);
      }
      await new Promise((go) => setTimeout(go, pause * (0.5 + Math.random())));
      pause *= 2;
    }
  }
}

async function readProblem(answer) {
  try {
    return { status: answer.status, ...(await answer.json()) };
  } catch {
    return { status: answer.status, title: answer.statusText };
  }
}
