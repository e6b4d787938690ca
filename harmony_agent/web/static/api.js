// Asks the agent's API. The token lives in this tab's session storage and nowhere else.

const TOKEN = "harmony-agent-token";
const LIMIT = 100_000; // ms; the agent itself gives up a search after 90 s

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

// The JSON answer of GET `path`; throws ApiError (status 0: nothing answered), or AbortError if
// `signal` was aborted.
export async function ask(path, params, signal) {
  const query = new URLSearchParams(params).toString();
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const limits = [AbortSignal.timeout(LIMIT), ...(signal ? [signal] : [])];
  let answer;
  let content;
  try {
    answer = await fetch(query ? `${path}?${query}` : path, {
      headers,
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.any(limits),
    });
    content = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The agent does not answer.");
  }
  if (!answer.ok) throw new ApiError(answer.status, content.message ?? `HTTP ${answer.status}`);
  return content;
}
