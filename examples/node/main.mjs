// node main.mjs ADDRESS: some flows and image operations against models that are made up here, then what they cost.

import { definePrompt } from "./define-prompt.mjs";
import { makeHandler } from "./image-dispatcher.mjs";
import { Outlay } from "./outlay.mjs";

const HAIKU = "anthropic.claude-3-haiku-20240307-v1:0";
const outlay = new Outlay({ address: process.argv[2] });

async function invoke(modelId, { text }) {
  if (text.includes("nobody")) throw new TypeError("the model refused: " + text);
  return { output: "A bright flat.", usage: { inputTokens: 1_000, outputTokens: 400 } };
}

const listing = definePrompt(outlay, invoke, {
  name: "listingDescription",
  prompt: ({ place }) => `Describe a flat in ${place}.`,
  options: { modelId: HAIKU, temperature: 0.3, maxTokens: 2_048 },
});

console.log(await listing({ place: "Vienna" }, { userId: "user123" }));
await listing({ place: "Graz" }, { userId: "user123" });
await listing({ place: "nobody" }, { userId: "user123" }).catch((error) => console.log("failed:", error.name));
const refused = definePrompt(outlay, invoke, {
  name: "marketReport",
  prompt: () => "Everything.",
  options: { modelId: HAIKU, maxTokens: 100_000 },
});
await refused({}, { userId: "user123" }).catch((error) => console.log("refused:", error.code, error.problem.budget));

const handler = makeHandler(outlay, {
  replicate: async () => "picture",
  stability: async (operation) => {
    if (operation === "inpaint") throw new RangeError("the provider is down");
    return "picture";
  },
});
const ask = (provider, operation) =>
  handler({ id: "r1", identity: { claims: { sub: "u42" } }, arguments: { provider, operation } });
await ask("replicate", "generateImage");
await ask("stability", "upscaleImage");
await ask("stability", "inpaint").catch((error) => console.log("failed:", error.name));

const outcomes = await outlay.recordMany([
  { provider: "openai", service: "gpt-4o", usage: { output_tokens: 1_000 }, user: "u42" },
  { provider: "openai", service: "gpt-4o", usage: { output_tokens: -1 } },
]);
console.log(outcomes.map((one) => one.outcome).join(" "));

for (const by of ["feature", "user", "provider"]) {
  const { rows, total } = await outlay.costs({ by: [by] });
  for (const { keys, cost, events, failed } of rows) console.log(by, keys[by], cost, events, failed);
  console.log(by, "total", total.cost);
}
const { data } = await outlay.get("/analytics/dashboard?days=30");
console.log("dashboard", data.currentPeriod.totalCost.toFixed(4), data.currentPeriod.totalInvocations);
