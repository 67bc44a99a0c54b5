// definePrompt as in a TypeScript flow library, with its costs kept: what a run may cost is reserved before the model is
// called and settled after it, for the flow's name as feature and the user of the run. The prompt stays in this process.

const CATEGORIES = [
  [/listing|caption|story/i, "content"],
  [/market|report/i, "analysis"],
  [/reply|chat/i, "assistant"],
];

/** The kind of work a flow does, by its name; the first rule that holds counts. */
export function categorizeFlow(name) {
  return CATEGORIES.find(([pattern]) => pattern.test(name))?.[1] ?? "other";
}

/**
 * A flow: `await flow(input, { userId })`. `invoke(modelId, request)` calls the model and answers
 * `{ output, usage: { inputTokens, outputTokens } }`, as Bedrock's Converse does.
 */
export function definePrompt(outlay, invoke, { name, prompt, provider = "aws", options }) {
  const { modelId, temperature = 0.7, maxTokens = 2048 } = options;
  return async function flow(input, { userId } = {}) {
    const text = prompt(input);
    const call = {
      provider,
      service: modelId,
      operation: "chat",
      feature: name,
      user: userId,
      tags: { category: categorizeFlow(name) },
      parameters: { temperature, maxTokens },
    };
    // No text has more tokens than bytes; some are added for the roles around it.
    const worst = { input_tokens: new TextEncoder().encode(text).length + 32, output_tokens: maxTokens };
    const held = await outlay.reserve({ ...call, usage: worst });
    const started = performance.now();
    const seconds = () => Math.round(performance.now() - started) / 1000;
    let answer;
    try {
      answer = await invoke(held.service, { text, temperature, maxTokens });
    } catch (error) {
      // Only the error's name: its message may quote the prompt.
      await outlay.settle(held.id, { status: "failed", error: error.name, duration_s: seconds() });
      throw error;
    }
    const usage = { input_tokens: answer.usage.inputTokens, output_tokens: answer.usage.outputTokens };
    await outlay.settle(held.id, { usage, duration_s: seconds() });
    return answer.output;
  };
}
