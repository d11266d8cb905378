// Ask a served model from Node: node client.js [TARGET]. The .proto files are the contract; nothing else is needed.
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const target = process.argv[2] ?? "127.0.0.1:50051";
const root = path.resolve(__dirname, "../..");
const definition = loader.loadSync("moesaic/v1/inference.proto", { includeDirs: [root], enums: String, oneofs: true, defaults: true });
const { InferenceService } = grpc.loadPackageDefinition(definition).moesaic.v1;

const client = new InferenceService(target, grpc.credentials.createInsecure());
const request = {
  messages: [{ role: "ROLE_USER", content: "Why are leaves green?" }],
  sampling: { maxTokens: 64, temperature: 0 },
};
const stream = client.ChatStream({ request }, { deadline: Date.now() + 60_000 });
stream.on("data", (event) => {
  if (event.event === "delta") process.stdout.write(event.delta.text);
  if (event.event === "finished") console.log(`\n[${event.finished.usage.completionTokens} tokens]`);
});
stream.on("error", (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
});
stream.on("end", () => client.close());
