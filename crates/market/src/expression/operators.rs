//! The operators there are: one entry in [`OPERATORS`] each.

use crate::kernel::{PairStat, Stat};

/// An operator of one argument, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    Abs,
    Sign,
    Log,
    Not,
}

/// An operator of two arguments, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Power,
    Greater,
    Less,
    Gt,
    Ge,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Or,
}

/// An operator over all instruments of the universe at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cross {
    Rank,
    Zscore,
    Demean,
    Fill,
    RobustZscore,
}

/// How an operator is written as a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `Abs(x)`
    Unary(Unary),
    /// `Add(x, y)`
    Binary(Binary),
    /// `If(condition, x, y)`
    If,
    /// `Ref(x, bars)`, negative for later bars
    Ref,
    /// `Delta(x, bars)`
    Delta,
    /// `Mean(x, window)`
    Rolling(Stat),
    /// `EMA(x, span)`
    Ema,
    /// `Med(x, window)`: the quantile of level 0.5
    Median,
    /// `Quantile(x, window, level)`
    Quantile,
    /// `Corr(x, y, window)`
    Pair(PairStat),
    /// `CSRank(x)`
    Cross(Cross),
    /// `CSNeutralize(x, group)`
    Neutralize,
    /// `Mask(x, instrument)`
    Mask,
    /// `ChangeInstrument(instrument, x)`: `Mask`, its arguments the other way round
    ChangeInstrument,
    /// `P($$field)`
    PointInTime,
    /// `PRef($$field, period)`
    OfPeriod,
}

impl Form {
    /// The call in words, for messages.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Unary(_) | Self::Cross(_) => &["x"],
            Self::Binary(_) => &["x", "y"],
            Self::If => &["condition", "x", "y"],
            Self::Ref | Self::Delta => &["x", "bars"],
            Self::Rolling(_) | Self::Median => &["x", "window"],
            Self::Ema => &["x", "span"],
            Self::Quantile => &["x", "window", "level"],
            Self::Pair(_) => &["x", "y", "window"],
            Self::Neutralize => &["x", "group"],
            Self::Mask => &["x", "instrument"],
            Self::ChangeInstrument => &["instrument", "x"],
            Self::PointInTime => &["$$field"],
            Self::OfPeriod => &["$$field", "period"],
        }
    }
}

