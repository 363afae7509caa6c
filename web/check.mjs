// Looks at the page as a user does, with Debian's chromium: chats, reads the reply as it streams, moves the slider, sees the
// charts move, works it by keyboard, and takes pictures at desk and phone width, light and dark.
//
//     build/rrt serve -m MODEL --port 8080 &          # one with loops
//     (cd web && npm install --no-save playwright-core)
//     node web/check.mjs http://127.0.0.1:8080 FOLDER
import {chromium} from "playwright-core";
import assert from "node:assert/strict";

const [url, folder] = process.argv.slice(2);
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const errors = [];

async function open(options) {
    const page = await browser.newPage(options);
    page.on("pageerror", error => errors.push(error.message));
    page.on("console", message => message.type() === "error" && errors.push(message.text()));
    await page.goto(url);
    await page.waitForFunction(() => /parameters/.test(document.getElementById("model").textContent), null, {timeout: 60000});
    return page;
}

const reply = page => page.locator(".turn.assistant").last();
const pixels = (page, id) => page.locator(`#${id} canvas`).evaluate(canvas => canvas.toDataURL());
const depths = page => reply(page).locator(".depth").evaluateAll(tokens => tokens.map(t => Number(/loop (\d+) of/.exec(t.title)[1])));

async function ask(page, text, tokens) {
    await page.evaluate(n => { document.getElementById("tokens").value = n; }, tokens);
    await page.getByLabel("Message").fill(text);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelectorAll(".turn.assistant:last-of-type .depth").length > 0);
}

const done = page => page.waitForFunction(() => document.querySelector(".turn:last-of-type .facts"), null, {timeout: 120000});

async function setThreshold(page, value) {
    const slider = page.getByLabel("Threshold");
    await slider.focus();
    await page.keyboard.press(value < 0.5 ? "Home" : "End");
    assert.equal(Number(await slider.inputValue()), value);
    assert.equal(await page.locator("#threshold-value").textContent(), value.toFixed(2));
}

const desk = await open({viewport: {width: 1280, height: 800}});
await desk.screenshot({path: `${folder}/empty.png`});
const before = {speed: await pixels(desk, "speed"), occupancy: await pixels(desk, "occupancy"), depths: await pixels(desk, "depths")};
await ask(desk, "Write a short story about a loop.", 100);
const early = (await reply(desk).textContent()).length;
await desk.waitForFunction(n => document.querySelector(".turn.assistant p").textContent.length > n + 40, early);
assert.equal(await desk.locator(".facts").count(), 0, "the reply comes as it is made");
await desk.screenshot({path: `${folder}/streaming.png`});
await done(desk);
await desk.waitForTimeout(800);
for (const id of Object.keys(before)) assert.notEqual(await pixels(desk, id), before[id], `the chart of ${id} moves`);
await setThreshold(desk, 0);
await ask(desk, "And now?", 30);
await done(desk);
const low = await depths(desk);
await setThreshold(desk, 1);
await ask(desk, "Go on.", 30);
await done(desk);
const high = await depths(desk);
const mean = list => list.reduce((a, b) => a + b, 0) / list.length;
console.log(`mean depth ${mean(low).toFixed(2)} at threshold 0, ${mean(high).toFixed(2)} at 1`);
assert(mean(low) < mean(high));
await desk.screenshot({path: `${folder}/desk.png`});

// By keyboard: from the top to the message, and a reply that is stopped.
await desk.reload();
await desk.waitForFunction(() => /parameters/.test(document.getElementById("model").textContent));
await desk.keyboard.press("Tab");
assert.equal(await desk.evaluate(() => document.activeElement.textContent), "Skip to the message");
await desk.keyboard.press("Enter");
await ask(desk, "Count to a thousand.", 1000);
await desk.getByRole("button", {name: "Stop"}).press("Enter");
await done(desk);
assert.match(await reply(desk).textContent(), /stopped/);
assert.equal(await desk.evaluate(() => document.activeElement.id), "message");
const unnamed = await desk.evaluate(() => [...document.querySelectorAll("input, textarea, select, button")]
    .filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).map(e => e.id));
assert.deepEqual(unnamed, []);

const dark = await open({viewport: {width: 1280, height: 800}, colorScheme: "dark"});
await ask(dark, "What is a recursive transformer?", 60);
await done(dark);
await dark.waitForTimeout(600);
await dark.screenshot({path: `${folder}/dark.png`});

const phone = await open({viewport: {width: 390, height: 844}, deviceScaleFactor: 2, isMobile: true, hasTouch: true});
await ask(phone, "Hello there!", 60);
await done(phone);
const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
assert(wide <= 390, `nothing sticks out on a phone: ${wide}`);
await phone.screenshot({path: `${folder}/phone.png`});
await phone.screenshot({path: `${folder}/phone-all.png`, fullPage: true});
assert.deepEqual(errors, []);
await browser.close();
console.log("the page is well");
