//! Features bar by bar: the newest bar in, the newest row out, to the bits of a batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::civil::DateTime;

use super::FeatureSet;
use super::evaluate::{pair_request, rolling_request};
use super::program::{AcrossOperator, Program};
use crate::expression::{Op, Plan, Step};
use crate::kernel::{self, PairStream, RollingStream};
use crate::nearest::{unknown, unknown_instrument};
use crate::{Error, Panel, Result};

/// The newest features of each instrument, kept up to date with every bar.
///
/// Bars of one time are [pushed](FeatureStream::push), then the time is [closed](FeatureStream::close): an
/// instrument that has begun and sent no bar gets an empty one, as on the calendar of a panel. Features of an
/// instrument alone come with its bar; features across instruments when the time is closed, by all that have
/// arrived. Memory is bounded by the longest window, but for features that look back to the first bar.
#[derive(Debug, Clone)]
pub struct FeatureStream {
    features: Vec<String>,
    fields: Vec<String>,
    instruments: Vec<String>,
    members: Vec<bool>,
    program: Program,
    lookback_bars: usize,
    states: Vec<Option<Instrument>>,
    /// Of each instrument what others read of it, stage by stage, from the stream's first time on.
    shown: Vec<Vec<PlanState>>,
    open: Option<DateTime>,
    closed: Option<DateTime>,
    /// The bars of the open time, by instrument; for features across instruments alone.
    waiting: BTreeMap<usize, Vec<f64>>,
}

/// What a [`FeatureStream`] is made for.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The instruments, ascending.
    pub instruments: Vec<String>,
    /// Those of them that belong to the universe, by index.
    pub universe: Vec<usize>,
    /// The fields of a bar, in the order it brings them.
    pub fields: Vec<String>,
}

/// What a closed time brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Rows of features across instruments, by instrument; without such features they came with the bars.
    pub rows: Vec<(usize, Vec<f32>)>,
    /// Instruments of the universe that have begun and sent no bar.
    pub missing: Vec<usize>,
}

/// The state of one instrument that has begun.
#[derive(Debug, Clone)]
struct Instrument {
    last: PlanState,
    bars: usize,
    newest: DateTime,
}

impl FeatureStream {
    /// Before the first bar of any instrument.
    ///
    /// # Errors
    /// [`Error::Feature`] for a field that a feature reads and no bar brings, [`Error::Panel`] for instruments
    /// that do not ascend, [`Error::Row`] for an index that is none of them.
    pub fn new(set: &FeatureSet, config: StreamConfig) -> Result<Self> {
        let StreamConfig { instruments, universe, fields } = config;
        let known: Vec<&str> = fields.iter().map(String::as_str).collect();
        for (name, expression) in set.parsed() {
            if let Some(field) = expression.fields().iter().find(|field| !known.contains(&field.as_str())) {
                let message = unknown("field", field, &known);
                return Err(Error::Feature(format!("feature \"{name}\": {message}")));
            }
        }
        if let Some(pair) = instruments.windows(2).find(|pair| pair[0] >= pair[1]) {
            let message = format!("instruments must ascend strictly, but {} follows {}", pair[1], pair[0]);
            return Err(Error::Panel(message));
        }
        let mut members = vec![false; instruments.len()];
        for index in universe {
            let count = instruments.len();
            let member = members.get_mut(index);
            *member
                .ok_or_else(|| Error::Row(format!("instrument index {index} is not within 0..{count}")))? =
                true;
        }
        for stage in set.program().stages() {
            for across in &stage.across {
                if let AcrossOperator::Mask(symbol) = &across.operator
                    && instruments.binary_search(symbol).is_err()
                {
                    let message = unknown_instrument(symbol, &instruments);
                    return Err(Error::Feature(format!("Mask: {message}")));
                }
            }
        }
        if set.program().reads_later_bars() {
            let message = "a feature reads a later bar inside a longer reference back, which a stream cannot; write \
                           it without the negative Ref";
            return Err(Error::Feature(message.to_owned()));
        }
        let stages = set.program().stages();
        let shown: Vec<_> = stages.iter().map(|stage| PlanState::new(&stage.plan, &fields)).collect();
        Ok(Self {
            features: set.names().into_iter().map(str::to_owned).collect(),
            states: vec![None; instruments.len()],
            shown: vec![shown; instruments.len()],
            program: set.program().clone(),
            lookback_bars: set.lookback_bars(),
            fields,
            instruments,
            members,
            open: None,
            closed: None,
            waiting: BTreeMap::new(),
        })
    }

