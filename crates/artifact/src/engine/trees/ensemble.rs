//! One tree ensemble, from a tensor of features to scores and labels.

use predictor::{Tensor, TensorData};
use protos::onnx::NodeProto;

use super::classes::Classes;
use super::description::{Aggregate, Description, Transform};
use super::forest::Forest;
use super::number::Number;
use super::scores::Scores;
use super::transform;

/// A tree ensemble, ready to be called.
#[derive(Debug)]
pub(super) struct Ensemble {
    forest: Typed,
    targets: usize,
    aggregate: Aggregate,
    transform: Transform,
    base_values: Vec<f64>,
    classes: Option<Classes>,
    typed_output: bool,
}

#[derive(Debug)]
enum Typed {
    Single(Forest<f32>),
    Double(Forest<f64>),
}

/// What an ensemble makes of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    /// `[rows, targets]`, row by row.
    pub(super) scores: Floats,
    pub(super) targets: usize,
    /// `[rows]`; empty unless it is a classifier.
    pub(super) labels: Vec<i64>,
}

/// Scores in the type the operator gives them in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Floats {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Ensemble {
    /// Reads an ensemble whose input is float64 (`double`) or anything else, which is computed as float32.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(node: &NodeProto, double: bool) -> Result<Self, String> {
        let description = Description::read(node)?;
        if description.roots.is_empty() {
            return Err("it has no trees".to_owned());
        }
        let forest = match double {
            true => Typed::Double(Forest::new(&description)?),
            false => Typed::Single(Forest::new(&description)?),
        };
        let classes = description.labels.as_ref().map(|labels| Classes::new(&description, labels));
        Ok(Self {
            forest,
            targets: description.targets,
            aggregate: description.aggregate,
            transform: description.transform,
            base_values: description.base_values,
            classes,
            typed_output: description.typed_output,
        })
    }

    /// The least number of features a row must have.
    pub(super) fn width(&self) -> usize {
        match &self.forest {
            Typed::Single(forest) => forest.width(),
            Typed::Double(forest) => forest.width(),
        }
    }

    /// Scores a tensor `[rows, features]`.
    ///
    /// # Errors
    /// If it has another shape, or fewer features than the trees ask for.
    pub(super) fn run(&self, input: &Tensor) -> Result<Scored, String> {
        let [_, width] = *input.shape() else {
            return Err(format!("trees take rows of features, two axes, got {:?}", input.shape()));
        };
        if width < self.width() {
            return Err(format!("the trees ask for feature {}, a row has {width}", self.width() - 1));
        }
        Ok(match &self.forest {
            Typed::Single(forest) => match input.data() {
                TensorData::Float32(data) => self.score(forest, data, width),
                other => self.score(forest, &singles(other), width),
            },
            Typed::Double(forest) => match input.data() {
                TensorData::Float64(data) => self.score(forest, data, width),
                other => self.score(forest, &doubles(other), width),
            },
        })
    }

    fn score<T: Number>(&self, forest: &Forest<T>, rows: &[T], width: usize) -> Scored {
        let count = rows.len() / width;
        let mut out = vec![0.0; count * self.targets];
        // Double scores, of the one operator that gives them where nothing rounds them before.
        let exact =
            self.typed_output && matches!(self.forest, Typed::Double(_)) && self.transform == Transform::None;
        let mut doubles = vec![0.0; if exact { out.len() } else { 0 }];
        let mut labels = Vec::with_capacity(if self.classes.is_some() { count } else { 0 });
        let mut scores = Scores::new(self.targets, self.aggregate);
        let regression = Regression::new(self, forest.trees());
        scores.of_rows(forest, rows, width, |row, scores, given| {
            let place = row * self.targets..(row + 1) * self.targets;
            match &self.classes {
                Some(classes) => labels.push(classes.decide(scores, given, &mut out[place])),
                None => {
                    regression.combine(scores);
                    if exact {
                        let found = scores.iter().map(|score| score.to_f64());
                        doubles[place.clone()].iter_mut().zip(found).for_each(|(out, score)| *out = score);
                    }
                    regression.write(scores, &mut out[place]);
                }
            }
        });
        let double = self.typed_output && matches!(self.forest, Typed::Double(_));
        let scores = match (exact, double) {
            (true, _) => Floats::Double(doubles),
            (false, true) => Floats::Double(out.into_iter().map(f64::from).collect()),
            (false, false) => Floats::Single(out),
        };
        Scored { scores, targets: self.targets, labels }
    }
}

/// What follows a regressor's sum.
struct Regression<T> {
    base_values: Vec<T>,
    divisor: Option<T>,
    transform: Transform,
}

impl<T: Number> Regression<T> {
    fn new(ensemble: &Ensemble, trees: usize) -> Self {
        Self {
            base_values: ensemble.base_values.iter().map(|base| T::of(*base)).collect(),
            divisor: (ensemble.aggregate == Aggregate::Average).then(|| T::of_count(trees)),
            transform: ensemble.transform,
        }
    }

    /// A target no tree gave anything for has its base value alone.
    fn combine(&self, scores: &mut [T]) {
        if let Some(divisor) = self.divisor {
            scores.iter_mut().for_each(|score| *score = score.over(divisor));
        }
        for (score, base) in scores.iter_mut().zip(&self.base_values) {
            *score = score.plus(*base);
        }
    }

    fn write(&self, scores: &[T], row: &mut [f32]) {
        for (out, score) in row.iter_mut().zip(scores) {
            *out = score.to_f32();
        }
        // As onnxruntime has it: of one target only PROBIT is transformed.
        if row.len() > 1 || self.transform == Transform::Probit {
            transform::apply(self.transform, row);
        }
    }
}

fn singles(data: &TensorData) -> Vec<f32> {
    match data {
        TensorData::Float32(data) => data.clone(),
        TensorData::Float64(data) => data.iter().map(|x| *x as f32).collect(),
        TensorData::Int32(data) => data.iter().map(|x| *x as f32).collect(),
        TensorData::Int64(data) => data.iter().map(|x| *x as f32).collect(),
        TensorData::Bool(data) => data.iter().map(|x| f32::from(u8::from(*x))).collect(),
    }
}

fn doubles(data: &TensorData) -> Vec<f64> {
    match data {
        TensorData::Float32(data) => data.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Float64(data) => data.clone(),
        TensorData::Int32(data) => data.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Int64(data) => data.iter().map(|x| *x as f64).collect(),
        TensorData::Bool(data) => data.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}
