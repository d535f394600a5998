// Keeps a page up to date. Without it the page is a picture of the moment it was opened.
(() => {
  "use strict";
  const part = document.getElementById("part");
  const log = document.getElementById("log");
  const link = document.getElementById("link");
  const live = document.querySelector("[data-live]");

  // What goes on counts on: its time when it was rendered, and what passed since.
  const begun = new WeakMap();
  const tick = () => {
    for (const it of document.querySelectorAll("[data-ms]")) {
      const known = begun.get(it);
      if (!known || known.ms !== it.dataset.ms) begun.set(it, { ms: it.dataset.ms, at: performance.now() });
      else it.textContent = duration(Number(known.ms) + performance.now() - known.at);
    }
  };
  const duration = (ms) => {
    const s = Math.floor(ms / 1000);
    if (s < 10) return (Math.floor(ms / 100) / 10).toFixed(1) + " s";
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
    return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  };
  // Times are UTC; the reader's own are a hover away.
  const local = () => {
    for (const it of document.querySelectorAll("time:not([title])")) {
      it.title = new Date(it.dateTime).toLocaleString();
    }
  };
  tick();
  local();
  setInterval(tick, 1000);
  if (!live) return;

  // Makes one node like another and leaves alone what is the same: focus, selection and what the
  // reader opened stay.
  const match = (old, now) => {
    if (old.isEqualNode(now)) return;
    if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== now.nodeName) {
      old.replaceWith(now);
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name) && name !== "open" && name !== "title") old.removeAttribute(name);
    }
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    children(old, now);
  };
  const children = (old, now) => {
    const wanted = [...now.childNodes];
    const have = [...old.childNodes];
    wanted.forEach((node, at) => (at < have.length ? match(have[at], node) : old.append(node)));
    have.slice(wanted.length).forEach((node) => node.remove());
  };

  // Lines, appended; the window follows if the reader is at its end.
  const most = 20000;
  const rest = document.getElementById("rest");
  const lines = document.getElementById("lines");
  const first = document.getElementById("first");
  const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  const append = ({ anew, lines: html, open }) => {
    const follow = atEnd();
    if (anew) log.replaceChildren(rest);
    rest.insertAdjacentHTML("beforebegin", html);
    rest.innerHTML = open;
    while (log.childElementCount > most) log.firstElementChild.remove();
    const numbers = log.getElementsByTagName("a");
    if (numbers.length > 0) {
      const [one, last] = [numbers[0].textContent, numbers[numbers.length - 1].textContent];
      lines.textContent = one === "1" ? (last === "1" ? "1 line" : last + " lines") : `Lines ${one} to ${last}`;
      first.hidden = one === "1";
    }
    if (follow) scrollTo(0, document.documentElement.scrollHeight);
  };

  let source = null;
  let from = "";
  let over = false;
  const say = (text) => { link.textContent = text; };
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    const address = new URL(live.dataset.live, location);
    if (from) address.searchParams.set("from", from);
    source = new EventSource(address);
    source.onopen = () => say("live");
    source.onerror = () => {
      const closed = source.readyState === EventSource.CLOSED;
      say(closed ? "not live any more: reload the page" : "reconnecting…");
    };
    source.addEventListener("part", (event) => {
      const { title, html, is_last } = JSON.parse(event.data);
      const now = document.createElement("template");
      now.innerHTML = html;
      // As the page has it: between line ends.
      now.content.prepend("\n");
      now.content.append("\n");
      children(part, now.content);
      document.title = title + " · garrison";
      tick();
      local();
      if (is_last) {
        over = true;
        close();
        say("");
      }
    });
    source.addEventListener("output", (event) => {
      from = event.lastEventId;
      append(JSON.parse(event.data));
    });
  };
  // Browsers hold only a few connections to one host: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", () => {
    if (over) return;
    if (document.hidden) close();
    else if (!source) open();
  });
  if (!document.hidden) open();
})();
