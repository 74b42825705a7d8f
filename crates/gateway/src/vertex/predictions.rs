//! What a model gave, an instance at a time: nested lists, or objects where it has several outputs.

use platform::{Error, Tensor, TensorData};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// `{"predictions": [...]}`, as containers answer.
///
/// # Errors
/// None that a caller could mend.
pub(crate) fn alone(outputs: &[(String, Tensor)]) -> Result<Vec<u8>, Error> {
    #[derive(serde::Serialize)]
    struct Reply<'a> {
        predictions: Predictions<'a>,
    }
    serde_json::to_vec(&Reply { predictions: Predictions(outputs) })
        .map_err(|error| Error::internal("cannot write the reply", error))
}

/// `predictions` of a reply. Numbers that JSON does not have are `null`.
#[derive(Debug)]
pub(crate) struct Predictions<'a>(pub(crate) &'a [(String, Tensor)]);

impl Serialize for Predictions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.0.first().and_then(|(_, tensor)| tensor.shape().first()).copied().unwrap_or_default();
        let mut list = serializer.serialize_seq(Some(rows))?;
        for row in 0..rows {
            match self.0 {
                [(_, only)] => list.serialize_element(&Part::row(only, row))?,
                several => list.serialize_element(&Named(several, row))?,
            }
        }
        list.end()
    }
}

/// A row of each output.
struct Named<'a>(&'a [(String, Tensor)], usize);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, tensor) in self.0 {
            map.serialize_entry(name, &Part::row(tensor, self.1))?;
        }
        map.end()
    }
}

/// Elements that stand together.
struct Part<'a> {
    data: &'a TensorData,
    shape: &'a [usize],
    begin: usize,
}

impl<'a> Part<'a> {
    fn row(tensor: &'a Tensor, row: usize) -> Self {
        let shape = tensor.shape().get(1..).unwrap_or_default();
        Self { data: tensor.data(), shape, begin: row * shape.iter().product::<usize>() }
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((&count, inner)) = self.shape.split_first() else {
            return match self.data {
                TensorData::Float32(values) => serializer.serialize_f32(values[self.begin]),
                TensorData::Float64(values) => serializer.serialize_f64(values[self.begin]),
                TensorData::Int32(values) => serializer.serialize_i32(values[self.begin]),
                TensorData::Int64(values) => serializer.serialize_i64(values[self.begin]),
                TensorData::Bool(values) => serializer.serialize_bool(values[self.begin]),
            };
        };
        if let (TensorData::Float32(values), []) = (self.data, inner) {
            return values[self.begin..self.begin + count].serialize(serializer);
        }
        let size: usize = inner.iter().product();
        let mut list = serializer.serialize_seq(Some(count))?;
        for at in 0..count {
            list.serialize_element(&Part { data: self.data, shape: inner, begin: self.begin + at * size })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(outputs: &[(String, Tensor)]) -> String {
        serde_json::to_string(&Predictions(outputs)).unwrap()
    }

    fn named(name: &str, shape: &[usize], data: TensorData) -> (String, Tensor) {
        (name.to_owned(), Tensor::new(shape.to_vec(), data).unwrap())
    }

    #[test]
    fn one_output_needs_no_name_and_several_have_one() {
        let scores = named("scores", &[2, 2], TensorData::Float32(vec![0.1, f32::NAN, 0.3, 0.4]));
        assert_eq!(json(std::slice::from_ref(&scores)), "[[0.1,null],[0.3,0.4]]");
        let class = named("class", &[2], TensorData::Int64(vec![3, -4]));
        assert_eq!(
            json(&[scores, class]),
            r#"[{"scores":[0.1,null],"class":3},{"scores":[0.3,0.4],"class":-4}]"#
        );
        let deep = named("deep", &[1, 2, 2], TensorData::Bool(vec![true, false, false, true]));
        assert_eq!(json(&[deep]), "[[[true,false],[false,true]]]");
        assert_eq!(json(&[named("none", &[0, 3], TensorData::Float64(vec![]))]), "[]");
    }
}
