//! From a chart to SVG: the frame, the axes, the marks, in painting order.

use super::{
    Bar, Chart, Line, Spacing, XAxis,
    scale::{Scale, Ticks, date_ticks, day_number},
};
use crate::report::markup::Html;

/// Room around the plotting area; the right side holds the names of lines and levels.
const LEFT: f64 = 58.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 30.0;
const BOTTOM_LABELLED: f64 = 46.0;
/// The distance two names at the right end keep.
const NAME_GAP: f64 = 14.0;
/// The width of a letter of a name, about.
const LETTER: f64 = 7.0;
/// The room for names in every chart over dates, so that their axes stand below each other.
const DATE_NAMES: f64 = 146.0;
const VERTICAL_TICKS: usize = 5;

/// The chart as an `<svg>` element.
pub(in crate::report) fn draw(chart: &Chart) -> Html {
    let area = Area::of(chart);
    let mut svg = Html::new();
    svg.raw("<svg role=\"img\" viewBox=\"0 0 ").px(chart.size.width).raw(" ").px(chart.size.height);
    svg.raw("\" aria-labelledby=\"").text(chart.id).raw("-t ").text(chart.id).raw("-d\">");
    svg.raw("<title id=\"").text(chart.id).raw("-t\">").text(&chart.title).raw("</title>");
    svg.raw("<desc id=\"").text(chart.id).raw("-d\">").text(&chart.description).raw("</desc>");
    area.draw_grid(chart, &mut svg);
    area.draw_bands(chart, &mut svg);
    for bar in &chart.bars {
        area.draw_bar(bar, &mut svg);
    }
    area.draw_zero(&mut svg);
    area.draw_levels(chart, &mut svg);
    for line in &chart.lines {
        area.draw_line(line, &mut svg);
    }
    area.draw_names(chart, &mut svg);
    area.draw_strips(chart, &mut svg);
    svg.raw("</svg>");
    svg
}

/// The plotting area and its two scales.
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: Scale,
    y: Scale,
    ticks: Ticks,
}

impl Area {
    fn of(chart: &Chart) -> Area {
        let longest =
            chart.lines.iter().map(|line| &line.name).chain(chart.levels.iter().map(|level| &level.name));
        let letters = longest.map(|name| name.chars().count()).max().unwrap_or(0);
        let names = if letters == 0 { 12.0 } else { letters as f64 * LETTER + 18.0 };
        let names = if matches!(chart.x, XAxis::Dates { .. }) { names.max(DATE_NAMES) } else { names };
        let labelled = !matches!(chart.x, XAxis::Dates { .. });
        let (low, high) = vertical_range(chart);
        let y = Scale::new(low, high, chart.y.spacing).to_ticks(VERTICAL_TICKS);
        let x = match &chart.x {
            XAxis::Dates { first, last } => (day_number(*first), day_number(*last)),
            XAxis::Steps { count, .. } => (1.0, *count as f64),
            XAxis::Slots { names, .. } => (0.0, names.len() as f64),
        };
        Area {
            left: LEFT,
            right: chart.size.width - names.min(chart.size.width / 3.0),
            top: TOP,
            bottom: chart.size.height - if labelled { BOTTOM_LABELLED } else { BOTTOM },
            x: Scale::new(x.0, x.1, Spacing::Linear),
            y,
            ticks: y.ticks(VERTICAL_TICKS),
        }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.place(value).clamp(0.0, 1.0)
    }

    fn draw_grid(&self, chart: &Chart, svg: &mut Html) {
        svg.raw("<text class=\"ylabel\" x=\"0\" y=\"12\">")
            .text(chart.y.label)
            .raw("</text><path class=\"grid\" d=\"");
        for value in &self.ticks.values {
            svg.raw("M").px(self.left).raw(" ").px(self.y(*value)).raw("H").px(self.right);
        }
        svg.raw("\"/><g class=\"tick end\">");
        for value in &self.ticks.values {
            svg.raw("<text x=\"").px(self.left - 8.0).raw("\" y=\"").px(self.y(*value) + 4.0).raw("\">");
            svg.text((chart.y.format)(*value, self.ticks.decimals)).raw("</text>");
        }
        svg.raw("</g><g class=\"tick mid\">");
        for (place, label) in self.horizontal_ticks(chart) {
            svg.raw("<text x=\"")
                .px(place)
                .raw("\" y=\"")
                .px(self.bottom + 18.0)
                .raw("\">")
                .text(label)
                .raw("</text>");
        }
        if let XAxis::Steps { label, .. } | XAxis::Slots { label, .. } = &chart.x {
            let middle = (self.left + self.right) / 2.0;
            svg.raw("<text x=\"")
                .px(middle)
                .raw("\" y=\"")
                .px(self.bottom + 37.0)
                .raw("\">")
                .text(label)
                .raw("</text>");
        }
        svg.raw("</g>");
    }

