"use strict";
// Three versions of a stem play as one: all start on the same sample of one clock, and only their gains differ.
(() => {
  const FADE_S = 0.01;
  const STEP_S = 2;
  let context = null;
  let current = null; // the player that sounds
  let chosen = null; // the player that keys go to

  class Player {
    constructor(section) {
      this.section = section;
      this.duration = Number(section.dataset.duration);
      this.start = Number(section.dataset.start);
      this.end = Number(section.dataset.end);
      this.buffers = null;
      this.sources = [];
      this.gains = {};
      this.view = "after";
      this.position = this.start;
      this.startedAt = null;
      this.button = section.querySelector(".play");
      this.cursor = section.querySelector(".cursor");
      this.clock = section.querySelector(".clock");
      this.button.addEventListener("click", () => this.toggle());
      section.addEventListener("pointerdown", () => this.choose());
      for (const button of section.querySelectorAll(".player [data-view]")) {
        button.addEventListener("click", () => this.select(button.dataset.view));
      }
      section.querySelector(".timeline").addEventListener("click", (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * this.duration);
      });
      this.select(this.view);
      this.show();
    }

    get time() {
      return this.startedAt === null ? this.position : this.position + context.currentTime - this.startedAt;
    }

    choose() {
      if (chosen) chosen.section.classList.remove("chosen");
      chosen = this;
      this.section.classList.add("chosen");
    }

    toggle() {
      return this.startedAt === null ? this.play() : this.pause();
    }

    async load() {
      if (this.buffers) return;
      const buffers = {};
      for (const holder of this.section.querySelectorAll("script[data-view]")) {
        const bytes = Uint8Array.from(atob(holder.textContent), (letter) => letter.charCodeAt(0));
        buffers[holder.dataset.view] = await context.decodeAudioData(bytes.buffer);
      }
      buffers.difference = this.subtract(buffers.after, buffers.before);
      this.buffers = buffers;
    }

    subtract(after, before) {
      const gain = 10 ** (-Number(this.section.dataset.gainDb) / 20);
      const difference = context.createBuffer(after.numberOfChannels, after.length, after.sampleRate);
      for (let channel = 0; channel < after.numberOfChannels; channel += 1) {
        const [target, high, low] = [difference, after, before].map((buffer) => buffer.getChannelData(channel));
        for (let i = 0; i < target.length; i += 1) target[i] = high[i] * gain - low[i];
      }
      return difference;
    }

    async play() {
      context = context || new AudioContext();
      if (current && current !== this) current.release();
      current = this;
      this.button.disabled = true;
      await Promise.all([context.resume(), this.load()]);
      this.button.disabled = false;
      if (this.position >= this.end) this.position = this.start;
      const when = context.currentTime + 0.05;
      for (const [name, buffer] of Object.entries(this.buffers)) {
        const source = new AudioBufferSourceNode(context, { buffer });
        const gain = new GainNode(context, { gain: name === this.view ? 1 : 0 });
        source.connect(gain).connect(context.destination);
        source.start(when, this.position - this.start);
        this.sources.push(source);
        this.gains[name] = gain;
      }
      this.startedAt = when;
      this.button.textContent = "Pause";
      this.tick();
    }

    pause() {
      const time = this.time;
      for (const source of this.sources) source.stop();
      this.sources = [];
      this.gains = {};
      this.startedAt = null;
      this.position = Math.max(this.start, time);
      this.button.textContent = "Play";
    }

    release() {
      if (this.startedAt !== null) this.pause();
      this.buffers = null;
    }

    seek(time) {
      const wasPlaying = this.startedAt !== null;
      if (wasPlaying) this.pause();
      this.position = Math.min(Math.max(this.start, time), this.end);
      this.show();
      if (wasPlaying) this.play();
    }

    select(view) {
      this.view = view;
      for (const [name, gain] of Object.entries(this.gains)) {
        gain.gain.setTargetAtTime(name === view ? 1 : 0, context.currentTime, FADE_S / 3);
      }
      for (const button of this.section.querySelectorAll(".player [data-view]")) {
        button.setAttribute("aria-pressed", String(button.dataset.view === view));
      }
      for (const figure of this.section.querySelectorAll("figure[data-view]")) {
        figure.classList.toggle("active", figure.dataset.view === view);
      }
    }

    tick() {
      if (this.startedAt === null) return;
      if (this.time >= this.end) {
        this.pause();
        this.position = this.start;
      }
      this.show();
      requestAnimationFrame(() => this.tick());
    }

    show() {
      const time = Math.max(this.start, this.time);
      this.cursor.style.left = `${(100 * time) / this.duration}%`;
      this.clock.textContent = `${Math.floor(time / 60)}:${(time % 60).toFixed(1).padStart(4, "0")}`;
    }
  }

  const players = [...document.querySelectorAll(".stem")].map((stem) => new Player(stem));
  if (players.length) players[0].choose();

  const turn = (by) => {
    const wasPlaying = chosen.startedAt !== null;
    const { view, time } = chosen;
    if (wasPlaying) chosen.pause();
    players[(players.indexOf(chosen) + by + players.length) % players.length].choose();
    chosen.select(view);
    chosen.seek(time);
    chosen.section.scrollIntoView({ block: "nearest" });
    if (wasPlaying) chosen.play();
  };

  const KEYS = {
    " ": () => chosen.toggle(),
    1: () => chosen.select("before"),
    2: () => chosen.select("after"),
    3: () => chosen.select("difference"),
    ArrowLeft: () => chosen.seek(chosen.time - STEP_S),
    ArrowRight: () => chosen.seek(chosen.time + STEP_S),
    ArrowUp: () => turn(-1),
    ArrowDown: () => turn(1),
  };

  document.addEventListener("keydown", (event) => {
    if (!chosen || !(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); // a space would also press the button that has the focus, or scroll the page
    KEYS[event.key]();
  });

  window.reverieReport = { players };
})();
