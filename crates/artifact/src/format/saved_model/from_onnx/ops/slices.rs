//! Parts of axes, and what is put around them.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, Value, open};

pub(super) const TABLE: &[Entry] = &[("Slice", slice), ("Pad", padded), ("Trilu", triangle)];

impl Lowering {
    /// From `begin` to before `end` of the first axes.
    pub(super) fn window(&mut self, x: &Value, begin: &[i64], end: &[i64]) -> Value {
        let (begin, end) = (begin.to_vec(), end.to_vec());
        let parts: Vec<Part> = begin
            .into_iter()
            .zip(end)
            .map(|(begin, end)| Part { begin: At::Known(begin), end: At::Known(end), step: 1 })
            .collect();
        self.strided(x, &parts)
    }

    /// Without so many elements before and after of the first axes.
    pub(super) fn cut(&mut self, x: &Value, before: &[i64], after: &[i64]) -> Value {
        if before.iter().chain(after).all(|count| *count == 0) {
            return x.clone();
        }
        let end = |count: &i64| if *count == 0 { At::Border } else { At::Known(-count) };
        let pairs = before.iter().zip(after);
        let parts: Vec<Part> = pairs
            .map(|(before, after)| Part { begin: At::Known(*before), end: end(after), step: 1 })
            .collect();
        self.strided(x, &parts)
    }

    /// An element of a vector, without an axis.
    pub(super) fn element(&mut self, x: &Value, at: i64) -> Value {
        let (at, axis) = (self.integer(at), self.integer(0));
        self.gathered(x, &at, &axis, Some(vec![]))
    }

    /// Parts of the first axes; the others are taken whole.
    fn strided(&mut self, x: &Value, parts: &[Part]) -> Value {
        let mask = |is: fn(&Part) -> bool| {
            parts.iter().enumerate().filter(|(_, part)| is(part)).map(|(at, _)| 1i64 << at).sum::<i64>()
        };
        let begin_mask = mask(|part| matches!(part.begin, At::Border));
        let end_mask = mask(|part| matches!(part.end, At::Border));
        let shape = x.shape.as_ref().map(|shape| {
            let size = |(at, size): (usize, &Option<i64>)| match parts.get(at) {
                None => *size,
                Some(part) => part.size(*size),
            };
            shape.iter().enumerate().map(size).collect()
        });
        let begin = self.places(parts.iter().map(|part| &part.begin));
        let end = self.places(parts.iter().map(|part| &part.end));
        let steps: Vec<i64> = parts.iter().map(|part| part.step).collect();
        let steps = self.vector(&steps);
        let call = Call::typed("StridedSlice", "output", &[x, &begin, &end, &steps])
            .dtype("Index", DataType::DtInt64)
            .int("begin_mask", begin_mask)
            .int("end_mask", end_mask);
        self.emit(call, x.dtype, shape)
    }

    fn places<'a>(&mut self, places: impl Iterator<Item = &'a At>) -> Value {
        let places: Vec<&At> = places.collect();
        let known = |at: &&At| match at {
            At::Known(at) => Some(*at),
            At::Border => Some(0),
            At::Computed(_) => None,
        };
        if let Some(known) = places.iter().map(known).collect::<Option<Vec<i64>>>() {
            return self.vector(&known);
        }
        let mut values = Vec::new();
        for at in places {
            values.push(match at {
                At::Known(at) => self.integer(*at),
                At::Border => self.integer(0),
                At::Computed(value) => value.clone(),
            });
        }
        self.stacked(&values.iter().collect::<Vec<_>>(), 0)
    }

    /// With constant numbers around: how many before and after each axis.
    pub(super) fn surrounded(&mut self, x: &Value, pads: &[[i64; 2]], with: f64) -> Value {
        if pads.iter().all(|pad| *pad == [0, 0]) {
            return x.clone();
        }
        let shape = padded_shape(x, pads);
        let (pads, with) = (self.pairs(pads), self.number(with, x));
        let call = Call::typed("PadV2", "output", &[x, &pads, &with]).dtype("Tpaddings", pads.dtype);
        self.emit(call, x.dtype, shape)
    }

    fn pairs(&mut self, pads: &[[i64; 2]]) -> Value {
        let flat = self.vector(pads.as_flattened());
        self.shaped(&flat, &[pads.len() as i64, 2])
    }
}

