// The official OpenAI client: a completion, a stream, a tool call, a refusal. Prints one line of JSON for each.
import OpenAI from "openai";

const client = new OpenAI({
  apiKey: "sk-own",
  baseURL: process.argv[2],
  maxRetries: 0,
  defaultHeaders: { "x-outlay-user": "ada", "x-outlay-feature": "chat" },
});
const messages = [{ role: "user", content: "Hello" }];
const say = (value) => console.log(JSON.stringify(value));

const { data, response } = await client.chat.completions
  .create({ model: "gpt-4o", messages, max_tokens: 100 })
  .withResponse();
say({ text: data.choices[0].message.content, cost: response.headers.get("x-outlay-cost") });

const words = [];
const stream = await client.chat.completions.create({ model: "gpt-4o", messages, max_tokens: 100, stream: true });
for await (const chunk of stream) words.push(chunk.choices[0]?.delta?.content ?? "");
say({ words });

const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
const called = await client.chat.completions.create({ model: "gpt-4o", messages, tools, max_tokens: 100 });
say({ tool: called.choices[0].message.tool_calls[0].function.name });

const left = await client.chat.completions.create({ model: "gpt-4o", messages, max_tokens: 100, stream: true });
for await (const chunk of left) {
  say({ first: chunk.choices[0].delta.content });
  break; // The client leaves: its connection is closed, and the gateway reads the rest.
}

try {
  await client.chat.completions.create({ model: "gpt-4o", messages, max_tokens: 1_000_000 });
} catch (error) {
  say({ error: error.constructor.name, status: error.status, code: error.code });
}
