// AWS' own client for Bedrock, which signs for the gateway's address: a call, a stream, a refusal.
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const client = new BedrockRuntimeClient({
  region: "us-east-1",
  endpoint: process.argv[2],
  // The key's id says who calls; the gateway signs anew with credentials of its own.
  credentials: { accessKeyId: process.argv[3], secretAccessKey: "unused" },
  // This client speaks HTTP/2 unless it is told otherwise; the gateway speaks HTTP/1.1.
  requestHandler: new NodeHttpHandler(),
});
const modelId = "anthropic.claude-3-haiku-20240307-v1:0";
const messages = [{ role: "user", content: [{ text: "Hello" }] }];
const say = (value) => console.log(JSON.stringify(value));

const answer = await client.send(new ConverseCommand({ modelId, messages, inferenceConfig: { maxTokens: 400 } }));
say({ text: answer.output.message.content[0].text, usage: answer.usage });

const words = [];
const streamed = await client.send(
  new ConverseStreamCommand({ modelId, messages, inferenceConfig: { maxTokens: 400 } }),
);
let usage;
for await (const event of streamed.stream) {
  if (event.contentBlockDelta) words.push(event.contentBlockDelta.delta.text);
  if (event.metadata) usage = event.metadata.usage;
}
say({ words, usage });

try {
  await client.send(new ConverseCommand({ modelId, messages, inferenceConfig: { maxTokens: 4_000 } }));
} catch (error) {
  say({ error: error.name, attempts: error.$metadata.attempts });
}