/// A part of an axis.
struct Part {
    begin: At,
    end: At,
    step: i64,
}

/// A place on an axis.
enum At {
    Known(i64),
    /// Where the axis begins or ends, by the direction.
    Border,
    /// A scalar of 64 bits.
    Computed(Value),
}

impl Part {
    const WHOLE: Self = Self { begin: At::Border, end: At::Border, step: 1 };

    /// How many elements it has, where that is known.
    fn size(&self, of: Option<i64>) -> Option<i64> {
        let forwards = self.step > 0;
        match (&self.begin, &self.end) {
            (At::Border, At::Border) if self.step == 1 => return of,
            (At::Computed(_), _) | (_, At::Computed(_)) => return None,
            _ => {}
        }
        let of = of?;
        let (low, high) = if forwards { (0, of) } else { (-1, of - 1) };
        let place = |at: &At, border: i64| match at {
            At::Known(at) => (if *at < 0 { at.saturating_add(of) } else { *at }).clamp(low, high),
            _ => border,
        };
        let begin = place(&self.begin, if forwards { 0 } else { of - 1 });
        let end = place(&self.end, if forwards { of } else { -1 });
        let distance = if forwards { end - begin } else { begin - end }.max(0) as u64;
        i64::try_from(distance.div_ceil(self.step.unsigned_abs().max(1))).ok()
    }
}

