// An agent: a model that asks for tools until it has an answer. The conversation is an ordinary array, and it survives.
import { action, workflow } from "waymark";

interface Message {
  role: "user" | "assistant" | "tool";
  text: string;
}

interface Turn {
  tool?: { name: string; input: string };
  answer?: string;
}

/** Stands for a call of a language model: it asks for two tools, then answers. */
export const think = action(
  "think",
  { retry: { attempts: 5 }, backoff: { baseDelay: "2s", jitter: "full" }, timeout: "1m" },
  async (conversation: Message[]): Promise<Turn> => {
    const results = conversation.filter((message) => message.role === "tool");
    if (results.length === 0) return { tool: { name: "weather", input: "Vienna" } };
    if (results.length === 1) return { tool: { name: "calendar", input: "today" } };
    return { answer: results.map((message) => message.text).join("; ") };
  },
);

export const weather = action("weather", async (city: string) => `sunny in ${city}`);
export const calendar = action("calendar", async (day: string) => `nothing on ${day}`);

const tools = { weather, calendar };
const turnsMax = 10;

export const agent = workflow("agent", async (question: string) => {
  const conversation: Message[] = [{ role: "user", text: question }];
  for (let turn = 0; turn < turnsMax; turn++) {
    const { tool, answer } = await think(conversation);
    if (answer !== undefined) return { answer, turns: turn + 1 };
    if (tool) {
      conversation.push({ role: "assistant", text: `use ${tool.name}` });
      const call = tools[tool.name as keyof typeof tools];
      conversation.push({ role: "tool", text: await call(tool.input) });
    }
  }
  throw new Error(`no answer after ${turnsMax} turns`);
});
