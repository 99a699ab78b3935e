"use strict";
// The gallery: cards of the questions that the filters leave, a page at a time. Every text is set as text.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("gallery-data"), pictures = read("gallery-pictures");
  const PAGE = 24, RIGHT = 0.5;
  const [cards, count, more] = ["cards", "count", "more"].map((id) => document.getElementById(id));
  const form = document.getElementById("filters");
  const at = new Map(data.sides.map((name, number) => [name, number]));
  let left = [], drawn = 0;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const option = (value, text) => {
    const made = element("option", text);
    made.value = value;
    return made;
  };
  const picture = (number, label) => {
    const url = pictures[number];
    if (!url) return element("span", "no picture", "none");
    const made = element("img");
    made.src = url;
    made.alt = label;
    made.decoding = "async";
    return made;
  };

  const score = (side, question) => data.chosen[side][question]?.[0];
  const answer = (side, question) => data.chosen[side][question]?.[1];
  const RELATIONS = {
    all: () => true,
    first: (a, b, q) => score(a, q) > score(b, q),
    second: (a, b, q) => score(b, q) > score(a, q),
    answers: (a, b, q) => data.chosen[b][q] && answer(a, q) !== answer(b, q),
    flipped: (a, b, q) => data.chosen[b][q] && score(a, q) !== score(b, q),
    wrong: (a, b, q) => score(a, q) < RIGHT && score(b, q) < RIGHT,
    right: (a, b, q) => score(a, q) >= RIGHT && score(b, q) >= RIGHT,
  };

  function card(q) {
    const [id, question, gold, answers, type, kind, image] = data.questions[q];
    const made = element("article"), query = element("div", undefined, "query"), about = element("div");
    made.tabIndex = -1;
    about.append(element("h3", question || "(no text)"), element("div", `gold: ${gold}`));
    const others = [...new Set(answers)].filter((text) => text !== gold);
    if (others.length) about.append(element("div", `also given: ${others.join(", ")}`, "note"));
    about.append(element("div", [`question ${id}`, type, kind].filter(Boolean).join(" · "), "note"));
    query.append(picture(image, `picture of question ${id}`), about);
    made.append(query);
    for (const name of sides()) made.append(choice(name, q));
    return made;
  }

  function choice(name, q) {
    const made = element("section"), found = data.chosen[at.get(name)][q];
    made.append(element("div", name, "note"));
    if (!found) {
      made.append(element("div", "not tried on this question"));
      return made;
    }
    const [points, text, shown, raw] = found, good = points >= RIGHT;
    const line = element("div"), mark = points > 0 ? (good ? "✓ right" : "~ partly right") : "✗ wrong";
    line.append(element("span", text || "(nothing)", "answer"), " ");
    line.append(element("span", `${mark}, ${points.toFixed(2)}`, good ? "right" : "wrong"));
    if (raw) line.append(element("span", ` wrote: ${raw}`, "note"));
    const list = element("ol", undefined, "shown");
    for (const number of shown) {
      const [asked, answered, image, row] = data.demonstrations[number], item = element("li");
      item.append(picture(image, `picture of demonstration ${row}`), element("div", asked));
      item.append(element("strong", answered));
      list.append(item);
    }
    made.append(line);
    if (shown.length) made.append(list);
    return made;
  }

  const value = (name) => form.elements[name]?.value ?? "";
  const sides = () => {
    const two = [value("first"), value("second")];
    return value("sides") === "all" ? [...new Set([...two, ...data.sides])] : [...new Set(two)];
  };

  function filter() {
    const [a, b] = [at.get(value("first")), at.get(value("second"))];
    const relation = RELATIONS[value("relation")], words = value("text").trim().toLocaleLowerCase();
    left = [];
    data.questions.forEach(([, question, gold, answers, type, kind], q) => {
      if (value("type") && value("type") !== `=${type}`) return;
      if (value("kind") && value("kind") !== `=${kind}`) return;
      const texts = [question, gold, ...answers, answer(a, q) ?? "", answer(b, q) ?? ""];
      if (words && !texts.some((text) => text.toLocaleLowerCase().includes(words))) return;
      if (relation(a, b, q)) left.push(q);
    });
    count.textContent = `${left.length.toLocaleString("en")} of ${data.questions.length.toLocaleString("en")} questions`;
    cards.replaceChildren();
    drawn = 0;
    draw();
  }

  function draw(focus = false) {
    const page = left.slice(drawn, drawn + PAGE).map(card);
    cards.append(...page);
    drawn += page.length;
    more.hidden = drawn >= left.length;
    if (focus && page.length) page[0].focus();
  }

  function choices(name, place) {
    const select = form.elements[name], counts = new Map();
    for (const question of data.questions) counts.set(question[place], (counts.get(question[place]) ?? 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1]);
    select.append(option("", "all"), ...sorted.map(([kind, n]) => option(`=${kind}`, `${kind || "none"} (${n})`)));
    select.closest("div").hidden = sorted.length < 2;
  }

  for (const [name, place] of [["first", 0], ["second", 1]]) {
    form.elements[name].append(...data.sides.map((side) => option(side, side)));
    form.elements[name].value = data.shown[place];
  }
  form.elements.relation.value = data.relation;
  choices("type", 4);
  choices("kind", 5);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);
  more.addEventListener("click", () => draw(true));
  filter();
})();
