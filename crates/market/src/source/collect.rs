//! Rows of cells to checked bars.

use std::collections::HashMap;
use std::rc::Rc;

use super::layout::{Layout, Long, detect};
use super::number::Repairs;
use super::time::Moment;
use super::{Adjusted, ReadOptions, Row, Sink, SourceFile};
use crate::dataset::history::FACTOR;
use crate::panel::MAX_VALUES;
use crate::{Error, Result};

const MAX_SYMBOL_CHARS: usize = 64;

/// The bars of one file, in its order, each value checked.
#[derive(Debug, Clone, Default)]
pub(super) struct FileBars {
    pub(super) file: String,
    pub(super) fields: Vec<String>,
    pub(super) symbols: Vec<String>,
    /// When each bar is.
    pub(super) moments: Vec<Moment>,
    /// Index into `symbols`.
    pub(super) symbol: Vec<u32>,
    /// 1-based line of a text file, or row of a Parquet file.
    pub(super) line: Vec<u32>,
    /// For each field a value a bar; NaN where there is none.
    pub(super) columns: Vec<Vec<f64>>,
    pub(super) adjusted: Adjusted,
    pub(super) notes: Vec<String>,
    pub(super) repairs: Repairs,
}

/// Collects the bars of one file.
pub(super) struct Collector<'a> {
    file: &'a SourceFile,
    options: &'a ReadOptions,
    headers: Vec<String>,
    layout: Option<Rc<Layout>>,
    bars: FileBars,
    known: HashMap<String, u32>,
    /// Index of the instrument in each column of a wide file.
    wide: Vec<u32>,
    /// The instrument of the row before: files are often sorted by it.
    last: Option<(String, u32)>,
    /// The instrument that the file is named after, once a row needed it.
    own: Option<u32>,
    /// The values of a row on their way.
    row: Vec<f64>,
    /// What each field may hold.
    rules: Vec<Rule>,
}

