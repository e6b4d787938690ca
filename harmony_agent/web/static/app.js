// Starts the page: token, theme, status every ten seconds, the log.

import { ApiError, ask, token } from "./api.js";
import { find } from "./dom.js";
import { LogView } from "./log.js";
import { showStatus, showVerdict } from "./status.js";

const STATUS_PERIOD = 10_000; // ms
const THEMES = ["system", "light", "dark"];
const THEME = "harmony-agent-theme";

const log = new LogView(needsToken);
let statusTimer = null;

async function refreshStatus() {
  clearTimeout(statusTimer);
  try {
    showStatus(await ask("/api/status"));
    find("status-problem").textContent = "";
  } catch (error) {
    if (needsToken(error)) return;
    if (!(error instanceof ApiError)) throw error;
    showVerdict(error.status ? "No access" : "Unreachable", "failed");
    find("status-problem").textContent = error.message;
  }
  statusTimer = setTimeout(refreshStatus, document.hidden ? 6 * STATUS_PERIOD : STATUS_PERIOD);
}

// Whether `error` means that a (right) token is missing; then the page asks for one.
function needsToken(error) {
  if (error.status !== 401) return false;
  const wasWrong = Boolean(token.get());
  token.forget();
  clearTimeout(statusTimer);
  showVerdict("Token needed", "trouble");
  find("content").hidden = true;
  find("forget").hidden = true;
  find("sign-in").hidden = false;
  if (wasWrong) find("token-problem").textContent = "The agent does not accept this token.";
  find("token").focus();
  return true;
}

async function begin() {
  find("sign-in").hidden = true;
  find("content").hidden = false;
  find("forget").hidden = !token.get();
  await refreshStatus();
  if (find("sign-in").hidden) await log.reload();
}

function startTokens() {
  find("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    find("token-problem").textContent = "";
    token.set(find("token").value.trim());
    find("token").value = "";
    begin();
  });
  find("forget").addEventListener("click", () => {
    token.forget();
    location.reload();
  });
}

function startThemes() {
  const button = find("theme");
  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  let current = THEMES.indexOf(localStorage.getItem(THEME));
  if (current < 0) current = 0;
  apply(THEMES[current]);
  button.addEventListener("click", () => {
    current = (current + 1) % THEMES.length;
    localStorage.setItem(THEME, THEMES[current]);
    apply(THEMES[current]);
  });
}

startThemes();
startTokens();
log.start();
begin();
