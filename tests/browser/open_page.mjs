// Opens a page of rolecall in Chromium, in light and dark, and prints what it finds as JSON. tests/it/pages.rs judges it.
//
// node open_page.mjs '{ "page": FILE, "profile": EMPTY_DIRECTORY, "chromium": FILE, "screenshots": DIRECTORY or null,
//                       "actions": [[NAME, ARGUMENT …], …] }'
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { page: file, profile, chromium: executablePath, screenshots, actions } = JSON.parse(process.argv[2]);
const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const result = { console: [], requests: [], violations: [], axe: {}, actions: [] };

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

// Everything but the page itself is a request that a page must not make.
const url = pathToFileURL(file).href;
await context.route("**", (route) => (route.request().url() === url ? route.continue() : route.abort()));
context.on("request", (request) => {
  if (request.url() !== url) result.requests.push(request.url());
});

const page = context.pages()[0] ?? (await context.newPage());
page.on("console", (message) => {
  if (message.type() === "error" || message.type() === "warning") result.console.push(message.text());
});
page.on("pageerror", (error) => result.console.push(String(error)));
await page.addInitScript(() => {
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    globalThis.violations.push(`${event.violatedDirective}: ${event.blockedURI}`),
  );
});

// Returns the faults that axe-core calls serious or critical.
const axe = async () => {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => (await globalThis.axe.run(document)).violations);
  return found
    .filter((fault) => fault.impact === "serious" || fault.impact === "critical")
    .map((fault) => `${fault.id}: ${fault.help}: ${fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 300)).join(" | ")}`);
};

const focused = () =>
  page.evaluate(() => {
    const node = document.activeElement;
    const name = node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent;
    return `${node.localName} ${name.trim().replace(/\s+/g, " ").slice(0, 60)}`;
  });

const handlers = {
  // Types into the field, and returns the text of the status when it has changed.
  async type(selector, text, status) {
    const before = await page.textContent(status);
    const start = Date.now();
    await page.fill(selector, text);
    await page.waitForFunction(([status, before]) => document.querySelector(status).textContent !== before, [status, before]);
    return { status: await page.textContent(status), milliseconds: Date.now() - start };
  },
  async press(key) {
    await page.keyboard.press(key);
    return focused();
  },
  async focus(selector) {
    await page.focus(selector);
    return focused();
  },
  // Presses a key until the focus is on an element that matches.
  async tab_to(selector, limit) {
    for (let presses = 1; presses <= limit; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return presses;
    }
    return null;
  },
  text: (selector) => page.locator(selector).first().innerText(),
  count: (selector) => page.locator(selector).count(),
  async select(selector, value, status) {
    await page.selectOption(selector, value);
    await page.waitForTimeout(300);
    return page.textContent(status);
  },
  attribute: (selector, name) => page.getAttribute(selector, name),
  // Returns the names of all elements, each once.
  elements: () => page.evaluate(() => [...new Set([...document.querySelectorAll("*")].map((node) => node.localName))].sort()),
  // Returns the attributes that run a script.
  handlers: () =>
    page.evaluate(() =>
      [...document.querySelectorAll("*")].flatMap((node) =>
        [...node.attributes].map((attribute) => attribute.name).filter((name) => name.startsWith("on")),
      ),
    ),
  global: (name) => page.evaluate((name) => typeof globalThis[name], name),
  async screenshot(name, selector) {
    if (screenshots === null) return null;
    const path = join(screenshots, `${name}.png`);
    if (selector) await page.locator(selector).first().screenshot({ path });
    else await page.screenshot({ path, fullPage: false });
    return path;
  },
};

for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  const start = Date.now();
  await page.goto(url, { waitUntil: "load" });
  await page.waitForFunction(() => document.documentElement.dataset.ready === "true", null, { timeout: 120_000 });
  result[`interactive_${colorScheme}`] = Date.now() - start;
  if (screenshots !== null) {
    const name = `${file.split("/").pop()}-${colorScheme}.png`;
    await page.screenshot({ path: join(screenshots, name), fullPage: true });
  }
  result.axe[colorScheme] = await axe();
}
for (const [name, ...args] of actions) result.actions.push(await handlers[name](...args));
result.violations = await page.evaluate(() => globalThis.violations);
await context.close();
console.log(JSON.stringify(result));