/// Every operator: its name, how it is called, and what it means.
///
/// A window N is in bars and includes the bar itself. N = 0 means all bars so far, as in Qlib. Inside a window
/// missing and infinite values are left out; it may hold fewer bars where the data begins. 0 < N < 1 is a decay, and
/// makes the exponentially weighted mean of `Mean`, as it does in Qlib of `Sum`, `Std`, `Var`, `Max`, `Min`, `Med` and
/// `Count`, whatever they are called. Names and meanings
/// are Qlib's, flaws included; where Qlib has one, an operator without it stands beside it.
pub(super) const OPERATORS: &[(&str, Form, &str)] = &[
    ("Abs", Form::Unary(Unary::Abs), "absolute value"),
    ("Add", Form::Binary(Binary::Add), "x + y"),
    ("And", Form::Binary(Binary::And), "1 where both are neither 0 nor missing, else 0"),
    ("CSDemean", Form::Cross(Cross::Demean), "less the mean of the universe at that time"),
    ("CSFill", Form::Cross(Cross::Fill), "a missing value becomes the mean of the universe at that time"),
    ("CSNeutralize", Form::Neutralize, "less the mean of the instruments of the same group at that time"),
    (
        "CSRank",
        Form::Cross(Cross::Rank),
        "percentile rank in the universe at that time, ties averaged, above 0 up to 1",
    ),
    (
        "CSRobustZScore",
        Form::Cross(Cross::RobustZscore),
        "(x - median) / (1.4826 MAD) of the universe at that time, cut at 3 either way",
    ),
    ("CSZScore", Form::Cross(Cross::Zscore), "(x - mean) / deviation (n - 1) of the universe at that time"),
    (
        "ChangeInstrument",
        Form::ChangeInstrument,
        "x of another instrument at the same time, as Mask: ChangeInstrument(SP500, $close)",
    ),
    (
        "Corr",
        Form::Pair(PairStat::Corr),
        "Pearson's correlation; as in Qlib missing where a side's deviation is at most 2e-5 in its own units (Pearson does without)",
    ),
    ("Count", Form::Rolling(Stat::Count), "how many values are not missing"),
    ("Cov", Form::Pair(PairStat::Cov), "covariance with n - 1"),
    ("Delta", Form::Delta, "x less x so many bars ago; 0: less the first value of all"),
    ("Div", Form::Binary(Binary::Div), "x / y"),
    (
        "EMA",
        Form::Ema,
        "exponentially weighted mean, alpha = 2 / (span + 1), or alpha itself if below 1; looks back to the first bar. 0: as in Qlib, all bars so far with the alpha of a span of so many, which visits all of them",
    ),
    ("Eq", Form::Binary(Binary::Eq), "1 where x = y, else 0"),
    ("Ge", Form::Binary(Binary::Ge), "1 where x >= y, else 0"),
    (
        "Greater",
        Form::Binary(Binary::Greater),
        "the larger of the two, missing if either is; no comparison (that is Gt)",
    ),
    ("Gt", Form::Binary(Binary::Gt), "1 where x > y, else 0"),
    (
        "IdxMax",
        Form::Rolling(Stat::IdxMax),
        "place of the first largest value, 1 for the oldest bar; as in numpy a missing value is larger than all",
    ),
    (
        "IdxMin",
        Form::Rolling(Stat::IdxMin),
        "place of the first smallest value, 1 for the oldest bar; as in numpy a missing value is smaller than all",
    ),
    ("If", Form::If, "x where the condition is neither 0 nor missing, else y"),
    ("Kurt", Form::Rolling(Stat::Kurt), "excess kurtosis, corrected for bias"),
    ("Le", Form::Binary(Binary::Le), "1 where x <= y, else 0"),
    (
        "Less",
        Form::Binary(Binary::Less),
        "the smaller of the two, missing if either is; no comparison (that is Lt)",
    ),
    ("Log", Form::Unary(Unary::Log), "natural logarithm"),
    ("Lt", Form::Binary(Binary::Lt), "1 where x < y, else 0"),
    (
        "Mad",
        Form::Rolling(Stat::Mad),
        "mean absolute deviation from the mean; the one operator that visits its whole window",
    ),
    (
        "Mask",
        Form::Mask,
        "x of another instrument at the same time: Mask($close, SP500); before its first bar it has bars without a value",
    ),
    ("Max", Form::Rolling(Stat::Max), "largest value"),
    (
        "Mean",
        Form::Rolling(Stat::Mean),
        "mean; a window below 1 is the decay of an exponentially weighted mean",
    ),
    ("Med", Form::Median, "median"),
    ("Min", Form::Rolling(Stat::Min), "smallest value"),
    ("Mul", Form::Binary(Binary::Mul), "x * y"),
    ("Ne", Form::Binary(Binary::Ne), "1 where x != y or either is missing, else 0"),
    ("Not", Form::Unary(Unary::Not), "1 where x is 0 or missing, else 0"),
    ("Or", Form::Binary(Binary::Or), "1 where either is neither 0 nor missing, else 0"),
    (
        "P",
        Form::PointInTime,
        "a field by its date of publication, as known at the bar; operators go around it, and run over bars",
    ),
    (
        "PRef",
        Form::OfPeriod,
        "P of one period, as known at the bar: PRef($$eps, 202001) or PRef($$eps, '2020Q1'), as the table writes it",
    ),
    (
        "Pearson",
        Form::Pair(PairStat::Pearson),
        "Corr whatever the units: missing where a side does not move at all",
    ),
    ("Power", Form::Binary(Binary::Power), "x to the power of y"),
    ("Quantile", Form::Quantile, "quantile, interpolated linearly"),
    (
        "R2",
        Form::Rolling(Stat::R2),
        "Rsquare whatever the units: missing where the window does not move at all",
    ),
    ("Rank", Form::Rolling(Stat::Rank), "percentile rank of the newest value in its window, ties averaged"),
    (
        "Ref",
        Form::Ref,
        "x so many bars ago; negative: later, for labels; 0: the first value of all, as in Qlib",
    ),
    ("Resi", Form::Rolling(Stat::Resi), "the newest value less the straight line through the window there"),
    (
        "Rsquare",
        Form::Rolling(Stat::Rsquare),
        "squared correlation of value and time; as in Qlib missing where the deviation is at most 2e-5 in the field's units (R2 does without)",
    ),
    ("Sign", Form::Unary(Unary::Sign), "-1, 0 or 1"),
    ("Skew", Form::Rolling(Stat::Skew), "skewness, corrected for bias"),
    ("Slope", Form::Rolling(Stat::Slope), "slope per bar of the straight line through the window"),
    ("Std", Form::Rolling(Stat::Std), "standard deviation with n - 1"),
    ("Sub", Form::Binary(Binary::Sub), "x - y"),
    ("Sum", Form::Rolling(Stat::Sum), "sum"),
    ("Var", Form::Rolling(Stat::Var), "variance with n - 1"),
    (
        "WMA",
        Form::Rolling(Stat::Wma),
        "Qlib's weighted mean: weights 1, 2, ... from the oldest bar that sum to 1, and divided by the count once more (WeightedMean is not)",
    ),
    ("WeightedMean", Form::Rolling(Stat::WeightedMean), "mean with weights 1, 2, ... from the oldest bar"),
];

/// Operators of Qlib that are not offered, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[(
    "TResample",
    "a span is stamped with its start, so that its first bar would know the last (and Qlib's own store of bars cannot \
     run it); import bars of that length as a data set of their own",
)];

/// The name an operator is called by.
pub(super) fn name_of(form: Form) -> &'static str {
    OPERATORS.iter().find(|(_, known, _)| *known == form).map_or("", |(name, ..)| name)
}

/// Operators written between their arguments: the symbol and how tightly it binds.
pub(super) const INFIX: &[(&str, Binary, u8)] = &[
    (">", Binary::Gt, COMPARISON),
    (">=", Binary::Ge, COMPARISON),
    ("<", Binary::Lt, COMPARISON),
    ("<=", Binary::Le, COMPARISON),
    ("==", Binary::Eq, COMPARISON),
    ("!=", Binary::Ne, COMPARISON),
    ("+", Binary::Add, ADDITIVE),
    ("-", Binary::Sub, ADDITIVE),
    ("*", Binary::Mul, MULTIPLICATIVE),
    ("/", Binary::Div, MULTIPLICATIVE),
];

pub(super) const COMPARISON: u8 = 1;
pub(super) const ADDITIVE: u8 = 2;
pub(super) const MULTIPLICATIVE: u8 = 3;
pub(super) const SIGN: u8 = 4;
