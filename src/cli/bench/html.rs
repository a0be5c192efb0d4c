//! One page with the numbers and two charts. It refers to nothing outside itself, follows the reader's light or dark
//! mode, and fits a phone.

use super::{
    arguments::Mode,
    report::{PERCENTILES, Report, Shown},
    words::{duration, thousands},
};
use std::fmt::Write as _;

impl Report {
    /// The page.
    pub(super) fn html(&self) -> String {
        let mut body = String::new();
        let title = format!("{} {}", self.arguments.mode.name(), self.arguments.url);
        let _ = write!(body, "<h1>{}</h1>\n<p>{}</p>\n", escaped(&title), escaped(&self.scenario()));
        body.push_str(&self.tiles());
        let latencies = self.latencies();
        if latencies.iter().any(|shown| shown.latencies.count() > 0) {
            let _ =
                write!(body, "<h2>Latency by percentile</h2>\n{}{}", legend(&latencies), curve(&latencies));
            body.push_str(&table(&latencies));
        }
        let (rates, each) = self.tally.timeline.rates(self.secs, POINTS);
        if rates.len() > 1 {
            let unit = self.arguments.mode.unit();
            let _ =
                write!(body, "<h2>{} a second over time</h2>\n{}", capital(unit), steps(&rates, each, unit));
        }
        body.push_str("<h2>All of it</h2>\n<dl>\n");
        for (name, text) in self.lines() {
            let _ = writeln!(body, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&text));
        }
        for threshold in self.thresholds() {
            let class = if threshold.is_met { "met" } else { "missed" };
            let _ = writeln!(body, "<dt>threshold</dt><dd class={class}>{}</dd>", escaped(&threshold.told()));
        }
        let version = env!("CARGO_PKG_VERSION");
        let _ = write!(body, "</dl>\n<footer>sockeye bench {version}</footer>\n");
        format!(
            "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
             <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
             <meta name=color-scheme content=\"light dark\">\n\
             <title>{}</title>\n<style>{STYLE}</style>\n<main>\n{body}</main>\n</html>\n",
            escaped(&title)
        )
    }

    /// The few numbers that are looked for first.
    fn tiles(&self) -> String {
        let mut tiles = Vec::new();
        if self.arguments.mode != Mode::Idle {
            tiles.push((thousands(self.rate()), format!("{} a second", self.arguments.mode.unit())));
        }
        if let Some(shown) = self.latencies().first() {
            for (name, percentile) in [PERCENTILES[0], PERCENTILES[2]] {
                tiles.push((
                    duration(shown.latencies.percentile_us(percentile)),
                    format!("{} {name}", shown.name),
                ));
            }
        }
        if let Some(us) = self.cpu_us(self.server) {
            tiles.push((duration(us), "server CPU each".to_owned()));
        }
        if let Some(each) = self.bytes_per_connection().filter(|_| self.arguments.mode == Mode::Idle) {
            tiles.push((thousands(each), "bytes a connection".to_owned()));
        }
        let tile = |(number, name): (String, String)| {
            format!("<li><b>{}</b>{}</li>\n", escaped(&number), escaped(&name))
        };
        format!("<ul class=tiles>\n{}</ul>\n", tiles.into_iter().map(tile).collect::<String>())
    }
}

/// Points of a line at most.
const POINTS: usize = 120;
/// The charts' coordinates: so narrow that their letters are readable at a phone's width.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 350.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 196.0;

const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2024;--faint:#5f6b76;--rule:#dde2e7;--first:#0b6bcb;--second:#c2410c;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e8ebee;--faint:#98a4af;--rule:#2c333a;--first:#62b0ff;--second:#ff9a62;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:46rem;margin:0 auto;padding:1rem}
h1{font-size:1.35rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}
p,footer,dt,.tiles li,th{color:var(--faint)}p{margin:0}footer{margin-top:2rem;font-size:.85rem}
.tiles{list-style:none;margin:1rem 0;padding:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.6rem}
.tiles li{border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .7rem;font-size:.85rem}
.tiles b{display:block;color:var(--ink);font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto}svg text{font:10px system-ui,sans-serif;fill:var(--faint)}
.grid{stroke:var(--rule);stroke-width:.7}.line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.s0{stroke:var(--first)}.s1{stroke:var(--second);stroke-dasharray:4 2}.area{fill:var(--first);opacity:.14}
.legend{list-style:none;margin:.2rem 0;padding:0;font-size:.85rem}
.legend svg{display:inline-block;width:1.6rem;height:.6rem;margin-right:.4rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.25rem .4rem;border-bottom:1px solid var(--rule);white-space:nowrap;font-weight:400}
th:first-child{text-align:left}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem .8rem;margin:0;font-size:.9rem}dd{margin:0;overflow-wrap:anywhere}
.missed{color:var(--bad);font-weight:600}
";

