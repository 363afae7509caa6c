// Builds page/ into one file of HTML, with nothing to fetch: node build.mjs OUT
import {build} from "esbuild";
import {mkdirSync, readFileSync, writeFileSync} from "node:fs";
import {dirname} from "node:path";

const out = process.argv[2];
const bundle = async file => {
    const result = await build({entryPoints: [file], bundle: true, minify: true, write: false, target: "es2022", charset: "utf8"});
    return result.outputFiles[0].text.trim();
};
const style = await bundle("page/style.css");
const script = (await bundle("page/main.js")).replaceAll("</script", "<\\/script");
const html = readFileSync("page/index.html", "utf8")
    .replace("/* style */", () => style)
    .replace("/* script */", () => script);
mkdirSync(dirname(out), {recursive: true});
writeFileSync(out, html);
console.log(`${out}: ${html.length} bytes`);
