// Live charts from the server's metrics.
import uPlot from "uplot";
import {fetchMetrics} from "./api.js";
import {lineColour} from "./depth.js";

const SECONDS = 60;
const byId = id => document.getElementById(id);
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = more => ({stroke: () => colour("--faint"), grid: {stroke: () => colour("--line"), width: 1}, ticks: {show: false},
                       font: "11px system-ui", ...more});

function open(id, series, {bars = false} = {}) {
    const element = byId(id);
    const size = () => ({width: element.clientWidth, height: element.clientHeight});
    const x = bars ? {range: (_, low, high) => [low - 0.6, high + 0.6], time: false} : {time: false};
    const chart = new uPlot({
        ...size(), scales: {x, y: {range: (_, low, high) => [0, bars ? 100 : Math.max(high * 1.1, 1)]}},
        legend: {show: false}, cursor: {show: false}, padding: [8, 16, 0, 0],
        axes: [axis(bars ? {size: 22, splits: u => u.data[0], values: (_, v) => v.map(n => `loop ${n}`), grid: {show: false}}
                         : {size: 22, values: (_, v) => v.map(n => n ? `${n} s` : "now")}),
               axis({size: 40, values: (_, v) => v.map(n => bars ? `${n} %` : n)})],
        series: [{}, ...series],
    }, series.map(() => []).concat([[]]), element);
    new ResizeObserver(() => chart.setSize(size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
    return chart;
}

const line = (stroke, label) => ({label, stroke, width: 2, points: {show: false}});

// Differences of a counter between two readings.
const grown = (now, before, name) => (now[name] ?? 0) - (before[name] ?? 0);

export class Charts {
    constructor(loops, key) {
        this.loops = loops;
        this.key = key;
        this.readings = [];
        const depths = Array.from({length: loops}, (_, i) => i + 1), colours = () => depths.map(d => lineColour(d, loops));
        this.speed = open("speed", [line(() => colour("--accent"), "replies"), line(() => colour("--faint"), "prompts")]);
        this.occupancy = open("occupancy", depths.map(d => line(lineColour(d, loops), `loop ${d}`)));
        this.depths = open("depths", [{label: "share", fill: "gray", stroke: "gray", paths: uPlot.paths.bars({
            size: [0.6, 60], disp: {fill: {unit: 3, values: colours}, stroke: {unit: 3, values: colours}},
        }), points: {show: false}}], {bars: true});
        this.read();
    }

    async read() {
        try {
            const metrics = await fetchMetrics(this.key());
            this.readings.push({at: performance.now() / 1000, ...metrics});
            while (this.readings[0].at < this.readings.at(-1).at - SECONDS) this.readings.shift();
            this.show();
        } catch {
            byId("speed-now").textContent = "no metrics";
        }
        setTimeout(() => this.read(), document.hidden ? 5000 : 500);
    }

    show() {
        const now = this.readings.at(-1), x = this.readings.map(r => Math.round((r.at - now.at) * 10) / 10);
        const rate = name => this.readings.map((r, i) => {
            const before = this.readings[Math.max(0, i - 2)]; // over a second, so that steps do not show
            return r.at > before.at ? grown(r, before, name) / (r.at - before.at) : 0;
        });
        const replies = rate("generation_tokens_total"), prompts = rate("prompt_tokens_total");
        const set = (chart, data) => {
            chart.setData(data, false);
            chart.setScale("x", {min: -SECONDS, max: 0});
        };
        set(this.speed, [x, replies, prompts]);
        byId("speed-now").textContent = `replies ${replies.at(-1).toFixed(1)}, prompts ${prompts.at(-1).toFixed(1)}; ` +
            `${now.num_requests_running} running, ${now.num_requests_waiting} waiting`;
        const rows = Array.from({length: this.loops}, (_, i) => this.readings.map(r => this.occupied(r, i + 1)));
        set(this.occupancy, [x, ...rows]);
        byId("occupancy-now").textContent = rows.map((r, i) => `loop ${i + 1}: ${r.at(-1)}`).join(", ");
        this.showDepths(now);
    }

    // A step's rows stay in the metrics when all is done; then there are none.
    occupied(reading, depth) {
        return reading.num_requests_running ? reading.batch_occupancy?.[depth] ?? 0 : 0;
    }

    showDepths(now) {
        const before = this.readings[0].exit_depth_bucket, all = grown(now.exit_depth_bucket, before, "+Inf");
        const x = Array.from({length: this.loops}, (_, i) => i + 1);
        const upTo = x.map(d => grown(now.exit_depth_bucket, before, String(d)));
        const shares = upTo.map((n, i) => all ? 100 * (n - (upTo[i - 1] ?? 0)) / all : 0);
        this.depths.setData([x, shares]);
        const sum = upTo.reduce((total, n) => total + (all - n), all); // of depths: 1 for each, and 1 for each loop not left
        byId("depths-now").textContent = all ? `mean ${(sum / all).toFixed(2)} of ${this.loops}, ${all} tokens` : "no tokens yet";
    }
}
