import {fetchModel} from "./api.js";
import {Charts} from "./charts.js";
import {Conversation} from "./chat.js";
import {showLegend} from "./depth.js";

const byId = id => document.getElementById(id);
let model = null;

const settings = {
    loops: () => model?.rrt.loops ?? 1,
    key: () => byId("key").value,
    request() {
        const rule = byId("rule").value;
        return {
            temperature: Number(byId("temperature").value), max_tokens: Number(byId("tokens").value) || 256,
            ...(rule ? {rrt: {exit: {rule, threshold: Number(byId("threshold").value)}}} : {}),
        };
    },
};
const conversation = new Conversation(settings);

const NOTES = {
    "": "Every token runs all loops.",
    confidence: "A token leaves once its most likely successor has at least this probability.",
    margin: "A token leaves once its most likely successor is so much more likely than the second.",
    gate: "A token leaves once the model's gate is so sure that the last loop would agree.",
};

function showSettings() {
    for (const id of ["threshold", "temperature"]) byId(`${id}-value`).value = Number(byId(id).value).toFixed(2);
    const rule = byId("rule").value;
    byId("threshold").disabled = rule === "";
    byId("rule-note").textContent = settings.loops() > 1 ? NOTES[rule] : "This model has one loop: there is nothing to leave.";
}

function showRules({loops, exit, exit_rule: usual, gate}) {
    const rule = byId("rule");
    if (!gate) rule.querySelector("[value=gate]").remove();
    rule.disabled = loops === 1;
    const has = name => [...rule.options].some(option => option.value === name);
    rule.value = loops > 1 && has(usual) ? usual : "";
    const threshold = Number(exit?.split(":")[1]);
    if (rule.value && threshold >= 0) byId("threshold").value = threshold;
}

function showModel() {
    const {id, rrt} = model;
    const shape = rrt.loops > 1 ? `${rrt.loops} loops × ${rrt.layers_per_block} layers` : `${rrt.layers} layers`;
    byId("model").textContent = `${id} · ${shape} · ${(rrt.params_total / 1e6).toFixed(0)} M parameters`;
    showLegend(byId("legend"), rrt.loops);
    showRules(rrt);
    if (!rrt.chat) {
        byId("send").disabled = byId("message").disabled = true;
        byId("hint").textContent = "This model has no chat template that rrt knows: /v1/completions serves it.";
    }
    showSettings();
}

// Until the model is loaded, or the key is right.
async function connect() {
    try {
        model = await fetchModel(settings.key());
        showModel();
        new Charts(settings.loops(), settings.key);
    } catch (error) {
        byId("model").textContent = error.message;
        setTimeout(connect, 1000);
    }
}

async function send(event) {
    event?.preventDefault();
    const text = byId("message").value.trim();
    if (!text || conversation.abort || !model) return;
    byId("message").value = "";
    byId("send").hidden = true;
    byId("stop").hidden = false;
    await conversation.ask(text);
    byId("send").hidden = false;
    byId("stop").hidden = true;
    byId("message").focus();
}

byId("form").addEventListener("submit", send);
byId("message").addEventListener("keydown", event => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
byId("stop").addEventListener("click", () => conversation.abort?.abort());
byId("new").addEventListener("click", () => {
    conversation.clear();
    byId("message").focus();
});
for (const id of ["rule", "threshold", "temperature"]) byId(id).addEventListener("input", showSettings);
showSettings();
connect();
