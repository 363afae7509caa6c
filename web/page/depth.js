// How loops look: the first is `early`'s colour, the last `late`'s (style.css).

export function shade(element, depth, loops) {
    element.classList.add("depth");
    element.style.setProperty("--at", loops > 1 ? (depth - 1) / (loops - 1) : 1);
}

export function showLegend(list, loops) {
    list.replaceChildren(...Array.from({length: loops}, (_, i) => {
        const item = document.createElement("li");
        item.textContent = loops > 1 ? `loop ${i + 1}` : "all layers";
        shade(item, i + 1, loops);
        return item;
    }));
}

// The same shades, strong enough for a line.
export function lineColour(depth, loops) {
    const at = loops > 1 ? (depth - 1) / (loops - 1) : 1;
    return `hsl(${Math.round(145 + at * 180)} 60% 48%)`;
}