impl Sink for Collector<'_> {
    fn headers(&mut self, headers: &[String]) -> Result<()> {
        let layout = Rc::new(detect(self.file, headers, self.options)?);
        headers.clone_into(&mut self.headers);
        match &*layout {
            Layout::Wide { instruments, .. } => {
                self.bars.fields.push(self.options.field.clone());
                for column in instruments {
                    let symbol = symbol(&headers[*column]).map_err(|reason| {
                        self.file.unreadable(format!("header of column {}: {reason}", column + 1))
                    })?;
                    let index = self.instrument(symbol);
                    self.wide.push(index);
                }
            }
            Layout::Long(long) => {
                self.bars.fields.extend(long.fields.iter().map(|(_, field)| field.clone()));
                if long.adjusted.is_some() {
                    self.bars.fields.push(FACTOR.to_owned());
                }
                self.describe(long);
            }
        }
        self.bars.columns = vec![Vec::new(); self.bars.fields.len()];
        self.rules = self.bars.fields.iter().map(|field| Rule::of(field)).collect();
        self.layout = Some(layout);
        Ok(())
    }

    fn row(&mut self, line: u64, row: &dyn Row) -> Result<()> {
        let Some(layout) = self.layout.clone() else { return Ok(()) };
        match &*layout {
            Layout::Wide { date, instruments } => self.push_wide(line, row, *date, instruments)?,
            Layout::Long(long) => self.push_long(line, row, long)?,
        }
        if self.bars.moments.len() * self.bars.columns.len() > MAX_VALUES {
            return Err(self.file.unreadable(format!("it has more than the limit of {MAX_VALUES} values")));
        }
        Ok(())
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(file: &'a SourceFile, options: &'a ReadOptions) -> Self {
        Self {
            file,
            options,
            headers: Vec::new(),
            layout: None,
            bars: FileBars { file: file.name.clone(), ..FileBars::default() },
            known: HashMap::new(),
            wide: Vec::new(),
            last: None,
            own: None,
            row: Vec::new(),
            rules: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Result<FileBars> {
        if self.bars.moments.is_empty() {
            return Err(self.file.unreadable("it holds no bar"));
        }
        Ok(self.bars)
    }

    /// Says what is made of the columns that adjust prices, and which are left out.
    fn describe(&mut self, long: &Long) {
        let Self { file, headers, bars, .. } = self;
        if let Some(column) = long.adjusted {
            bars.adjusted = Adjusted::FactorColumn;
            bars.notes.push(format!(
                "{}: the adjustment factor of a bar is \"{}\" / close",
                file.name, headers[column]
            ));
        }
        if long.adjusted_alone {
            bars.adjusted = Adjusted::BackAdjusted;
            bars.notes.push(format!("{}: its only close is an adjusted one", file.name));
        }
        if let Some((column, _)) = long.fields.iter().find(|(_, field)| field == FACTOR) {
            bars.adjusted = Adjusted::FactorColumn;
            bars.notes.push(format!(
                "{}: prices are taken as traded, and \"{}\" as what to multiply them by",
                file.name, headers[*column]
            ));
        }
        if !long.left_out.is_empty() {
            let names: Vec<&str> = long.left_out.iter().map(|column| headers[*column].as_str()).collect();
            bars.notes.push(format!("{}: nothing is made of {}", file.name, names.join(", ")));
        }
    }

    fn push_wide(&mut self, line: u64, row: &dyn Row, date: usize, instruments: &[usize]) -> Result<()> {
        let moment = row.moment(date).map_err(|reason| self.cell(line, date, reason))?;
        let mut any = false;
        for (place, column) in instruments.iter().enumerate() {
            let value = self.value(line, row, (*column, 0))?;
            if !value.is_nan() {
                any = true;
                self.bars.columns[0].push(value);
                self.begin(moment, self.wide[place], line);
            }
        }
        self.bars.repairs.empty_rows += usize::from(!any);
        Ok(())
    }

    fn push_long(&mut self, line: u64, row: &dyn Row, long: &Long) -> Result<()> {
        let moment = self.moment(line, row, long)?;
        self.row.clear();
        for (place, (column, _)) in long.fields.iter().enumerate() {
            let value = self.value(line, row, (*column, place))?;
            self.row.push(value);
        }
        if self.row.iter().all(|value| value.is_nan()) {
            self.bars.repairs.empty_rows += 1;
            return Ok(());
        }
        if let Some(column) = long.adjusted {
            let adjusted = row
                .number(column, &mut self.bars.repairs)
                .and_then(|value| Rule::Price.check("close", value))
                .map_err(|reason| self.cell(line, column, reason))?;
            let close = long.fields.iter().position(|(_, field)| field == "close");
            self.row.push(adjusted / close.map_or(f64::NAN, |place| self.row[place]));
        }
        let symbol = match (long.symbol, self.own) {
            (Some(column), _) => {
                let name =
                    row.text(column).and_then(symbol).map_err(|reason| self.cell(line, column, reason))?;
                self.instrument(name)
            }
            (None, Some(own)) => own,
            (None, None) => {
                let own = self.instrument(self.file.stem());
                *self.own.insert(own)
            }
        };
        for (column, value) in self.bars.columns.iter_mut().zip(&self.row) {
            column.push(*value);
        }
        self.begin(moment, symbol, line);
        Ok(())
    }

    fn moment(&self, line: u64, row: &dyn Row, long: &Long) -> Result<Moment> {
        let moment = row.moment(long.date).map_err(|reason| self.cell(line, long.date, reason))?;
        let Some(column) = long.time else { return Ok(moment) };
        let text = row.text(column).map_err(|reason| self.cell(line, column, reason))?.trim();
        if text.is_empty() {
            return Ok(moment);
        }
        let Some(time) = super::time::clock_time(text) else {
            let reason = format!("\"{text}\" is not a time of day; write it as 09:30:00");
            return Err(self.cell(line, column, reason));
        };
        Ok(match moment {
            Moment::At(day) => Moment::At(day.date().to_datetime(time)),
            Moment::Slashed { year, a, b, .. } => Moment::Slashed { year, a, b, time },
        })
    }

    fn begin(&mut self, moment: Moment, symbol: u32, line: u64) {
        self.bars.moments.push(moment);
        self.bars.symbol.push(symbol);
        // Files have fewer values than u32 counts; a line beyond it is one of blank lines.
        self.bars.line.push(u32::try_from(line).unwrap_or(u32::MAX));
    }

    /// The value of a column that holds the field at a place.
    fn value(&mut self, line: u64, row: &dyn Row, (column, field): (usize, usize)) -> Result<f64> {
        let read = row.number(column, &mut self.bars.repairs);
        read.and_then(|value| self.rules[field].check(&self.bars.fields[field], value))
            .map_err(|reason| self.cell(line, column, reason))
    }

    fn instrument(&mut self, symbol: &str) -> u32 {
        if let Some((last, index)) = &self.last
            && last == symbol
        {
            return *index;
        }
        let index = match self.known.get(symbol) {
            Some(index) => *index,
            None => {
                // Files have fewer values than u32 counts.
                let index = self.bars.symbols.len() as u32;
                self.bars.symbols.push(symbol.to_owned());
                self.known.insert(symbol.to_owned(), index);
                index
            }
        };
        self.last = Some((symbol.to_owned(), index));
        index
    }

    fn cell(&self, line: u64, column: usize, reason: String) -> Error {
        let column = self.headers.get(column).cloned().unwrap_or_default();
        Error::Cell { file: self.file.name.clone(), line, column, reason }
    }
}

/// What a field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Above 0: prices and factors.
    Price,
    /// From 0: volumes.
    Amount,
    /// Any finite number.
    Number,
}

impl Rule {
    fn of(field: &str) -> Self {
        match field {
            "open" | "high" | "low" | "close" | "vwap" | FACTOR => Self::Price,
            "volume" | "trades" => Self::Amount,
            _ => Self::Number,
        }
    }

    /// The value, or NaN for none, if the field may hold it.
    #[inline]
    fn check(self, field: &str, value: f64) -> Result<f64, String> {
        let least = match self {
            Self::Price => f64::MIN_POSITIVE,
            Self::Amount => 0.0,
            Self::Number => f64::MIN,
        };
        if value.is_nan() || (value >= least && value <= f64::MAX) {
            return Ok(value);
        }
        Err(self.refusal(field, value))
    }

    fn refusal(self, field: &str, value: f64) -> String {
        if value.is_infinite() {
            return format!("{field} {value} is not finite; correct it or leave the cell empty");
        }
        if self == Self::Amount {
            return format!("{field} {value} is below 0; correct it or leave the cell empty");
        }
        format!(
            "{field} {value} is not above 0; a price must be: correct it, or leave the cell empty if there was no \
             trade"
        )
    }
}

fn symbol(text: &str) -> Result<&str, String> {
    let symbol = text.trim();
    if symbol.is_empty() {
        return Err("the symbol is empty".to_owned());
    }
    if symbol.len() > 4 * MAX_SYMBOL_CHARS
        || symbol.chars().count() > MAX_SYMBOL_CHARS
        || symbol.chars().any(char::is_control)
    {
        return Err(format!(
            "{symbol:?} is not a symbol; at most {MAX_SYMBOL_CHARS} printable characters are"
        ));
    }
    Ok(symbol)
}
