// The conversation: turns in the log, the reply as it comes, each token shaded by its loop.
import {chat} from "./api.js";
import {shade} from "./depth.js";

const byId = id => document.getElementById(id);

function addTurn(role, text) {
    const turn = document.createElement("div"), paragraph = document.createElement("p"), name = document.createElement("span");
    name.className = "hidden";
    name.textContent = role === "user" ? "You: " : "Model: ";
    turn.className = `turn ${role}`;
    paragraph.append(name, text);
    turn.append(paragraph);
    byId("log").append(turn);
    return paragraph;
}

function follow() {
    const log = byId("log");
    if (log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
}

// A token, or a few of which only the last completed a character.
function addToken(paragraph, text, depths, loops) {
    const token = document.createElement("span");
    const depth = depths.at(-1);
    token.textContent = text;
    if (depth) {
        shade(token, depth, loops);
        token.title = `left after loop ${depth} of ${loops}`;
    }
    paragraph.append(token);
}

function addFacts(paragraph, facts) {
    const line = document.createElement("p");
    line.className = "facts";
    line.textContent = facts;
    paragraph.parentElement.append(line);
}

export class Conversation {
    constructor(settings) {
        this.settings = settings;
        this.messages = [];
        this.abort = null;
    }

    clear() {
        this.abort?.abort();
        this.messages = [];
        byId("log").querySelectorAll(".turn").forEach(turn => turn.remove());
        byId("hint").hidden = false;
    }

    async ask(text) {
        byId("hint").hidden = true;
        addTurn("user", text);
        this.messages.push({role: "user", content: text});
        const paragraph = addTurn("assistant", "");
        byId("log").scrollTop = byId("log").scrollHeight;
        byId("status").textContent = "The model is answering.";
        this.abort = new AbortController();
        let reply = "", last = {};
        try {
            await chat({messages: this.messages, ...this.settings.request()}, this.settings.key(), this.abort.signal, event => {
                const choice = event.choices[0];
                const content = choice?.delta.content ?? "";
                if (content) addToken(paragraph, content, event.rrt.exit_depths, this.settings.loops());
                reply += content;
                if (choice?.finish_reason) last = event;
                follow();
            });
            this.finish(paragraph, reply, last);
        } catch (error) {
            this.break(paragraph, reply, error);
        }
        follow();
        this.abort = null;
    }

    finish(paragraph, reply, {timings, rrt, choices}) {
        this.messages.push({role: "assistant", content: reply});
        const facts = [`${timings.predicted_n} tokens`, `${timings.predicted_per_second.toFixed(1)} tokens/s`];
        if (this.settings.loops() > 1) facts.push(`mean depth ${rrt.mean_depth.toFixed(2)} of ${this.settings.loops()}`);
        if (choices[0].finish_reason === "length") facts.push("cut off at the most tokens");
        addFacts(paragraph, facts.join(" · "));
        byId("status").textContent = `The model says: ${reply}`; // once, not token by token
    }

    break(paragraph, reply, error) {
        const stopped = error.name === "AbortError";
        if (reply) this.messages.push({role: "assistant", content: reply});
        else this.messages.pop(); // it can be asked again
        addFacts(paragraph, stopped ? "stopped" : "");
        if (!stopped) {
            paragraph.parentElement.classList.add("error");
            paragraph.append(`${reply ? " — " : ""}${error.message}`);
        }
        byId("status").textContent = stopped ? "Stopped." : `Error: ${error.message}`;
    }
}