    fn horizontal_ticks(&self, chart: &Chart) -> Vec<(f64, String)> {
        match &chart.x {
            XAxis::Dates { first, last } => {
                let room = ((self.right - self.left) / 90.0).max(2.0) as usize;
                date_ticks(*first, *last, room).into_iter().map(|(day, label)| (self.x(day), label)).collect()
            }
            XAxis::Steps { count, .. } => {
                let every = count.div_ceil(12).max(1);
                let steps = (1..=*count).filter(|step| step % every == 0 || every == 1);
                steps.map(|step| (self.x(step as f64), step.to_string())).collect()
            }
            XAxis::Slots { names, .. } => {
                let every = names.len().div_ceil(24).max(1);
                let slots = names.iter().enumerate().step_by(every);
                slots.map(|(slot, name)| (self.x(slot as f64 + 0.5), name.clone())).collect()
            }
        }
    }

    fn draw_bands(&self, chart: &Chart, svg: &mut Html) {
        for band in chart.bands.iter().filter(|band| !band.points.is_empty()) {
            svg.raw("<path class=\"").text(band.class).raw("\" d=\"");
            for (index, (x, _, high)) in band.points.iter().enumerate() {
                svg.raw(if index == 0 { "M" } else { "L" }).px(self.x(*x)).raw(" ").px(self.y(*high));
            }
            for (x, low, _) in band.points.iter().rev() {
                svg.raw("L").px(self.x(*x)).raw(" ").px(self.y(*low));
            }
            svg.raw("Z\"/>");
        }
    }

    fn draw_bar(&self, bar: &Bar, svg: &mut Html) {
        if !bar.value.is_finite() {
            return;
        }
        let (from, to) = (self.x(bar.from), self.x(bar.to));
        let (zero, end) = (self.y(0.0), self.y(bar.value));
        let (top, height) = (zero.min(end), (zero - end).abs().max(0.5));
        svg.raw(if bar.value < 0.0 { "<g class=\"bar below\">" } else { "<g class=\"bar\">" });
        svg.raw("<title>").text(&bar.title).raw("</title>");
        svg.raw("<rect x=\"").px(from).raw("\" y=\"").px(top).raw("\" width=\"").px((to - from).max(0.5));
        svg.raw("\" height=\"").px(height).raw("\"/>");
        let middle = (from + to) / 2.0;
        let whisker = bar.whisker.filter(|size| size.is_finite());
        if let Some(size) = whisker {
            let (high, low) = (self.y(bar.value + size), self.y(bar.value - size));
            svg.raw("<path class=\"whisker\" d=\"M")
                .px(middle - 5.0)
                .raw(" ")
                .px(high)
                .raw("h10M")
                .px(middle)
                .raw(" ");
            svg.px(high).raw("V").px(low).raw("M").px(middle - 5.0).raw(" ").px(low).raw("h10\"/>");
        }
        if let Some(label) = &bar.label {
            let reach = bar.value + whisker.unwrap_or(0.0) * if bar.value < 0.0 { -1.0 } else { 1.0 };
            let place = if bar.value < 0.0 { self.y(reach) + 15.0 } else { self.y(reach) - 6.0 };
            svg.raw("<text x=\"").px(middle).raw("\" y=\"").px(place).raw("\">").text(label).raw("</text>");
        }
        svg.raw("</g>");
    }

    /// The zero line, where zero is inside the plot.
    fn draw_zero(&self, svg: &mut Html) {
        if self.y.shows_zero() {
            svg.raw("<path class=\"zero\" d=\"M")
                .px(self.left)
                .raw(" ")
                .px(self.y(0.0))
                .raw("H")
                .px(self.right)
                .raw("\"/>");
        }
    }

    fn draw_levels(&self, chart: &Chart, svg: &mut Html) {
        for level in &chart.levels {
            let y = self.y(level.value);
            svg.raw("<path class=\"level\" d=\"M")
                .px(self.left)
                .raw(" ")
                .px(y)
                .raw("H")
                .px(self.right)
                .raw("\"/>");
        }
    }

    fn draw_line(&self, line: &Line, svg: &mut Html) {
        svg.raw("<path class=\"line ").text(line.class).raw("\" d=\"");
        let mut broken = true;
        for (x, y) in &line.points {
            if !y.is_finite() {
                broken = true;
                continue;
            }
            svg.raw(if broken { "M" } else { "L" }).px(self.x(*x)).raw(" ").px(self.y(*y));
            broken = false;
        }
        svg.raw("\"/>");
    }

