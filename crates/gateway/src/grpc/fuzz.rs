//! Entry points of the targets in `fuzz/`: any bytes as a question of each protocol, to a model of made-up inputs. Nobody
//! else calls them.

use bytes::Bytes;
use platform::{DataType, Signature, TensorSpec};
use protos::serving::tensorflow::serving::ClassificationRequest;

use super::{codec, open_inference, tensorflow_serving};

const ROWS_MAX: usize = 1024;

/// Bytes as a `ModelInferRequest`: whether they are one.
pub fn open_inference(bytes: &[u8]) -> bool {
    let request = codec::read(Bytes::copy_from_slice(bytes), open_inference::INFER);
    request.is_ok_and(|request| open_inference::inputs(&request, &signature(), ROWS_MAX).is_ok())
}

/// Bytes as a `PredictRequest` and as a `ClassificationRequest`: whether they are one of them.
pub fn tensorflow_serving(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let bounds = tensorflow_serving::Bounds { rows: ROWS_MAX, bytes: 1 << 20 };
    let asked = codec::read(bytes.clone(), tensorflow_serving::PREDICT);
    let predict = asked.is_ok_and(|asked| tensorflow_serving::inputs(asked, &signature(), bounds).is_ok());
    let asked = codec::read::<ClassificationRequest>(bytes, tensorflow_serving::ASK_EXAMPLES);
    let classify = asked.is_ok_and(|asked| {
        let rows = tensorflow_serving::rows(ROWS_MAX, asked.input);
        rows.is_ok_and(|rows| tensorflow_serving::example_inputs(&signature(), &[], &rows).is_ok())
    });
    predict || classify
}

fn signature() -> Signature {
    let spec = |name: &str, dtype, shape| TensorSpec { name: name.to_owned(), dtype, shape };
    Signature {
        inputs: vec![
            spec("x", DataType::Float32, vec![None, Some(2)]),
            spec("k", DataType::Int64, vec![None, Some(1)]),
        ],
        outputs: vec![],
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    /// How long a corpus is mutated.
    const MUTATED_FOR: Duration = Duration::from_secs(1);

    /// How many samples are accepted; then they are changed for a while, the same way in every run.
    fn accepted(corpus: &str, read: fn(&[u8]) -> bool) -> usize {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let samples: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let good = samples.iter().filter(|sample| read(sample)).count();
        let mut state = 7u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound.max(1)
        };
        let begin = Instant::now();
        while begin.elapsed() < MUTATED_FOR {
            let mut sample = samples[below(samples.len())].clone();
            for _ in 0..1 + below(3) {
                let at = below(sample.len());
                match below(3) {
                    0 if !sample.is_empty() => sample[at] = below(256) as u8,
                    1 => sample.truncate(at),
                    _ => sample.insert(at, below(256) as u8),
                }
            }
            read(&sample);
        }
        good
    }

    #[test]
    fn questions_of_the_open_inference_protocol() {
        assert_eq!(accepted("grpc_open_inference", super::open_inference), 2);
    }

    #[test]
    fn questions_to_tensorflow_serving() {
        assert_eq!(accepted("grpc_tensorflow_serving", super::tensorflow_serving), 3);
    }
}
