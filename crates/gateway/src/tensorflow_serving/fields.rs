//! Which features of examples make which inputs of a model: the same for JSON and for protocol buffers.
//!
//! A feature is an input of the model by its name; of a model that takes rows it may be a column by its name instead. What is
//! wrong is told in the words of TensorFlow's parser of examples. Deliberately not here: how a feature's values are written.

use std::collections::HashMap;

use platform::{DataType, Error, Kind, Signature, Tensor, TensorData, TensorSpec};

use super::request::type_name;
use crate::json::tensor::empty;

/// What a feature's values become.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: DataType,
    /// How many there are.
    elements: usize,
}

/// The features of a model.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    signature: &'a Signature,
    /// One an input, then one a column.
    all: Vec<Field<'a>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Fields<'a> {
    /// Those of a model of this signature, whose only input has these columns; none: its inputs are its features.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] for an input of rows of any size, which an example cannot give.
    pub(crate) fn of(signature: &'a Signature, columns: &'a [String]) -> Result<Self, Error> {
        let mut all: Vec<Field<'_>> = signature.inputs.iter().map(Field::of).collect::<Result<_, _>>()?;
        if let [only] = signature.inputs.as_slice()
            && only.row_elements() == Some(columns.len())
        {
            all.extend(columns.iter().map(|name| Field { name, dtype: only.dtype, elements: 1 }));
        }
        let places = all.iter().enumerate().map(|(at, field)| (field.name, at)).collect();
        Ok(Self { signature, all, places })
    }

    /// The place of a feature, if the model has it.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The inputs of so many examples. `read` adds the values that an example, by its number, has for a field, by its
    /// place, and says whether it has any.
    ///
    /// # Errors
    /// Those of `read`; [`Kind::InvalidArgument`] for a feature that is missing or has too few or too many values.
    pub(crate) fn tensors<E: From<Error>>(
        &self,
        examples: usize,
        read: impl Fn(usize, usize, &Field<'a>, &mut TensorData) -> Result<bool, E>,
    ) -> Result<Vec<(String, Tensor)>, E> {
        let given = |example: usize, place: usize, data: &mut TensorData| {
            let field = &self.all[place];
            let before = data.len();
            let found = read(example, place, field, data)?;
            if found {
                field.check_count(data.len() - before)?;
            }
            Ok::<bool, E>(found)
        };
        let columns = self.signature.inputs.len()..self.all.len();
        let mut tensors = Vec::with_capacity(self.signature.inputs.len());
        for (input, spec) in self.signature.inputs.iter().enumerate() {
            let mut data = empty(spec.dtype);
            for example in 0..examples {
                if given(example, input, &mut data)? {
                    continue;
                }
                if columns.is_empty() {
                    return Err(self.all[input].missing().into());
                }
                for column in columns.clone() {
                    if !given(example, column, &mut data)? {
                        return Err(self.all[column].missing().into());
                    }
                }
            }
            let inner = spec.shape.iter().skip(1).map(|size| size.unwrap_or_default());
            let shape = std::iter::once(examples).chain(inner).collect();
            let tensor = Tensor::new(shape, data).map_err(|error| wrong(error.to_string()))?;
            tensors.push((spec.name.clone(), tensor));
        }
        Ok(tensors)
    }
}

impl<'a> Field<'a> {
    fn of(spec: &'a TensorSpec) -> Result<Self, Error> {
        let elements = spec.row_elements().ok_or_else(|| {
            let message =
                format!("input \"{}\" has rows of any size, so it is no feature; use Predict", spec.name);
            Error::new(Kind::FailedPrecondition, message)
        })?;
        Ok(Self { name: &spec.name, dtype: spec.dtype, elements })
    }

    fn check_count(&self, got: usize) -> Result<(), Error> {
        if got == self.elements {
            return Ok(());
        }
        Err(wrong(format!(
            "Key: {}. Number of {} values != expected. values size: {got} but output shape: [{}]",
            self.name,
            type_name(self.dtype),
            self.elements
        )))
    }

    fn missing(&self) -> Error {
        wrong(format!(
            "Feature: {} (data type: {}) is required but could not be found.",
            self.name,
            type_name(self.dtype)
        ))
    }
}

fn wrong(message: String) -> Error {
    Error::invalid("examples", message)
}