fn legend(latencies: &[Shown]) -> String {
    let mut out = String::from("<ul class=legend>\n");
    for (i, shown) in latencies.iter().enumerate() {
        let _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=true><path class=\"line s{i}\" d=\"M0 4H24\"/></svg><b>{}</b> {}</li>",
            escaped(shown.name),
            escaped(&shown.meaning)
        );
    }
    out + "</ul>\n"
}

fn table(latencies: &[Shown]) -> String {
    let head: String = PERCENTILES.iter().map(|(name, _)| format!("<th scope=col>{name}")).collect();
    let mut out = format!("<div class=wide><table>\n<tr><td><th scope=col>min{head}<th scope=col>max\n");
    for shown in latencies {
        let of = &shown.latencies;
        let _ = write!(out, "<tr><th scope=row>{}<td>{}", escaped(shown.name), duration(of.min_us()));
        for (_, percentile) in PERCENTILES {
            let _ = write!(out, "<td>{}", duration(of.percentile_us(percentile)));
        }
        let _ = writeln!(out, "<td>{}", duration(of.max_us()));
    }
    out + "</table></div>\n"
}

/// Latency over the percentile: both axes so that each further nine has the same room.
fn curve(latencies: &[Shown]) -> String {
    let count = latencies.iter().map(|shown| shown.latencies.count()).max().unwrap_or(1).max(10);
    let nines = (count as f64).log10().clamp(1.0, 6.0);
    let x = |nine: f64| LEFT + (RIGHT - LEFT) * nine / nines;
    let percentile = |nine: f64| 100.0 * (1.0 - 10f64.powf(-nine));
    let lowest = latencies.iter().map(|shown| shown.latencies.percentile_us(0.0)).fold(f64::MAX, f64::min);
    let highest = latencies.iter().map(|shown| shown.latencies.max_us()).fold(0.0, f64::max);
    let (low, high) = (lowest.max(0.01).log10().floor(), highest.max(0.1).log10().ceil());
    let high = if high > low { high } else { low + 1.0 };
    let y = |us: f64| BOTTOM - (BOTTOM - TOP) * ((us.max(0.01).log10() - low) / (high - low)).clamp(0.0, 1.0);

    let mut svg = open_svg("Latency by percentile, both axes logarithmic");
    for decade in low as i32..=high as i32 {
        grid_line(&mut svg, y(10f64.powi(decade)), &decade_name(decade));
    }
    for (nine, name) in
        ["min", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"].iter().enumerate()
    {
        if nine as f64 <= nines {
            let at = x(nine as f64);
            let anchor = anchor(at);
            // Names that would not fit beside each other take turns.
            if nines <= 5.0 || nine % 2 == 0 {
                let _ = writeln!(svg, "<text x={at:.1} y=212 text-anchor={anchor}>{name}</text>");
            }
            let _ = writeln!(svg, "<path class=grid d=\"M{at:.1} {TOP}V{BOTTOM}\"/>");
        }
    }
    for (i, shown) in latencies.iter().enumerate().rev() {
        let mut path = String::new();
        for point in 0..=POINTS {
            let nine = nines * point as f64 / POINTS as f64;
            let us = shown.latencies.percentile_us(percentile(nine));
            let _ = write!(path, "{}{:.1} {:.1}", if point == 0 { 'M' } else { 'L' }, x(nine), y(us));
        }
        let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"{path}\"/>");
    }
    svg + "</svg>\n"
}