/// Attributes before version 10, inputs since then.
fn slice(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let steps = if n.ints("starts").is_some() { None } else { n.listed("steps", 4)? };
    let ends = |l: &mut Lowering, name: &str, at: usize| match n.ints(name) {
        Some(values) => Ok(l.vector(&values)),
        None => n.input(at),
    };
    let (starts, ends) = (ends(l, "starts", 1)?, ends(l, "ends", 2)?);
    let count = starts.size(0).ok_or("the number of its starts is not known")?;
    let axes = match n.listed("axes", 3)? {
        Some(axes) => axes,
        None => (0..count).collect(),
    };
    let axes = axes.iter().map(|axis| x.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    let mut parts = Vec::new();
    parts.resize_with(axes.iter().max().map_or(0, |last| last + 1), || Part::WHOLE);
    for (place, axis) in axes.into_iter().enumerate() {
        let step = steps.as_ref().and_then(|steps| steps.get(place)).copied().unwrap_or(1);
        let begin = at(l, &starts, place);
        let end = at(l, &ends, place);
        parts[axis] = Part { begin: begun(begin, step), end: ended(end, step), step };
    }
    one(l.strided(&x, &parts))
}

fn at(l: &mut Lowering, places: &Value, place: usize) -> At {
    match places.integers().and_then(|places| places.get(place).copied()) {
        Some(at) => At::Known(at),
        None => {
            let element = l.element(places, place as i64);
            At::Computed(l.cast(&element, DataType::DtInt64))
        }
    }
}

/// Exporters write the largest numbers for the borders.
fn begun(at: At, step: i64) -> At {
    match at {
        At::Known(at) if step < 0 && at >= i64::from(i32::MAX) => At::Border,
        at => at,
    }
}

fn ended(at: At, step: i64) -> At {
    match at {
        At::Known(at) if step > 0 && at >= i64::from(i32::MAX) => At::Border,
        At::Known(at) if step < 0 && at <= i64::from(i32::MIN) + 1 => At::Border,
        at => at,
    }
}

fn padded_shape(x: &Value, pads: &[[i64; 2]]) -> Shape {
    let shape = x.shape.as_ref()?;
    let grown = |(size, [a, b]): (&Option<i64>, &[i64; 2])| {
        size.map(|size| size.saturating_add(*a).saturating_add(*b))
    };
    Some(shape.iter().zip(pads).map(grown).collect())
}

/// What is before all axes comes first, then what is behind.
fn padded(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let mode = n.text("mode", "constant");
    let with = if n.ints("pads").is_some() { None } else { n.optional(2) };
    let given = match n.listed("pads", 1) {
        Ok(given) => given.ok_or("its pads are missing")?,
        Err(_) if mode == "constant" && n.optional(3).is_none() => return computed_pads(l, n, &x, with),
        Err(reason) => return Err(reason),
    };
    let axes = if n.ints("pads").is_some() { None } else { n.listed("axes", 3)? };
    let axes = match axes {
        Some(axes) => axes.iter().map(|axis| x.axis(*axis)).collect::<Result<Vec<_>, _>>()?,
        None => (0..given.len() / 2).collect(),
    };
    let rank =
        x.rank().or_else(|reason| if n.optional(3).is_none() { Ok(given.len() / 2) } else { Err(reason) })?;
    let mut pads = vec![[0, 0]; rank];
    let count = axes.len();
    for (place, axis) in axes.into_iter().enumerate() {
        let [before, after] = [place, place + count].map(|at| given.get(at).copied().unwrap_or(0));
        *pads.get_mut(axis).ok_or("it pads more axes than there are")? = [before, after];
    }
    if pads.iter().flatten().any(|pad| *pad < 0) {
        return Err("it cuts off by negative pads; use Slice".to_owned());
    }
    let reflected = match mode.as_str() {
        "constant" => {
            let with = match with {
                Some(value) => value,
                None if n.ints("pads").is_some() => l.number(f64::from(n.float("value", 0.0)), &x),
                None if x.dtype == DataType::DtBool => {
                    let zero = l.integer(0);
                    l.cast(&zero, DataType::DtBool)
                }
                None => l.number(0.0, &x),
            };
            let with = l.shaped(&with, &[]);
            let shape = padded_shape(&x, &pads);
            let pads = l.pairs(&pads);
            let call = Call::typed("PadV2", "output", &[&x, &pads, &with]).dtype("Tpaddings", pads.dtype);
            return one(l.emit(call, x.dtype, shape));
        }
        "reflect" => "REFLECT",
        // The border once more is the border repeated.
        "edge" if pads.iter().flatten().all(|pad| *pad <= 1) => "SYMMETRIC",
        mode => return Err(format!("TensorFlow does not pad as its mode \"{mode}\" says")),
    };
    let shape = padded_shape(&x, &pads);
    let pads = l.pairs(&pads);
    let call = Call::typed("MirrorPad", "output", &[&x, &pads]).dtype("Tpaddings", pads.dtype);
    one(l.emit(call.text("mode", reflected), x.dtype, shape))
}

fn computed_pads(l: &mut Lowering, n: &Node<'_>, x: &Value, with: Option<Value>) -> Written {
    let pads = n.input(1)?;
    let pads = l.shaped(&pads, &[2, -1]);
    let pads = l.transposed(&pads, &[1, 0]);
    let with = match with {
        Some(value) => l.shaped(&value, &[]),
        None => l.number(0.0, x),
    };
    let call = Call::typed("PadV2", "output", &[x, &pads, &with]).dtype("Tpaddings", pads.dtype);
    let shape = x.shape.as_ref().and_then(|shape| open(shape.len()));
    one(l.emit(call, x.dtype, shape))
}

/// The upper or lower triangle of the last two axes, zeros elsewhere.
fn triangle(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let k = match n.optional(1) {
        None => 0,
        Some(k) => {
            k.integers().and_then(|k| k.first().copied()).ok_or("its k is computed when the model runs")?
        }
    };
    let upper = n.int("upper", 1) != 0;
    // A band of a negative width is all of that side; one that does not reach the diagonal is what another leaves.
    let ((lower, above), rest) = match (upper, k) {
        (true, ..=0) => ((-k, -1), false),
        (false, 0..) => ((-1, k), false),
        (true, _) => ((-1, k - 1), true),
        (false, _) => ((-k - 1, -1), true),
    };
    let (lower, above) = (l.integer(lower), l.integer(above));
    let call =
        Call::typed("MatrixBandPart", "band", &[&x, &lower, &above]).dtype("Tindex", DataType::DtInt64);
    let band = l.emit(call, x.dtype, x.shape.clone());
    one(if rest { l.binary("Sub", &x, &band) } else { band })
}
