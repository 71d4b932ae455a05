"use strict";
/* A similarity map over a film: one byte a pixel, coloured here, so that opacity and threshold are sliders. */

const UNSEEN = 255, TOP = 254;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

const colours = bytesOf(COLOURS);

/* Transparent up to the threshold, then rising over three fifths of what is above it. */
function alphaOf(share, settings) {
  const rise = Math.max(0.6 * (1 - settings.threshold), 1e-6);
  return settings.opacity * Math.min(1, Math.max(0, (share - settings.threshold) / rise));
}

function drawMap(canvas, map, settings) {
  canvas.width = map.width;
  canvas.height = map.height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(map.width, map.height);
  map.levels.forEach((level, place) => {
    const at = 4 * place;
    if (level === UNSEEN) {
      const stripe = (Math.floor(place / map.width) + place % map.width) % 8 < 2;
      picture.data.set(stripe ? [150, 158, 174, 120] : [15, 18, 23, 140], at);
    } else {
      picture.data.set(colours.subarray(3 * level, 3 * level + 3), at);
      picture.data[at + 3] = Math.round(255 * alphaOf(level / TOP, settings));
    }
  });
  context.putImageData(picture, 0, 0);
}

/* The two sliders of a panel; `changed` is called after each move, and `settings` holds shares of 1. */
function readSliders(panel, changed) {
  const settings = {};
  for (const slider of panel.querySelectorAll("input[type=range]")) {
    const read = () => {
      settings[slider.name] = slider.value / 100;
      slider.nextElementSibling.textContent = `${slider.value} %`;
    };
    slider.addEventListener("input", () => { read(); changed(); });
    read();
  }
  return settings;
}

/* A panel of a report: phrases to choose from, each with its map. */
function startPanel(panel) {
  const canvas = panel.querySelector("canvas");
  const maps = new Map();
  const draw = () => {
    const chosen = panel.querySelector("input[type=radio]:checked");
    if (!maps.has(chosen.value)) {
      maps.set(chosen.value, {
        width: +chosen.dataset.width, height: +chosen.dataset.height, levels: bytesOf(chosen.dataset.levels),
      });
    }
    drawMap(canvas, maps.get(chosen.value), settings);
    for (const boxes of panel.querySelectorAll("svg g")) {
      boxes.style.display = boxes.dataset.phrase === chosen.value ? "" : "none";
    }
  };
  const settings = readSliders(panel, draw);
  panel.addEventListener("change", draw);
  draw();
}

document.querySelectorAll("figure.grounded").forEach(startPanel);