    /// A stream that has seen every bar of a panel; its fields are the panel's, in their order, and after them the single
    /// periods of published values that features read.
    ///
    /// # Errors
    /// As [`FeatureStream::new`].
    pub fn from_panel(set: &FeatureSet, panel: &Panel, universe: &[usize]) -> Result<Self> {
        let own = panel.field_names().into_iter().map(str::to_owned);
        // One period of a published value is a field to those features alone that read it.
        let periods: BTreeSet<String> = set
            .parsed()
            .iter()
            .flat_map(|(_, expression)| expression.fields())
            .filter(|name| panel.field(name).is_none())
            .collect();
        let fields: Vec<String> =
            own.chain(periods.into_iter().filter(|name| panel.has_field(name))).collect();
        let columns: Vec<Vec<f64>> = fields.iter().filter_map(|name| panel.cells(name)).collect();
        let config = StreamConfig {
            instruments: panel.instruments().to_vec(),
            universe: universe.to_vec(),
            fields: fields.clone(),
        };
        let mut stream = Self::new(set, config)?;
        let width = panel.instruments().len();
        for (time, stamp) in panel.times().iter().enumerate() {
            for instrument in 0..width {
                if panel.has_bar(time, instrument) {
                    let bar: Vec<f64> = columns.iter().map(|of| of[time * width + instrument]).collect();
                    stream.push(instrument, *stamp, &bar)?;
                }
            }
            stream.close(*stamp)?;
        }
        Ok(stream)
    }

    /// The names of the features, in the order of a row.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Whether rows come when a time is closed rather than with the bar.
    pub fn is_cross_sectional(&self) -> bool {
        self.program.slots() > 0
    }

    /// Takes an instrument's bar and gives its row of features, if it has one now: the whole look-back is
    /// behind it, and no feature waits for other instruments.
    ///
    /// # Errors
    /// [`Error::Row`] for a bar of a time that is closed, of a later time than the open one, or the second of
    /// an instrument at a time; for one without any value, or with a value too many or too few.
    pub fn push(&mut self, instrument: usize, time: DateTime, bar: &[f64]) -> Result<Option<Vec<f32>>> {
        let symbol = self.instruments.get(instrument).ok_or_else(|| {
            let count = self.instruments.len();
            Error::Row(format!("instrument index {instrument} is not within 0..{count}"))
        })?;
        let refuse = |why: String| Err(Error::Row(format!("{symbol} at {time}: {why}")));
        if bar.len() != self.fields.len() {
            let expected = self.fields.join(", ");
            return refuse(format!("a bar has {} values, got {} ({expected})", self.fields.len(), bar.len()));
        }
        if bar.iter().all(|value| value.is_nan()) {
            return refuse("the bar has no value; leave it out".to_owned());
        }
        if let Some(closed) = self.closed.filter(|closed| time <= *closed) {
            return refuse(format!("the time {closed} is closed; a late bar is for the next import"));
        }
        if let Some(open) = self.open.filter(|open| time != *open) {
            return refuse(format!("the time {open} is open; close it first"));
        }
        let again = self.states[instrument].as_ref().is_some_and(|state| state.newest == time);
        if again || self.waiting.contains_key(&instrument) {
            return refuse("it sent a bar already".to_owned());
        }
        self.open = Some(time);
        if self.is_cross_sectional() {
            self.waiting.insert(instrument, bar.to_vec());
            return Ok(None);
        }
        let state =
            self.states[instrument].get_or_insert_with(|| Instrument::new(&self.program, &self.fields, time));
        state.newest = time;
        let values = Values { bar, stored: &[] };
        state.last.push(self.program.plan(), &values);
        state.bars += 1;
        let complete = state.bars > self.lookback_bars && self.members[instrument];
        Ok(complete.then(|| state.last.row(self.program.plan())))
    }

