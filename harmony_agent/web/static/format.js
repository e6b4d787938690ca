// How values are shown to a person.

const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const pad = (number, width = 2) => String(number).padStart(width, "0");

export const isMoment = (value) => typeof value === "string" && MOMENT.test(value);

// Local time, `2026-08-01 14:00:00.000`.
export function localTime(text, milliseconds = true) {
  const at = new Date(text);
  const date = [at.getFullYear(), pad(at.getMonth() + 1), pad(at.getDate())].join("-");
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => pad(n)).join(":");
  return `${date} ${time}${milliseconds ? `.${pad(at.getMilliseconds(), 3)}` : ""}`;
}

// `UTC+02:00`, as it holds now.
export function zone() {
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}

// `3 d 4 h`, `5 min 10 s`, `0.4 s`: the two largest units that matter.
export function span(seconds) {
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const parts = [];
  let rest = Math.round(seconds);
  for (const [size, name] of units) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) parts.push(`${whole} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = bytes > 0 ? Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1) : 0;
  const value = bytes / 1024 ** step;
  return `${step === 0 ? value : value.toFixed(1)} ${units[step]}`;
}

// `lastVerification` and `log-system` become "Last verification" and "Log system".
export function words(name) {
  const spaced = name
    .replace(/(Seconds|Bytes)$/, "")
    .replace(/[-_.]+/g, " ")
    .replace(/([a-z0-9])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`);
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
