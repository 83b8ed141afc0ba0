// What was just heard, as a command and as programs: curl, and OpenAI's SDKs for Python and JavaScript.
// The API key is never written into them; they read it from the environment where the server wants one.

export const LANGUAGES = ["curl", "Python", "JavaScript"];

// `body` is what is posted; `base` the address of the API with its /v1.
export function snippet(language, body, base, wantsKey) {
  const { model, input, voice, speed, ...rest } = body;
  const quoted = JSON.stringify; // What it writes is also a string of Python and of JavaScript.
  const extras = Object.entries(rest);
  if (language === "curl") {
    const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
    return [
      `curl ${shell(`${base}/audio/speech`)} \\`,
      ...(wantsKey ? ['  -H "Authorization: Bearer $KOE_API_KEY" \\'] : []),
      "  -H 'Content-Type: application/json' \\",
      `  -d ${shell(JSON.stringify({ model, input, voice, speed, ...rest, response_format: "mp3" }, null, 2))} \\`,
      "  -o speech.mp3",
    ].join("\n");
  }
  if (language === "Python") {
    return [
      ...(wantsKey ? ["import os", ""] : []),
      "from openai import OpenAI",
      "",
      `client = OpenAI(base_url=${quoted(base)}, api_key=${wantsKey ? 'os.environ["KOE_API_KEY"]' : '"none"'})`,
      "with client.audio.speech.with_streaming_response.create(",
      `    model=${quoted(model)},`,
      `    voice=${quoted(voice)},`,
      `    input=${quoted(input)},`,
      `    speed=${speed},`,
      '    response_format="mp3",',
      ...(extras.length > 0 ? [`    extra_body={${extras.map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(", ")}},`] : []),
      ") as response:",
      '    response.stream_to_file("speech.mp3")',
    ].join("\n");
  }
  return [
    'import { writeFile } from "node:fs/promises";',
    'import OpenAI from "openai";',
    "",
    `const client = new OpenAI({ baseURL: ${quoted(base)}, apiKey: ${wantsKey ? "process.env.KOE_API_KEY" : '"none"'} });`,
    "const response = await client.audio.speech.create({",
    `  model: ${quoted(model)},`,
    `  voice: ${quoted(voice)},`,
    `  input: ${quoted(input)},`,
    `  speed: ${speed},`,
    '  response_format: "mp3",',
    ...extras.map(([name, value]) => `  ${name}: ${quoted(value)},`),
    "});",
    'await writeFile("speech.mp3", Buffer.from(await response.arrayBuffer()));',
  ].join("\n");
}