    /// Closes a time: nothing more of it will come.
    ///
    /// # Errors
    /// [`Error::Row`] for a time that is closed already or before the open one.
    pub fn close(&mut self, time: DateTime) -> Result<Closed> {
        if let Some(closed) = self.closed.filter(|closed| time <= *closed) {
            return Err(Error::Row(format!("the time {time} cannot be closed: {closed} is")));
        }
        if let Some(open) = self.open.filter(|open| *open != time) {
            return Err(Error::Row(format!("the time {time} cannot be closed: {open} is open")));
        }
        let waiting = std::mem::take(&mut self.waiting);
        let none = vec![f64::NAN; self.fields.len()];
        let mut missing = Vec::new();
        for (instrument, state) in self.states.iter_mut().enumerate() {
            let arrived = match state {
                Some(state) => state.newest == time || waiting.contains_key(&instrument),
                None => {
                    if waiting.contains_key(&instrument) {
                        *state = Some(Instrument::new(&self.program, &self.fields, time));
                    }
                    true
                }
            };
            if arrived {
                continue;
            }
            if self.members[instrument] {
                missing.push(instrument);
            }
            if let Some(state) = state.as_mut().filter(|_| self.program.slots() == 0) {
                let values = Values { bar: &none, stored: &[] };
                state.last.push(self.program.plan(), &values);
                state.bars += 1;
            }
        }
        let rows = if self.is_cross_sectional() { self.advance(time, &waiting, &none) } else { Vec::new() };
        self.open = None;
        self.closed = Some(time);
        Ok(Closed { rows, missing })
    }

    /// Takes every instrument through the stages of a closed time; those that have not begun too, as ones without a bar:
    /// see [`Series::of_all_times`](super::Series::of_all_times).
    fn advance(
        &mut self,
        time: DateTime,
        waiting: &BTreeMap<usize, Vec<f64>>,
        none: &[f64],
    ) -> Vec<(usize, Vec<f32>)> {
        let width = self.instruments.len();
        let mut stored = vec![vec![f64::NAN; self.program.slots()]; width];
        for (index, stage) in self.program.stages().iter().enumerate() {
            let mut columns = vec![vec![f64::NAN; width]; stage.plan.roots().len()];
            for (instrument, shown) in self.shown.iter_mut().enumerate() {
                let shown = &mut shown[index];
                let bar = waiting.get(&instrument).map_or(none, Vec::as_slice);
                if self.states[instrument].is_some() {
                    shown.begin();
                }
                shown.push(&stage.plan, &Values { bar, stored: &stored[instrument] });
                for (column, root) in columns.iter_mut().zip(stage.plan.roots()) {
                    column[instrument] = shown.values[*root];
                }
            }
            let takes_part =
                |instrument: &usize| self.members[*instrument] && waiting.contains_key(instrument);
            let members: Vec<usize> = (0..width).filter(takes_part).collect();
            let of = |column: &[f64]| -> Vec<f64> { members.iter().map(|member| column[*member]).collect() };
            for across in &stage.across {
                let values = &columns[across.of];
                if let AcrossOperator::Mask(symbol) = &across.operator {
                    let other = self.instruments.binary_search(symbol).ok();
                    let other = other.filter(|index| waiting.contains_key(index));
                    let other = other.map_or(f64::NAN, |index| values[index]);
                    stored.iter_mut().for_each(|own| own[across.slot] = other);
                    continue;
                }
                let result = across.at_once(&of(values), |group| of(&columns[group]));
                for (member, value) in members.iter().zip(result) {
                    stored[*member][across.slot] = value;
                }
            }
        }
        let mut rows = Vec::new();
        for (instrument, state) in self.states.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            let arrived = waiting.get(&instrument);
            let bar = arrived.map_or(none, Vec::as_slice);
            let values = Values { bar, stored: &stored[instrument] };
            state.last.push(self.program.plan(), &values);
            state.bars += 1;
            state.newest = time;
            if arrived.is_some() && state.bars > self.lookback_bars && self.members[instrument] {
                rows.push((instrument, state.last.row(self.program.plan())));
            }
        }
        rows
    }
}

impl Instrument {
    fn new(program: &Program, fields: &[String], time: DateTime) -> Self {
        let mut last = PlanState::new(program.plan(), fields);
        last.begin();
        Self {
            last,
            bars: 0,
            // Its first bar is still to come; no bar has the time before.
            newest: time.yesterday().unwrap_or(time),
        }
    }
}

/// What a bar brings.
struct Values<'a> {
    bar: &'a [f64],
    stored: &'a [f64],
}

/// A plan and what it must remember of earlier bars.
#[derive(Debug, Clone)]
struct PlanState {
    /// The newest value of each op.
    values: Vec<f64>,
    steps: Vec<StepState>,
    results: Vec<f64>,
    begun: bool,
}

