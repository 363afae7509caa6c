// Looks at the pages that `rrt report` and `rrt bench --html` write, with Debian's chromium: reads values by pointer, finger and
// keys, takes runs away, downloads the CSV, and takes pictures at desk and phone width, light and dark.
//
//     build/rrt report RUN RUN -o report.html; build/rrt bench -m MODEL --batching depth,static --exit margin:0.5 --html bench.html
//     (cd web && npm install --no-save playwright-core)
//     node web/check-pages.mjs report.html bench.html FOLDER
import {chromium} from "playwright-core";
import {readFileSync} from "node:fs";
import {resolve} from "node:path";
import {pathToFileURL} from "node:url";
import assert from "node:assert/strict";

const [report, bench, folder] = process.argv.slice(2);
const browser = await chromium.launch({executablePath: "/usr/bin/chromium", args: ["--no-sandbox"]});
const desk = {viewport: {width: 1280, height: 900}};
const phone = {viewport: {width: 390, height: 844}, deviceScaleFactor: 2, isMobile: true, hasTouch: true};
const legend = page => page.locator(".legend").first().textContent();
const curves = page => page.locator(".plot").first().locator("path").evaluateAll(paths => paths.map(p => p.getAttribute("d")).join());

async function open(path, options) {
    const page = await browser.newPage(options), url = pathToFileURL(resolve(path)).href;
    page.on("pageerror", error => assert.fail(error.message));
    page.on("request", request => assert(request.url() === url || request.url().startsWith("blob:"), `nothing is loaded: ${request.url()}`));
    await page.goto(url);
    await page.waitForFunction(() => document.querySelector(".plot line"));
    return page;
}

async function readValues(page, options) {
    const plot = page.locator(".plot").first(), before = await legend(page), place = {position: {x: 150, y: 100}};
    await (options.hasTouch ? plot.tap(place) : plot.hover(place));
    assert.notEqual(await legend(page), before, "values at the pointer");
    await plot.focus();
    await page.keyboard.press("Home");
    const first = await legend(page);
    await page.keyboard.press("End");
    assert.notEqual(await legend(page), first, "values by keys");
    await page.keyboard.press("Escape");
    assert.equal(await legend(page), before);
}

async function useTools(page) {
    const names = await page.locator("#runs label").allTextContents(), linear = await curves(page);
    await page.getByLabel("log scale").check();
    await page.waitForFunction(() => document.querySelector(".plot line"));
    assert.notEqual(await curves(page), linear, "a log scale moves the curves");
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", {name: "Download CSV"}).click()]);
    const lines = readFileSync(await download.path(), "utf8").trim().split("\n");
    assert.match(lines[0], /^"run","step","tokens",.*"heldout_kl"/);
    assert(lines.length > 2);
    await page.locator("#runs input").first().uncheck();
    if (names.length > 1) assert(!(await legend(page)).includes(names[0]), "a run that is not drawn");
    else assert.equal(await page.locator(".plot").count(), 0);
}

for (const [name, path] of [["report", report], ["bench", bench]])
    for (const colorScheme of ["light", "dark"])
        for (const [size, options] of [["desk", desk], ["phone", phone]]) {
            const page = await open(path, {...options, colorScheme});
            const width = await page.evaluate(() => document.documentElement.scrollWidth);
            assert(width <= options.viewport.width, `nothing sticks out: ${width}`);
            await page.screenshot({path: `${folder}/${name}-${size}-${colorScheme}.png`, fullPage: true});
            await readValues(page, options);
            if (name === "report") await useTools(page);
            await page.close();
        }
await browser.close();
console.log("the pages are well");
