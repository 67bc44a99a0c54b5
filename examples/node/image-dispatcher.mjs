// A dispatcher of image operations, as a Lambda resolver is one: each operation is booked for its user with what it cost,
// the failed ones too. An operation without a price is kept as unpriced, not taken for a cent.

/** The handler: `providers[name](operation, args)` does the work. */
export function makeHandler(outlay, providers) {
  return async function handler(event) {
    const { operation, provider = "replicate", ...args } = event.arguments;
    const call = {
      provider,
      service: "image-operations",
      operation,
      conditions: { operation },
      user: event.identity?.claims?.sub,
      request: event.id,
    };
    const started = performance.now();
    let failed;
    try {
      return await providers[provider](operation, args);
    } catch (error) {
      failed = error;
      throw error;
    } finally {
      await outlay.record({
        ...call,
        usage: failed ? {} : { images: 1 },
        status: failed ? "failed" : "ok",
        error: failed?.name,
        duration_s: Math.round(performance.now() - started) / 1000,
      });
    }
  };
}
