// page.js - the status page in a real browser: what test_page.py and screenshot.py ask for.
//
//     node page.js look URL DIR      every width, scheme, with and without a script; a JSON line each
//     node page.js live URL          a page that stays open; lines of standard input ask it
//     node page.js shoot URL FILE    a picture of the page, 1280 wide
//
// It knows the page by what a person sees of it. NODE_PATH has playwright-core and axe-core.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const { chromium } = require('playwright-core');

const AXE = require.resolve('axe-core/axe.min.js');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const say = (value) => process.stdout.write(JSON.stringify(value) + '\n');

function launch() {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
}

/** A page, and what went wrong on it: errors, violations of the policy, requests. */
async function open(browser, url, settings) {
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  const seen = { errors: [], requests: [] };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.errors.push(message.text());
  });
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('requestfailed', (request) => seen.errors.push(`failed: ${request.url()}`));
  page.on('request', (request) => seen.requests.push(request.url()));
  await page.goto(url);
  return { context, page, seen };
}

async function accessibility(browser, url, settings) {
  const { context, page } = await open(browser, url, { ...settings, bypassCSP: true, javaScriptEnabled: true });
  for (const summary of await page.locator('summary').all()) await summary.click();
  await page.addScriptTag({ path: AXE });
  const found = await page.evaluate((tags) => window.axe.run(document, { runOnly: tags }), RULES);
  await context.close();
  return {
    passes: found.passes.length,
    violations: found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`),
  };
}

/** Every element that a key press reaches. */
async function tabbed(page) {
  const reached = [];
  for (let n = 0; n < 60; n++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      return e === document.body ? null : `${e.tagName} ${e.textContent.trim().slice(0, 30)}`;
    });
    if (at === null || at === reached[0]) break;
    reached.push(at);
  }
  return reached;
}

/** Elements that stick out of the window. */
function wider(page) {
  return page.evaluate(() => {
    const most = document.documentElement.clientWidth;
    return [...document.querySelectorAll('body *')].filter((e) => {
      const box = e.getBoundingClientRect();
      const hidden = e.closest('thead, .skip, svg');
      return !hidden && box.width > 0 && (box.right > most + 1 || box.left < -1);
    }).map((e) => `${e.tagName}.${e.className}`);
  });
}

async function look(url, directory) {
  const browser = await launch();
  for (const width of [320, 768, 1280]) {
    for (const colorScheme of ['light', 'dark']) {
      for (const javaScriptEnabled of [true, false]) {
        const name = `${width}-${colorScheme}-${javaScriptEnabled ? 'script' : 'plain'}`;
        const settings = { viewport: { width, height: 900 }, colorScheme, javaScriptEnabled, reducedMotion: 'reduce' };
        const { context, page, seen } = await open(browser, url, settings);
        const result = {
          name, ...seen, title: await page.title(),
          text: await page.locator('body').innerText(),
          live: await page.locator('#live').innerText(),
          background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
          rows: await page.getByRole('row').count(),
          tables: await page.getByRole('table').count(),
          headings: await page.getByRole('heading').allInnerTexts(),
          charts: await page.getByRole('img').count(),
          scroll: await page.evaluate(() => document.documentElement.scrollWidth),
          wider: await wider(page),
        };
        if (javaScriptEnabled && width === 1280) result.tabbed = await tabbed(page);
        await page.screenshot({ path: path.join(directory, `${name}.png`), fullPage: true });
        await context.close();
        if (javaScriptEnabled && width !== 768) result.accessibility = await accessibility(browser, url, settings);
        say(result);
      }
    }
  }
  await browser.close();
}

/** A command is a line: press NAME, wait TEXT, unfold, unfolded, requests, text. */
async function live(url) {
  const browser = await launch();
  const { page, seen } = await open(browser, url, { viewport: { width: 1280, height: 900 } });
  const commands = {
    press: (name) => page.getByRole('button', { name }).click(),
    wait: (text) => page.getByText(text).first().waitFor({ timeout: 20000 }),
    unfold: () => page.locator('summary').first().click(),
    focus: () => page.locator('summary').first().focus(),
    focused: () => page.evaluate(() => document.activeElement.textContent),
    unfolded: () => page.locator('details').first().evaluate((e) => e.open),
    requests: () => seen.requests.length,
    errors: () => seen.errors,
    text: () => page.locator('body').innerText(),
    title: () => page.title(),
  };
  say('open');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [, name, argument] = line.match(/^(\w+) ?(.*)$/);
    say((await commands[name](argument)) ?? 'done');
  }
  await browser.close();
}

async function shoot(url, file) {
  const browser = await launch();
  const { page, context } = await open(browser, url, { viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  await page.locator('summary').first().click();
  await page.screenshot({ path: file, fullPage: true });
  await context.close();
  await browser.close();
}

const [what, url, place] = process.argv.slice(2);
if (place && what === 'look') fs.mkdirSync(place, { recursive: true });
({ look, live, shoot }[what])(url, place).catch((error) => {
  console.error(error);
  process.exit(1);
});
