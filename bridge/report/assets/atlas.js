"use strict";
(() => {
  const player = document.getElementById("player");
  const entries = [...document.querySelectorAll(".entry")];
  const start = document.getElementById("start");
  const state = document.getElementById("state");
  let playing = null;

  function stop() {
    player.pause();
    if (playing) playing.classList.remove("playing");
    playing = null;
  }

  function play(button) {
    stop();
    playing = button;
    button.classList.add("playing");
    player.src = button.dataset.sound;
    player.play().catch((error) => { if (error.name !== "AbortError") state.textContent = String(error); });
  }

  function toggle(button) {
    if (playing === button) stop();
    else play(button);
  }

  function columns() {
    const top = entries[0].offsetTop;
    const next = entries.findIndex((entry) => entry.offsetTop !== top);
    return next < 0 ? entries.length : next;
  }

  function move(by) {
    const at = Math.max(0, entries.indexOf(document.activeElement));
    const next = entries[Math.min(entries.length - 1, Math.max(0, at + by))];
    next.focus();
    if (playing) play(next);
  }

  for (const button of [...entries, start]) button.addEventListener("click", () => toggle(button));
  player.addEventListener("ended", stop);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
    if (event.key in moves) move(moves[event.key]);
    else if (event.key === " ") toggle(entries.includes(document.activeElement) ? document.activeElement : entries[0]);
    else if (event.key === "l" || event.key === "L") {
      player.loop = !player.loop;
      state.textContent = player.loop ? "looping" : "";
    } else if (event.key === "s" || event.key === "S") toggle(start);
    else return;
    event.preventDefault();
  });
  window.reverieAtlas = { player, entries, get playing() { return playing; } };
})();