#[derive(Debug, Clone)]
enum StepState {
    Plain,
    /// The place of a field in a bar.
    Field(Option<usize>),
    /// The newest values, newest first.
    Shift(VecDeque<f64>),
    First(Option<f64>),
    Rolling(Box<RollingStream>),
    Pair(Box<PairStream>),
}

impl PlanState {
    /// `fields` are those a bar brings, in its order.
    fn new(plan: &Plan, fields: &[String]) -> Self {
        let state = |step: &Step| match step {
            Step::One(id) => match &plan.ops()[*id] {
                Op::Field(name) => StepState::Field(fields.iter().position(|field| field == name)),
                Op::Shift(_, bars) => {
                    let bars = usize::try_from(*bars).unwrap_or_default();
                    StepState::Shift(VecDeque::from(vec![f64::NAN; bars + 1]))
                }
                Op::First(_) => StepState::First(None),
                _ => StepState::Plain,
            },
            Step::Rolling { results, .. } => {
                let requests: Vec<_> =
                    results.iter().filter_map(|id| rolling_request(&plan.ops()[*id])).collect();
                StepState::Rolling(Box::new(RollingStream::new(&requests)))
            }
            Step::Pair { results, .. } => {
                let requests: Vec<_> =
                    results.iter().filter_map(|id| pair_request(&plan.ops()[*id])).collect();
                StepState::Pair(Box::new(PairStream::new(&requests)))
            }
        };
        Self {
            values: vec![f64::NAN; plan.ops().len()],
            steps: plan.steps().iter().map(state).collect(),
            results: Vec::new(),
            begun: false,
        }
    }

    /// Says that the instrument's first bar comes next, or has come.
    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        for step in &mut self.steps {
            match step {
                StepState::Rolling(stream) => stream.begin(),
                StepState::Pair(stream) => stream.begin(),
                _ => {}
            }
        }
    }

    fn row(&self, plan: &Plan) -> Vec<f32> {
        plan.roots().iter().map(|root| self.values[*root] as f32).collect()
    }

    fn push(&mut self, plan: &Plan, input: &Values<'_>) {
        let Self { values, steps, results, begun } = self;
        for (step, state) in plan.steps().iter().zip(steps) {
            match (step, state) {
                (Step::Rolling { of, results: ids }, StepState::Rolling(stream)) => {
                    results.clear();
                    results.resize(ids.len(), f64::NAN);
                    stream.push(values[*of], results);
                    for (id, value) in ids.iter().zip(results.iter()) {
                        values[*id] = *value;
                    }
                }
                (Step::Pair { of, results: ids }, StepState::Pair(stream)) => {
                    results.clear();
                    results.resize(ids.len(), f64::NAN);
                    stream.push(of.map(|id| values[id]), results);
                    for (id, value) in ids.iter().zip(results.iter()) {
                        values[*id] = *value;
                    }
                }
                (Step::One(_), StepState::First(_)) if !*begun => {}
                (Step::One(id), state) => values[*id] = one(&plan.ops()[*id], values, input, state),
                _ => {}
            }
        }
    }
}

/// The newest value of an op, by the kernels of a batch.
fn one(op: &Op, values: &[f64], input: &Values<'_>, state: &mut StepState) -> f64 {
    let mut out = [f64::NAN];
    match (op, state) {
        (_, StepState::Field(place)) => return place.map_or(f64::NAN, |place| input.bar[place]),
        (Op::Stored(slot), _) => return input.stored[*slot],
        (Op::Number(bits), _) => return f64::from_bits(*bits),
        (Op::Shift(of, _), StepState::Shift(recent)) => {
            recent.push_front(values[*of]);
            recent.pop_back();
            return recent.back().copied().unwrap_or(f64::NAN);
        }
        (Op::First(of), StepState::First(first)) => return *first.get_or_insert(values[*of]),
        (Op::Unary(operator, of), _) => kernel::unary(*operator, &[values[*of]], &mut out),
        (Op::Binary(operator, [a, b]), _) => {
            kernel::binary(*operator, [&[values[*a]], &[values[*b]]], &mut out);
        }
        (Op::If([a, b, c]), _) => kernel::select([&[values[*a]], &[values[*b]], &[values[*c]]], &mut out),
        _ => {}
    }
    out[0]
}
