//! The operators there are: one line in [`OPERATORS`] each.

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

/// An operator over the last bars of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rolling {
    Mean,
    Sum,
    Std,
    Var,
    Max,
    Min,
    Quantile(Level),
    Rank,
    Count,
    Slope,
    Rsquare,
    Resi,
    IdxMax,
    IdxMin,
}

/// A quantile's level, 0 to 1, comparable by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Level(u64);

impl Level {
    pub(super) const MEDIAN: Self = Self(0.5f64.to_bits());

    pub(crate) fn new(level: f64) -> Option<Self> {
        (0.0..=1.0).contains(&level).then(|| Self(level.to_bits()))
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
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
    Rolling(Rolling),
    /// `Med(x, window)`: the quantile of level 0.5
    Median,
    /// `Quantile(x, window, level)`
    Quantile,
    /// `Corr(x, y, window)`
    Corr,
}

impl Form {
    /// The call in words, for messages.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Unary(_) => &["x"],
            Self::Binary(_) => &["x", "y"],
            Self::If => &["condition", "x", "y"],
            Self::Ref | Self::Delta => &["x", "bars"],
            Self::Rolling(_) | Self::Median => &["x", "window"],
            Self::Quantile => &["x", "window", "level"],
            Self::Corr => &["x", "y", "window"],
        }
    }
}

/// Every operator by name. Windows are in bars and include the bar itself.
pub(super) const OPERATORS: &[(&str, Form)] = &[
    ("Abs", Form::Unary(Unary::Abs)),
    ("Add", Form::Binary(Binary::Add)),
    ("And", Form::Binary(Binary::And)),
    ("Corr", Form::Corr),
    ("Count", Form::Rolling(Rolling::Count)),
    ("Delta", Form::Delta),
    ("Div", Form::Binary(Binary::Div)),
    ("Eq", Form::Binary(Binary::Eq)),
    ("Ge", Form::Binary(Binary::Ge)),
    ("Greater", Form::Binary(Binary::Greater)),
    ("Gt", Form::Binary(Binary::Gt)),
    ("IdxMax", Form::Rolling(Rolling::IdxMax)),
    ("IdxMin", Form::Rolling(Rolling::IdxMin)),
    ("If", Form::If),
    ("Le", Form::Binary(Binary::Le)),
    ("Less", Form::Binary(Binary::Less)),
    ("Log", Form::Unary(Unary::Log)),
    ("Lt", Form::Binary(Binary::Lt)),
    ("Max", Form::Rolling(Rolling::Max)),
    ("Mean", Form::Rolling(Rolling::Mean)),
    ("Med", Form::Median),
    ("Min", Form::Rolling(Rolling::Min)),
    ("Mul", Form::Binary(Binary::Mul)),
    ("Ne", Form::Binary(Binary::Ne)),
    ("Not", Form::Unary(Unary::Not)),
    ("Or", Form::Binary(Binary::Or)),
    ("Power", Form::Binary(Binary::Power)),
    ("Quantile", Form::Quantile),
    ("Rank", Form::Rolling(Rolling::Rank)),
    ("Ref", Form::Ref),
    ("Resi", Form::Rolling(Rolling::Resi)),
    ("Rsquare", Form::Rolling(Rolling::Rsquare)),
    ("Sign", Form::Unary(Unary::Sign)),
    ("Slope", Form::Rolling(Rolling::Slope)),
    ("Std", Form::Rolling(Rolling::Std)),
    ("Sub", Form::Binary(Binary::Sub)),
    ("Sum", Form::Rolling(Rolling::Sum)),
    ("Var", Form::Rolling(Rolling::Var)),
];

/// The name an operator is called by.
pub(super) fn name_of(form: Form) -> &'static str {
    OPERATORS.iter().find(|(_, known)| *known == form).map_or("", |(name, _)| name)
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
