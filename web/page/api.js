// The server's endpoints. All that the page fetches is here.

export class ApiError extends Error {}

function headers(key) {
    return {"Content-Type": "application/json", ...(key ? {Authorization: `Bearer ${key}`} : {})};
}

async function fail(reply) {
    const body = await reply.json().catch(() => null);
    throw new ApiError(body?.error?.message ?? `the server answered ${reply.status}`);
}

export async function fetchModel(key) {
    const reply = await fetch("v1/models", {headers: headers(key)});
    if (!reply.ok) await fail(reply);
    return (await reply.json()).data[0];
}

// {name: value, or {label: value} where there is one label beside the model's name}
export async function fetchMetrics(key) {
    const reply = await fetch("metrics", {headers: headers(key)});
    if (!reply.ok) await fail(reply);
    const metrics = {};
    for (const line of (await reply.text()).split("\n")) {
        const match = /^rrt_(\w+)\{model_name="(?:[^"\\]|\\.)*"(?:,(\w+)="([^"]*)")?\} (\S+)$/.exec(line);
        if (!match) continue;
        const [, name, label, at, value] = match;
        if (label) (metrics[name] ??= {})[at] = Number(value);
        else metrics[name] = Number(value);
    }
    return metrics;
}

// Calls each(event) for every event of a streamed reply.
export async function chat(body, key, signal, each) {
    const reply = await fetch("v1/chat/completions", {
        method: "POST", headers: headers(key), signal, body: JSON.stringify({...body, stream: true}),
    });
    if (!reply.ok) await fail(reply);
    let rest = "";
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
        const {done, value} = await reader.read();
        if (done) return;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
            if (!block.startsWith("data: ") || block === "data: [DONE]") continue;
            const event = JSON.parse(block.slice(6));
            if (event.error) throw new ApiError(event.error.message);
            each(event);
        }
    }
}
