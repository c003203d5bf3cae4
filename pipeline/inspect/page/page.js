// The sample viewer. Everything is set as text; nothing that a record holds becomes markup.
"use strict";
(() => {
  const box = document.getElementById("viewer");
  const samples = JSON.parse(document.getElementById("samples").textContent);
  if (!box || !samples.length) return;
  const pick = document.getElementById("pick");
  const stage = document.getElementById("stage");
  const place = document.getElementById("place");
  let at = 0;

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const figure = (value) => value.toLocaleString("en");

  const token = (entry, index) => {
    if (typeof entry === "number") return make("span", "gap", ` … ${figure(entry)} more tokens … `);
    const [text, id, mark] = entry;
    const span = make("span", index % 2 ? "t odd" : "t", text === "" ? "◌" : text.replaceAll("\n", "⏎\n"));
    span.title = `id ${id}`;
    if (text === "") span.classList.add("part");
    if (mark === 1) span.classList.add("stop");
    else if (mark !== undefined) span.append(make("b", "label", `→${mark}`));
    span.append(make("small", "id", String(id)));
    return span;
  };

  const stretch = (entry) => {
    const line = make("div", entry.on ? "stretch on" : "stretch off");
    const head = make("div", "who");
    head.append(make("b", "", entry.name), make("span", "", `${figure(entry.count)} ${entry.on ? "trained" : "masked"}`));
    const text = make("div", "text");
    text.append(...entry.tokens.map(token));
    line.append(head, text);
    return line;
  };

  const example = (entry, of) => {
    const part = make("article", "example");
    const lost = entry.lost ? `; ${figure(entry.lost)} more were cut` : "";
    const head = make("h4", "", of > 1 ? `example ${entry.n} of ${of}: ` : "");
    head.append(make("code", "", entry.place));
    const about = `tokens ${entry.start} to ${entry.start + entry.tokens - 1}, ` +
      `${figure(entry.trained)} of ${figure(entry.tokens)} trained${lost}`;
    part.append(head, make("p", "dim", about), ...entry.stretches.map(stretch));
    return part;
  };

  const show = (index, remember) => {
    at = (index + samples.length) % samples.length;
    const sample = samples[at];
    const label = sample.label === null ? "" : `, label ${sample.label ? "true (wanted)" : "false (unwanted)"}`;
    place.textContent = `${at + 1} of ${samples.length} · ${sample.split} row ${sample.row}: ` +
      `${figure(sample.tokens)} tokens, ${figure(sample.trained)} trained, ` +
      `${sample.of} example${sample.of > 1 ? "s" : ""}${label}`;
    const parts = sample.examples.map((entry) => example(entry, sample.of));
    if (sample.left) parts.push(make("p", "dim", `and ${sample.left} more examples in this row`));
    stage.replaceChildren(...parts);
    pick.value = String(at);
    if (remember) history.replaceState(null, "", `#sample-${at + 1}`);
  };

  samples.forEach((sample, index) => {
    const option = make("option", "", `${index + 1}. ${sample.why}`);
    option.value = String(index);
    pick.append(option);
  });
  pick.addEventListener("change", () => show(Number(pick.value), true));
  document.getElementById("back").addEventListener("click", () => show(at - 1, true));
  document.getElementById("next").addEventListener("click", () => show(at + 1, true));
  for (const name of ["borders", "ids"]) {
    const box_ = document.getElementById(name);
    const apply = () => stage.classList.toggle(name, box_.checked);
    box_.addEventListener("change", apply);
    apply();
  }
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("select, input, textarea")) return;
    if (event.key === "ArrowLeft") show(at - 1, true);
    else if (event.key === "ArrowRight") show(at + 1, true);
  });
  const wanted = /^#sample-(\d+)$/.exec(location.hash);
  show(wanted ? Number(wanted[1]) - 1 : 0, false);
  box.hidden = false;
  if (wanted) document.getElementById("samples-part").scrollIntoView();
})();