/// What was done a second, over time.
fn steps(rates: &[f64], each: f64, unit: &str) -> String {
    let highest = rates.iter().copied().fold(0.0, f64::max).max(1e-9);
    let step = nice_step(highest / 4.0);
    let high = (highest / step).ceil() * step;
    let x = |point: f64| LEFT + (RIGHT - LEFT) * point / (rates.len() - 1) as f64;
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / high;

    let mut svg = open_svg(&format!("{} a second over time", capital(unit)));
    for line in 0..=(high / step).round() as u32 {
        let rate = f64::from(line) * step;
        grid_line(&mut svg, y(rate), &short(rate));
    }
    let secs = each * rates.len() as f64;
    let tick = nice_step(secs / 5.0);
    for i in 0..=(secs / tick + 1e-9) as u32 {
        let at = f64::from(i) * tick;
        let along = LEFT + (RIGHT - LEFT) * at / secs;
        let anchor = anchor(along);
        let _ = writeln!(svg, "<text x={along:.1} y=212 text-anchor={anchor}>{} s</text>", short(at));
    }
    let mut path = String::new();
    for (point, &rate) in rates.iter().enumerate() {
        let _ = write!(path, "{}{:.1} {:.1}", if point == 0 { 'M' } else { 'L' }, x(point as f64), y(rate));
    }
    let _ = writeln!(svg, "<path class=area d=\"{path}V{BOTTOM}H{LEFT}Z\"/>");
    let _ = writeln!(svg, "<path class=\"line s0\" d=\"{path}\"/>");
    svg + "</svg>\n"
}

fn open_svg(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{title}\">\n<title>{title}</title>\n"
    )
}

fn grid_line(svg: &mut String, y: f64, name: &str) {
    let _ = write!(
        svg,
        "<path class=grid d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\n<text x={:.1} y={:.1} text-anchor=end>{}</text>\n",
        LEFT - 5.0,
        y + 3.5,
        escaped(name)
    );
}

/// So that a name at either end of an axis is not cut off.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x < LEFT + 12.0 => "start",
        x if x > RIGHT - 12.0 => "end",
        _ => "middle",
    }
}

/// The name of 10 to the power of `decade` microseconds.
fn decade_name(decade: i32) -> String {
    let zeros = "0".repeat((decade + 3).rem_euclid(3) as usize);
    let unit = ["ns", "µs", "ms"].get(usize::try_from((decade + 3) / 3).unwrap_or(0)).copied();
    match unit {
        Some(unit) => format!("1{zeros} {unit}"),
        None => format!("{} s", 10f64.powi(decade - 6)),
    }
}

/// 1, 2 or 5 times a power of ten: the least of at least `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power)
}

/// A number with few letters: 1500 is 1.5k.
fn short(number: f64) -> String {
    let (value, unit) = match number {
        number if number >= 1e9 => (number / 1e9, "G"),
        number if number >= 1e6 => (number / 1e6, "M"),
        number if number >= 1e3 => (number / 1e3, "k"),
        number => (number, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Text in HTML, between tags or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::report, *};

    #[test]
    fn the_page_refers_to_nothing_outside_itself() {
        let page = report(&[]).html();
        for outside in ["src=", "href=", "url(", "@import", "<script", "<link", "http:", "https:", "//"] {
            // The URL that was measured is text.
            let page = page.replace("ws://", "");
            assert!(!page.contains(outside), "{outside} in\n{page}");
        }
        assert!(page.contains("prefers-color-scheme:dark") && page.contains("width=device-width"));
    }

    #[test]
    fn the_page_has_both_charts_with_two_lines_in_the_first() {
        let page = report(&["--max-p50-us", "1"]).html();
        assert_eq!(page.matches("role=img").count(), 2);
        assert_eq!(page.matches("class=\"line s1\"").count(), 2); // legend and line
        assert!(page.contains("99.9 %") && page.contains("Messages a second over time"));
        assert!(page.contains("class=missed>--max-p50-us 1: MISSED, 100"), "{page}");
    }

    #[test]
    fn texts_cannot_become_markup() {
        let mut report = report(&[]);
        report.tally.trouble("<b>\"&".to_owned());
        assert!(report.html().contains("1 × &lt;b&gt;&quot;&amp;"));
    }

    #[test]
    fn a_run_without_messages_has_a_page_too() {
        let mut report = report(&["--mode", "idle"]);
        report.tally = Default::default();
        assert!(report.html().ends_with("</html>\n"));
    }

    #[test]
    fn decades_are_named_in_the_unit_that_suits() {
        let names: Vec<_> = (-3..=8).map(decade_name).collect();
        let want = "1 ns,10 ns,100 ns,1 µs,10 µs,100 µs,1 ms,10 ms,100 ms,1 s,10 s,100 s";
        assert_eq!(names.join(","), want);
    }

    #[test]
    fn steps_of_an_axis_are_one_two_or_five() {
        assert_eq!([0.9, 1.0, 1.3, 30.0, 7_000.0].map(nice_step), [1.0, 1.0, 2.0, 50.0, 10_000.0]);
        assert_eq!([0.0, 1.5, 1_500.0, 2e6].map(short), ["0", "1.5", "1.5k", "2M"]);
    }
}
