// The words of the page in the language chosen. STRINGS is put in by the build: {en: {…}, zh: {…}}.
import { STRINGS } from "./given.js";

let language = "en";

export const LANGUAGES = Object.keys(STRINGS);

/** Choose a language for every later call of t. */
export function speak(wanted) {
  language = LANGUAGES.includes(wanted) ? wanted : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
}

/** The text of a key, with {name} replaced by what `values` has. */
export function t(key, values = {}) {
  const text = STRINGS[language][key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
