// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// Draws one series: candles, volume, a legend; asks for older candles as one scrolls back.

import {
  CandlestickSeries,
  CrosshairMode,
  HistogramSeries,
  createChart,
} from "../vendor/lightweight-charts.mjs";
import { byId, h, setText } from "./dom.js";
import { compact, decimalsOf, fixed, moment, percent } from "./format.js";
import { colours } from "./theme.js";

const READ_AHEAD_BARS = 100;
const FIRST_BAR_PX = 7;
const MOST_FIRST_BARS = 140;
const SCROLL_BARS = 12;

export class ChartPanel {
  #candles;
  #chart;
  #bars;
  #volume;
  #decimals = 2;
  #hovered = null;
  #palette = colours();

  constructor(candles) {
    this.#candles = candles;
    this.#chart = createChart(byId("chart"), this.#options());
    this.#bars = this.#chart.addSeries(CandlestickSeries, this.#barOptions());
    this.#volume = this.#chart.addSeries(HistogramSeries, {
      priceFormat: { type: "volume" },
      priceScaleId: "volume",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.1, bottom: 0.22 } });
    this.#listen();
  }

  #listen() {
    const timeScale = this.#chart.timeScale();
    timeScale.subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < READ_AHEAD_BARS) this.#candles.readOlder();
    });
    this.#chart.subscribeCrosshairMove((event) => {
      this.#hovered = event.time ? event.time * 1000 : null;
      this.#showLegend();
    });
    byId("chart").addEventListener("keydown", (event) => this.#onKey(event));
    this.#candles.on("reset", () => this.#drawAll({ isNew: true }));
    this.#candles.on("many", () => this.#drawAll({ isNew: false }));
    this.#candles.on("newest", () => this.#drawNewest());
    this.#candles.on("note", (text) => {
      const note = byId("chart-note");
      note.hidden = text === null;
      setText(note, text ?? "");
    });
  }

  /** Draws everything again in the colours of the theme in force. */
  repaint() {
    this.#palette = colours();
    this.#chart.applyOptions(this.#options());
    this.#bars.applyOptions(this.#barOptions());
    this.#drawAll({ isNew: false });
  }

  #options() {
    const { text, panel, grid, line, strong } = this.#palette;
    const border = { borderColor: line };
    return {
      autoSize: true,
      layout: {
        background: { color: panel },
        textColor: text,
        fontFamily: getComputedStyle(document.body).fontFamily,
        // The page's footer carries the attribution that the library's licence asks for.
        attributionLogo: false,
      },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: {
        mode: CrosshairMode.Normal,
        vertLine: { color: text, labelBackgroundColor: strong },
        horzLine: { color: text, labelBackgroundColor: strong },
      },
      rightPriceScale: border,
      timeScale: { ...border, timeVisible: true, secondsVisible: false, rightOffset: 6 },
    };
  }

  #barOptions() {
    const { up, down } = this.#palette;
    return {
      upColor: up,
      downColor: down,
      wickUpColor: up,
      wickDownColor: down,
      borderVisible: false,
    };
  }

  #drawAll({ isNew }) {
    const { candles } = this.#candles.series;
    this.#decimals = decimalsOf(candles.slice(-300).flatMap((c) => [c.close, c.high, c.low]));
    this.#bars.applyOptions({
      priceFormat: { type: "price", precision: this.#decimals, minMove: 10 ** -this.#decimals },
    });
    this.#bars.setData(candles.map(toBar));
    this.#volume.setData(candles.map((candle) => this.#toVolume(candle)));
    if (isNew && candles.length > 0) {
      const last = candles.length - 1;
      const bars = Math.min(MOST_FIRST_BARS, byId("chart").clientWidth / FIRST_BAR_PX);
      this.#chart.timeScale().setVisibleLogicalRange({ from: last - bars, to: last + 6 });
      this.#chart.priceScale("right").setAutoScale(true);
    }
    this.#showLegend();
  }

  #drawNewest() {
    const { newest } = this.#candles.series;
    this.#bars.update(toBar(newest));
    this.#volume.update(this.#toVolume(newest));
    this.#showLegend();
  }

  #toVolume(candle) {
    const isUp = Number(candle.close) >= Number(candle.open);
    const color = isUp ? this.#palette.upSoft : this.#palette.downSoft;
    return { time: candle.timestamp / 1000, value: Number(candle.volume), color };
  }

  #showLegend() {
    const { series } = this.#candles;
    const index = this.#hovered === null ? -1 : series.indexOf(this.#hovered);
    const candle = index >= 0 ? series.candles[index] : series.newest;
    const legend = byId("legend");
    if (candle === null) {
      legend.replaceChildren();
      return;
    }
    const change = (Number(candle.close) / Number(candle.open) - 1) * 100 || 0;
    const tone = change < 0 ? "down" : "up";
    const figure = (name, text) => h("span", {}, `${name} `, h("b", { class: tone }, text));
    legend.replaceChildren(
      h("span", {}, h("b", {}, moment(candle.timestamp))),
      figure("O", fixed(candle.open, this.#decimals)),
      figure("H", fixed(candle.high, this.#decimals)),
      figure("L", fixed(candle.low, this.#decimals)),
      figure("C", fixed(candle.close, this.#decimals)),
      figure("", percent(change)),
      h("span", {}, "Vol ", h("b", {}, compact(candle.volume))),
      h("span", {}, "Trades ", h("b", {}, compact(candle.trades))),
    );
    const said = `${this.#candles.symbol}, ${this.#candles.timeframe}: ${candle.close}`;
    byId("chart").setAttribute("aria-label", `Candlestick chart with volume, ${said}`);
  }

  #onKey(event) {
    const timeScale = this.#chart.timeScale();
    const range = timeScale.getVisibleLogicalRange();
    const actions = {
      ArrowLeft: () => timeScale.scrollToPosition(timeScale.scrollPosition() - SCROLL_BARS, false),
      ArrowRight: () => timeScale.scrollToPosition(timeScale.scrollPosition() + SCROLL_BARS, false),
      End: () => timeScale.scrollToRealTime(),
      "+": () => timeScale.setVisibleLogicalRange(zoomed(range, 0.8)),
      "=": () => timeScale.setVisibleLogicalRange(zoomed(range, 0.8)),
      "-": () => timeScale.setVisibleLogicalRange(zoomed(range, 1.25)),
    };
    const action = actions[event.key];
    if (!action || !range || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  }
}

function toBar({ timestamp, open, high, low, close }) {
  return {
    time: timestamp / 1000,
    open: Number(open),
    high: Number(high),
    low: Number(low),
    close: Number(close),
  };
}

function zoomed({ from, to }, factor) {
  return { from: to - (to - from) * factor, to };
}
