//! Plots as inline SVG. A chart is plain data; [`draw`] turns it into markup.
//!
//! Colours, weights and fonts are classes of `style.css`, so that one drawing serves light, dark and print.
//! Deliberately not here: what is plotted and why; a script (what hovers is an SVG `<title>`).

mod draw;
mod scale;
mod thin;

pub(super) use draw::draw;
pub(super) use scale::day_number;
pub(super) use thin::{blocks, thin};

use jiff::civil::Date;

/// How wide a chart is in units of the drawing; the page scales it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Size {
    /// The whole column.
    pub(super) const WIDE: Size = Size { width: 960.0, height: 300.0 };
    /// The whole column, less high.
    pub(super) const LOW: Size = Size { width: 960.0, height: 190.0 };
    /// Half the column.
    pub(super) const HALF: Size = Size { width: 470.0, height: 270.0 };
}

/// One chart: everything drawn over the same two axes.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// Unique in the page.
    pub(super) id: &'static str,
    /// For those who do not see it: what it shows.
    pub(super) title: String,
    /// For those who do not see it: what there is to see.
    pub(super) description: String,
    pub(super) size: Size,
    pub(super) x: XAxis,
    pub(super) y: YAxis,
    pub(super) bands: Vec<Band>,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Line>,
    pub(super) levels: Vec<Level>,
    pub(super) strips: Vec<Strip>,
}

impl Chart {
    /// Empty axes.
    pub(super) fn new(id: &'static str, size: Size, x: XAxis, y: YAxis) -> Chart {
        Chart {
            id,
            title: String::new(),
            description: String::new(),
            size,
            x,
            y,
            bands: Vec::new(),
            bars: Vec::new(),
            lines: Vec::new(),
            levels: Vec::new(),
            strips: Vec::new(),
        }
    }
}

/// The horizontal axis.
#[derive(Debug, Clone)]
pub(super) enum XAxis {
    /// Dates; a point's x is its [`day_number`].
    Dates { first: Date, last: Date },
    /// Whole numbers from 1; a point's x is the number.
    Steps { count: usize, label: &'static str },
    /// Named slots; a bar's x runs from the slot's index to the index + 1.
    Slots { names: Vec<String>, label: &'static str },
}

/// The vertical axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct YAxis {
    /// What is plotted, with its unit.
    pub(super) label: &'static str,
    /// How a tick is written, given the decimals its step needs.
    pub(super) format: fn(f64, usize) -> String,
    pub(super) spacing: Spacing,
}

/// Whether equal distances are equal differences or equal ratios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Linear,
    Logarithmic,
}

/// A line, with its name written at its right end.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) class: &'static str,
    /// Ascending x; a y that is not finite breaks the line.
    pub(super) points: Vec<(f64, f64)>,
}

/// A filled area between two values: `(x, low, high)`, ascending x.
#[derive(Debug, Clone)]
pub(super) struct Band {
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64, f64)>,
}

/// A bar from zero.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) value: f64,
    /// Half the length of the whisker.
    pub(super) whisker: Option<f64>,
    /// Written at the end of the bar.
    pub(super) label: Option<String>,
    /// Shown when the reader points at it.
    pub(super) title: String,
}

/// A horizontal line of comparison, named at its right end unless the name is empty.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) name: String,
    pub(super) value: f64,
}

/// An invisible strip over the whole height that answers when pointed at.
#[derive(Debug, Clone)]
pub(super) struct Strip {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) title: String,
}