    /// The names of lines and levels at their right ends, moved apart where they would overlap.
    fn draw_names(&self, chart: &Chart, svg: &mut Html) {
        let mut names: Vec<(f64, &str, &str)> = Vec::new();
        for line in &chart.lines {
            let end = line.points.iter().rev().find(|(_, y)| y.is_finite());
            names.extend(end.map(|(_, y)| (self.y(*y), line.name.as_str(), line.class)));
        }
        names.extend(chart.levels.iter().map(|level| (self.y(level.value), level.name.as_str(), "quiet")));
        names.retain(|(_, name, _)| !name.is_empty());
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ends: Vec<f64> = names.iter().map(|name| name.0).collect();
        for (place, (_, name, class)) in apart(&ends, self.top, self.bottom).into_iter().zip(names) {
            svg.raw("<text class=\"name ").text(class).raw("\" x=\"").px(self.right + 8.0).raw("\" y=\"");
            svg.px(place + 4.0).raw("\">").text(name).raw("</text>");
        }
    }

    fn draw_strips(&self, chart: &Chart, svg: &mut Html) {
        for strip in &chart.strips {
            let (from, to) = (self.x(strip.from).max(self.left), self.x(strip.to).min(self.right));
            svg.raw("<rect class=\"strip\" x=\"").px(from).raw("\" y=\"").px(self.top).raw("\" width=\"");
            svg.px((to - from).max(0.5)).raw("\" height=\"").px(self.bottom - self.top).raw("\"><title>");
            svg.text(&strip.title).raw("</title></rect>");
        }
    }
}

/// Moves ascending places apart to [`NAME_GAP`], keeping them between `top` and `bottom` as far as they fit.
fn apart(places: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut moved = places.to_vec();
    for index in 1..moved.len() {
        moved[index] = moved[index].max(moved[index - 1] + NAME_GAP);
    }
    let mut limit = bottom;
    for place in moved.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - NAME_GAP;
    }
    let shift = (top - moved.first().copied().unwrap_or(top)).max(0.0);
    moved.iter().map(|place| place + shift).collect()
}

/// The lowest and the highest value that is drawn; zero belongs to bars.
fn vertical_range(chart: &Chart) -> (f64, f64) {
    let mut range = (f64::INFINITY, f64::NEG_INFINITY);
    let mut take = |value: f64| {
        if value.is_finite() {
            range = (range.0.min(value), range.1.max(value));
        }
    };
    for bar in &chart.bars {
        let whisker = bar.whisker.unwrap_or(0.0);
        [0.0, bar.value - whisker, bar.value + whisker].into_iter().for_each(&mut take);
    }
    chart.lines.iter().flat_map(|line| &line.points).for_each(|point| take(point.1));
    chart.bands.iter().flat_map(|band| &band.points).for_each(|(_, low, high)| {
        take(*low);
        take(*high);
    });
    chart.levels.iter().for_each(|level| take(level.value));
    range
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Size, YAxis};
    use super::*;

    fn chart() -> Chart {
        let axis = YAxis {
            label: "loss",
            format: |value, decimals| format!("{value:.decimals$}"),
            spacing: Spacing::Linear,
        };
        Chart::new("c", Size::HALF, XAxis::Steps { count: 3, label: "epoch" }, axis)
    }

    #[test]
    fn a_line_breaks_where_a_value_is_missing() {
        let mut chart = chart();
        let points = vec![(1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0)];
        chart.lines.push(Line { name: "a<b".to_owned(), class: "s1", points });
        let svg = draw(&chart).into_string();
        let path =
            svg.split("class=\"line s1\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("path");
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches('L').count(), 0, "{path}");
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"));
    }

    #[test]
    fn bars_stand_on_zero_and_keep_their_title() {
        let mut chart = chart();
        let bar = |from: f64, value: f64| Bar {
            from,
            to: from + 0.5,
            value,
            whisker: Some(0.5),
            label: Some("x".to_owned()),
            title: format!("value {value}"),
        };
        chart.bars = vec![bar(1.0, 1.0), bar(2.0, -1.0), bar(2.5, f64::NAN)];
        let svg = draw(&chart).into_string();
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("<title>value -1</title>") && svg.contains("class=\"bar below\""));
    }

    #[test]
    fn an_empty_chart_and_a_single_point_have_usable_axes() {
        let mut empty = chart();
        let grid_lines = |chart: &Chart| draw(chart).into_string().matches('H').count();
        assert!(grid_lines(&empty) >= 3);
        empty.x = XAxis::Steps { count: 1, label: "epoch" };
        empty.levels.push(Level { name: "chance".to_owned(), value: 5.0 });
        let area = Area::of(&empty);
        assert!(area.y(5.0) > area.top && area.y(5.0) < area.bottom);
        assert!(area.x(1.0) >= area.left && area.x(1.0) <= area.right);
    }

    #[test]
    fn names_are_moved_apart_and_stay_inside() {
        let moved = apart(&[100.0, 101.0, 199.0, 200.0], 0.0, 200.0);
        assert!(moved.windows(2).all(|pair| pair[1] - pair[0] >= NAME_GAP - 1e-9), "{moved:?}");
        assert!(moved[3] <= 200.0 && moved[0] >= 0.0);
    }
}
